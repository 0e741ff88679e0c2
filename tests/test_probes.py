"""Every registered algorithm learns every probe, through the real host loop: the right values and the right actions.

A probe that fails identifies the broken part, see `polyak.envs.probe`. `LEARNS` in an algorithm's own test file has the
settings. All probes are learned with the first kind of action that an algorithm takes; the last one, which needs all
parts, with every kind. Of all these only the last with the first kind is not a slow test: the others tell which part is
missing.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

from polyak.algorithms import REGISTRY
from polyak.envs import probe
from polyak.envs.gymnasium import VectorEnv
from polyak.training.host import HostLoop
from polyak.training.job import Job
from polyak.training.plans import plan_for
from polyak.types import Box, Discrete, MultiDiscrete
from tests.fixtures.agents import settings_for
from tests.fixtures.learns import GAMMA, Learns
from tests.fixtures.toys import finish

SEEDS = (0, 1)
ACTIONS = 5  # where they are discrete: -1, -0.5, 0, 0.5, 1


LEARNS: dict[str, Learns] = {name: importlib.import_module(f"tests.algorithms.test_{name}").LEARNS for name in REGISTRY}

# observations, their values under the best policy, the best actions (None: any)
PROBES = {
    probe.ConstantReward: ([0.0], [1.0], None),
    probe.ObservationReward: ([-1.0, 1.0], [-1.0, 1.0], None),
    probe.DiscountedReward: ([-1.0, 1.0], [GAMMA, 1.0], None),
    probe.TimeLimit: ([0.0], [1 / (1 - GAMMA)], None),
    probe.ActionReward: ([0.0], [1.0], [0.5]),
    probe.ObservationActionReward: ([-1.0, 1.0], [1.0, 1.0], [-0.5, 0.5]),
}


class Summed(gymnasium.ActionWrapper):  # type: ignore[type-arg]
    """Two choices instead of one: the numbers of both add up to that of the action."""

    def __init__(self, env: probe.Probe):
        super().__init__(env)
        self.action_space = gymnasium.spaces.MultiDiscrete((2, ACTIONS - 1))

    def action(self, action: np.ndarray) -> int:
        return int(action.sum())


WORLDS: dict[type, Callable[[type[probe.Probe]], Any]] = {
    Box: lambda world: world(),
    Discrete: lambda world: world(ACTIONS),
    MultiDiscrete: lambda world: Summed(world(ACTIONS)),
}
LAST = list(PROBES)[-1]


def off_policy(algorithm: Any) -> bool:
    """Say whether an algorithm learns from replay, and so within seconds."""
    return algorithm.learns_from == "replay"


CASES = [
    pytest.param(
        name,
        world,
        kind,
        id=f"{world.__name__}-{name}-{kind.__name__.lower()}",
        marks=() if world is LAST and kind is algorithm.acts_on[0] and off_policy(algorithm) else pytest.mark.slow,
    )
    for world in PROBES
    for name, algorithm in REGISTRY.items()
    for kind in (algorithm.acts_on if world is LAST else algorithm.acts_on[:1])
]


@pytest.mark.parametrize(("name", "world", "kind"), CASES)
def test_learns(name: str, world: type[probe.Probe], kind: type) -> None:
    check(name, world, kind, LEARNS[name].config)


@pytest.mark.slow
def test_crossq_learns_with_normalization_where_observations_and_actions_vary() -> None:
    normalized = {"batch_norm": "renorm", "renorm_warmup": 500, "momentum": 0.05}
    check("crossq", LAST, Box, {**LEARNS["crossq"].config, **normalized}, env_steps=9_600)


def check(name: str, world: type[probe.Probe], kind: type, given: dict[Any, Any], **longer: int) -> None:
    """Train with these settings, then compare the values and the actions of every lane with the right ones."""
    observations, values, best = PROBES[world]
    config, plan = (
        REGISTRY[name].Config(**settings_for(kind, given)),
        plan_for(REGISTRY[name].learns_from)(**{**LEARNS[name].plan, **longer}),
    )
    envs = VectorEnv(partial(WORLDS[kind], world), SEEDS, plan.envs)
    trained = finish(HostLoop(Job(REGISTRY[name], config, plan, envs, SEEDS)))
    obs = np.array(observations, np.float32)[:, None]
    for lane in range(len(SEEDS)):
        state = jax.tree.map(lambda leaf, lane=lane: np.asarray(leaf)[lane], trained.learner.state)
        action, _ = trained.algorithm.act(trained.config, state.policy, (), obs, jax.random.key(0), False)
        np.testing.assert_allclose(LEARNS[name].value(state, obs, np.asarray(action)), values, rtol=0.05)
        if best is not None:
            np.testing.assert_allclose(as_number(kind, np.asarray(action)), best, atol=0.1)


def as_number(kind: type, action: np.ndarray) -> np.ndarray:
    """Read the first discrete action as -1, the last as 1."""
    if kind is Box:
        return action[:, 0]
    return 2 * (action if kind is Discrete else action.sum(-1)) / (ACTIONS - 1) - 1
