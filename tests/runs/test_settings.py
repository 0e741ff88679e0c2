"""Settings: whatever the number of steps, what is not given is fitted to it, and what is given is kept."""

from typing import Any

import numpy as np
import pytest

import polyak
from polyak import ReplayPlan, UsageError
from polyak.algorithms import REGISTRY
from polyak.runs import presets
from polyak.runs.settings import Asked, Settings, settings_for
from tests.fixtures import small

ALL = [
    (algorithm, name, preset)
    for algorithm, named in presets.PRESETS.items()
    for name, group in named.items()
    for preset in group
]


def fitted(algorithm: str, env: str = "Anything-v0", **asked: Any) -> Settings:
    """Fit the default preset for an environment."""
    module = REGISTRY[algorithm]
    return settings_for(algorithm, module, presets.find(algorithm, "default", env), Asked(**asked))


@pytest.mark.parametrize(("algorithm", "name", "preset"), ALL)
def test_any_number_of_steps_trains(algorithm: str, name: str, preset: presets.Preset):
    longest = preset.plan.get("env_steps", ReplayPlan.env_steps)
    for steps in (1, 2, 7, 10, 100, 500, 999, 1_000, 4_096, 5_001, longest):
        found = settings_for(algorithm, REGISTRY[algorithm], preset, Asked(steps))
        assert steps // 2 < found.plan.env_steps <= steps
        assert found.plan.updates_due(found.plan.env_steps, 0) > 0 or found.plan.updates < 1
        assert (found.plan.env_steps == steps) or "not taken" in found.fitted[0]
    assert found.fitted == ()
    assert (found.config, found.plan) == presets.settings(REGISTRY[algorithm], preset)


@pytest.mark.parametrize(
    ("algorithm", "asked", "told"),
    [
        ("ppo", {"steps": 4_096}, ["4,096 steps are 2 rollouts of 2,000; the last 96 are not taken"]),
        ("ppo", {"steps": 2_001}, ["2,001 steps are 1 rollout of 2,000; the last one is not taken"]),
        ("ppo", {"steps": 800}, ["to fit 800 steps: rollout_length = 100 instead of 250"]),
        (
            "ppo",
            {"steps": 90},
            [
                "90 steps are 1 rollout of 88; the last 2 are not taken",
                "to fit 88 steps: rollout_length = 11 instead of 250, minibatch = 88 instead of 100",
            ],
        ),
        ("ddpg", {"steps": 500}, ["to fit 500 steps: warmup = 100 instead of 5,000"]),
        ("ddpg", {"plan": {"env_steps": 500}}, ["to fit 500 steps: warmup = 100 instead of 5,000"]),
        ("ddpg", {"steps": 500, "plan": {"warmup": 499}}, []),
        (
            "ddpg",
            {"plan": {"envs": 3}},
            [
                "100,000 steps are 33,333 in each of 3 environments; the last one is not taken",
                "to fit 99,999 steps: warmup = 4,998 instead of 5,000",
            ],
        ),
        (
            "ddpg",
            {"plan": {"capacity": 100}},
            ["to fit 100,000 steps: rollout_length = 100 instead of 128, batch = 100 instead of 256"],
        ),
        ("reinforce", {"steps": 100, "plan": {"rollout_length": 50}}, ["to fit 100 steps: envs = 2 instead of 8"]),
        (
            "ppo",
            {"plan": {"envs": 3, "rollout_length": 20}, "steps": 120},
            ["to fit 120 steps: minibatch = 60 instead of 100"],
        ),
    ],
    ids=str,
)
def test_every_change_is_told(algorithm: str, asked: dict[str, Any], told: list[str]):
    assert list(fitted(algorithm, **asked).fitted) == told


@pytest.mark.parametrize(
    ("algorithm", "asked", "says"),
    [
        ("ddpg", {"steps": 500, "plan": {"warmup": 500}}, "warmup = 500 leaves none"),
        ("ddpg", {"steps": 500, "plan": ReplayPlan()}, "warmup = 1000 leaves none"),
        ("ddpg", {"steps": 2, "plan": {"envs": 3}}, "not a multiple of envs = 3"),
        ("ddpg", {"plan": {"batch": 20, "capacity": 10}}, "batch = 20 is larger"),
        ("ppo", {"steps": 10, "plan": {"rollout_length": 20}}, "not a multiple of rollout_length × envs = 20"),
        ("ppo", {"config": {"minibatch": 96}}, "minibatch = 96 does not divide"),
        ("dqn", {"steps": 5, "config": {"n_step": 6}}, "n_step = 6 does not fit"),
        ("ddpg", {"steps": "many"}, "steps = 'many' must be a whole number"),
        ("ddpg", {"plan": {"batch": None}}, "batch = None has the wrong type"),
    ],
    ids=str,
)
def test_what_is_given_is_kept_and_refused_where_it_contradicts(algorithm: str, asked: dict[str, Any], says: str):
    with pytest.raises(UsageError, match=says):
        fitted(algorithm, **asked)


def test_settings_objects_are_given_in_full():
    plan, config = ReplayPlan(env_steps=1_000, warmup=900), REGISTRY["dqn"].Config(n_step=7)
    found = fitted("dqn", "CartPole-v1", plan=plan, config=config)
    assert (found.plan, found.config, found.fitted) == (plan, config, ())
    assert fitted("dqn", plan=plan, steps=950).plan.env_steps == 950


def test_numbers_of_numpy_are_numbers():
    assert fitted("ppo", steps=np.int64(4_096)).plan.env_steps == 4_000


def test_a_run_remembers_what_was_fitted(tmp_path: Any):
    run = small.train(tmp_path / "run", steps=61, seeds=1, plan={"envs": 2, "evaluations": 0})
    assert run.record.env_steps == 60
    assert polyak.load(run.folder).record.fitted == [
        "61 steps are 30 in each of 2 environments; the last one is not taken"
    ]


@pytest.mark.parametrize("steps", [0, -5, 1.5, float("inf"), True, "20k", [1]], ids=str)
def test_steps_that_are_no_whole_number_are_refused_by_the_name_that_was_given(steps: Any):
    with pytest.raises(UsageError, match=r"^steps = .* must be a whole number, at least 1$"):
        fitted("ddpg", steps=steps)


def test_steps_may_be_a_float_that_is_whole():
    assert fitted("ddpg", steps=2e4).plan == fitted("ddpg", steps=20_000).plan
