"""What a run of several seeds makes of each is what a run of that seed alone makes of it."""

from typing import Any

import jax
import numpy as np
import pytest

import polyak
from polyak.algorithms import REGISTRY
from polyak.runs.tables import read_table
from polyak.types import Discrete
from tests.fixtures.agents import small as small_config

PLAN = {"env_steps": 300, "evaluations": 3, "evaluation_episodes": 2, "score_episodes": 2}
BY_EPISODE = {"warmup": 40, "rollout_length": 16, "batch": 8, "updates": 3, "updates_per": "episode"}
ROLLOUTS = {"env_steps": 320, "rollout_length": 32, "envs": 2}

# alone on its device XLA fuses batch renormalization otherwise, and so rounds otherwise; pairs and fours agree
ROUNDED_OTHERWISE_ALONE = ("crossq",)


def train(name: str, seeds: list[int], plan: dict[str, Any], backend: str = "host") -> polyak.Run:
    """Train in environments whose episodes differ in length, in every seed."""
    module = REGISTRY[name]
    env = "CartPole-v1" if Discrete in module.acts_on and name != "sac" else "tests.fixtures.envs:Lopsided-v0"
    config = small_config(module.Config())
    folder = f"{'-'.join(map(str, seeds))}-{backend}"
    return polyak.train(name, env, seeds=seeds, config=config, plan={**PLAN, **plan}, backend=backend, out=folder)


def of_seed(run: Any, seed: int) -> dict[str, Any]:
    """Return all that a run says and keeps of a seed, but for the time that it took."""
    lane = run.record.seeds.index(seed)
    found: dict[str, Any] = {"scores": [run.scores[which]["per_seed"][lane] for which in ("best", "final")]}
    for name in ("metrics.csv", "evaluations.csv"):
        rows = [row for row in read_table(run.folder / name) if row["seed"] == str(seed)]
        found[name] = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    for which in ("best", "final"):
        found[which] = [np.asarray(leaf)[lane].tolist() for leaf in jax.tree.leaves(run.saved.tree(which))]
    return found


def check(name: str, plan: dict[str, Any], backend: str = "host") -> None:
    alone, pair, four = (train(name, seeds, plan, backend) for seeds in ([3], [3, 0], [5, 7, 3, 9]))
    expected = of_seed(pair, 3)
    assert of_seed(four, 3) == expected
    if name not in ROUNDED_OTHERWISE_ALONE:
        assert of_seed(alone, 3) == expected


@pytest.mark.parametrize("backend", ["host", "device"])
def test_a_seed_is_the_same_in_any_company_where_episodes_differ_in_length(backend: str) -> None:
    by_episode = {**BY_EPISODE, "rollout_length": 500} if backend == "device" else BY_EPISODE
    check("dqn", by_episode, backend)
    steps = {
        seed: {row["env_steps"] for row in of_seed(polyak.load(f"5-7-3-9-{backend}"), seed)["evaluations.csv"]}
        for seed in (5, 7)
    }
    assert steps[5] != steps[7]  # each is evaluated at its own steps


@pytest.mark.slow
@pytest.mark.parametrize("name", REGISTRY)
def test_every_algorithm_makes_the_same_of_a_seed_in_any_company(name: str) -> None:
    check(name, ROLLOUTS if REGISTRY[name].learns_from == "rollout" else BY_EPISODE)


def test_few_updates_are_foreseen_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    plan = {**PLAN, **BY_EPISODE, "evaluations": 0}
    polyak.train("dqn", "CartPole-v1", plan=plan, config={"layers": (4,)}, out="few", quiet=False)
    told = capsys.readouterr().err
    assert "with episodes of up to 500 steps there may be only 0 of them: train longer" in told
    made = int(polyak.load("few").record.updates)
    assert 0 < made < 100
    assert f"training made only {made} updates, because they follow each episode: train longer" in told


def test_enough_updates_are_no_reason_to_speak(capsys: pytest.CaptureFixture[str]) -> None:
    plan = {**PLAN, **BY_EPISODE, "evaluations": 0, "updates": 100}
    env_kwargs = {"max_episode_steps": 20}
    polyak.train("dqn", "CartPole-v1", plan=plan, config={"layers": (4,)}, env_kwargs=env_kwargs, out="n", quiet=False)
    assert "updates" not in capsys.readouterr().err
