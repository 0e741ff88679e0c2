"""Words of other libraries lead to the setting that the algorithm at hand has."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak import UsageError
from polyak.algorithms import REGISTRY
from polyak.errors import command_line
from polyak.runs.other_words import TOP, WORDS, explained
from polyak.training.plans import PLANS
from tests.fixtures.small import command

SETTINGS = {
    *TOP,
    *(f"plan.{field.name}" for kind in PLANS.values() for field in dataclasses.fields(kind)),
    *(f"config.{field.name}" for module in REGISTRY.values() for field in dataclasses.fields(module.Config)),
}


def test_every_word_leads_to_settings_that_exist():
    leading_nowhere = {
        word: meant for word, meant in WORDS.items() if not isinstance(meant, str) and not SETTINGS & {*meant}
    }
    assert not leading_nowhere
    assert {ours for meant in WORDS.values() if not isinstance(meant, str) for ours in meant} <= SETTINGS
    assert all(word.isalpha() and word.islower() for word in WORDS)


@pytest.mark.parametrize(
    ("algorithm", "words", "says"),
    [
        ("ddpg", "--lr 1e-3", "it is called --config.actor-learning-rate or --config.critic-learning-rate"),
        ("ppo", "--lr 1e-3", "it is called --config.learning-rate"),
        ("ppo", "--learning_rate 1e-3", "did you mean --config.learning-rate?"),
        ("ddpg", "--learning-rate=1e-3", "it is called --config.actor-learning-rate or"),
        ("ppo", "--batch_size 64", "it is called --config.minibatch"),
        ("sac", "--batch-size 64", "it is called --plan.batch"),
        ("a2c", "--batch-size 64", "it is called --plan.rollout-length"),
        ("ddpg", "--total-timesteps 5", "it is called --steps"),
        ("ppo", "--n-steps 5", "it is called --plan.rollout-length"),
        ("dqn", "--n-steps 5", "it is called --config.n-step"),
        ("dqn", "--net-arch 5", "it is called --config.layers"),
        ("ddpg", "--device cpu", "set JAX_PLATFORMS=cpu"),
        ("ddpg", "--verbose 1", "progress is shown by default"),
        ("dqn", "--buffer-size 1", "it is called --plan.capacity"),
        ("ppo", "--buffer-size 1", "capacity is for algorithms that learn from a replay buffer, not from rollouts"),
        (
            "ppo",
            "--plan.batch 1",
            "batch is for algorithms that learn from a replay buffer, not from rollouts; use --config",
        ),
        ("ppo", "--plan.no-overlap", "overlap is for algorithms that learn from a replay buffer, not from rollouts"),
        ("a2c", "--plan.warmup 1", "warmup is for algorithms that learn from a replay buffer, not from rollouts"),
        ("ppo", "--n-envs 1", "it is called --plan.envs"),
        ("td3", "--learning-starts 1", "it is called --plan.warmup"),
        ("ddpg", "--clip-range 1", "ppo has it, as clip"),
        ("ddpg", "--tensorboard-log x", "it is called --out"),
        ("ddpg", "--gamma 1", "did you mean --config.gamma?"),
        ("ddpg", "--plan.gamma 1", "did you mean --config.gamma?"),
        ("ddpg", "--batch 1", "did you mean --plan.batch?"),
        ("ddpg", "--gama 1", "did you mean '--config.gamma'?"),
        ("ddpg", "--forc", "see polyak train ddpg ENVIRONMENT --help"),
    ],
)
def test_flags(algorithm: str, words: str, says: str, capsys: pytest.CaptureFixture[str]):
    env = "ENVIRONMENT"
    assert command("train", algorithm, env, *words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"polyak: error: unknown flag {words.split()[0]}: ")
    assert says in error
    assert "--force" not in error


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"config": {"lr": 1}}, r'called config=\{"actor_learning_rate": …\} or config=\{"critic_learning_rate": …\}'),
        ({"config": {"buffer_size": 1}}, r'called plan=\{"capacity": …\}'),
        ({"config": {"total_timesteps": 1}}, "called steps=…"),
        ({"plan": {"gamma": 1}}, r'did you mean config=\{"gamma": …\}\?'),
        ({"plan": {"layer_norm": 1}}, "dqn, soft_q have it"),
        ({"plan": {"bach": 1}}, "did you mean 'batch'"),
    ],
    ids=str,
)
def test_fields_from_python(settings: dict[str, dict[str, int]], says: str):
    with pytest.raises(UsageError, match=says):
        polyak.train("ddpg", "Pendulum-v1", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: polyak.train("ddpg", "Pendulum-v1", total_timesteps=9), "called steps=…"),
        (lambda: polyak.train("DDPG", "Pendulum-v1", lr=1e-3), r'config=\{"actor_learning_rate": …\} or'),
        (lambda: polyak.train("ppo", "CartPole-v1", batch_size=9), r'called config=\{"minibatch": …\}'),
        (lambda: polyak.train("ddpg", "Pendulum-v1", seed=3), r"list of their seeds: seeds=\[3\]"),
        (lambda: polyak.train("ddpg", "Pendulum-v1", callback=print), "on_report is called"),
        (lambda: polyak.train("ddpg", "Pendulum-v1", verbose=1), "shown by default"),
        (lambda: polyak.train("ddpg", "Pendulum-v1", xyzzy=1), "train has no argument 'xyzzy'$"),
        (lambda: polyak.resume("nowhere", total_timesteps=1), "called steps"),
        (lambda: polyak.Run(Path(), {}).evaluate(n_eval_episodes=1), "called episodes"),
    ],
)
def test_arguments_from_python(call: Callable[[], Any], says: str):
    with pytest.raises(UsageError, match=says):
        call()


def test_a_word_that_nobody_uses_is_not_explained():
    with command_line():
        assert explained("xyzzy", REGISTRY["ddpg"]) == ""
