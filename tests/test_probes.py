"""Every registered algorithm learns every probe, through the real host loop: the right values and the right actions.

A probe that fails names the broken part, see `polyak.envs.probe`. A new algorithm needs an entry in LEARNS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from polyak.algorithms import REGISTRY
from polyak.envs import probe
from polyak.envs.gymnasium import Worlds
from polyak.training.host import Training
from polyak.training.plan import Plan
from polyak.types import Box
from tests.toys import finish

GAMMA = 0.8
SEEDS = (0, 1)


@dataclass(frozen=True)
class Learns:
    """How an algorithm is set up for the probes, and how a value is read from its state (None: it has none)."""

    config: dict[str, Any]
    plan: dict[str, Any]
    value: Callable[[Any, np.ndarray, np.ndarray], Any] | None


def q(state: Any, obs: np.ndarray, action: np.ndarray) -> Any:
    return state.critic(obs, action, state.critic_statistics)


LEARNS = {
    "ddpg": Learns(
        config={
            "gamma": GAMMA,
            "tau": 0.1,
            "critic_learning_rate": 3e-3,
            "noise_sigma": 0.2,
            "actor_layers": (64, 64),  # with 16 units, or half the steps, some seeds do not arrive
            "critic_joint_layers": (64, 64),
        },
        plan={"env_steps": 1_600, "warmup": 200, "chunk": 100, "batch": 64},
        value=q,
    )
}

# observations, their values under the best policy, the best actions (None: any)
PROBES = {
    probe.ConstantReward: ([0.0], [1.0], None),
    probe.ObservationReward: ([-1.0, 1.0], [-1.0, 1.0], None),
    probe.DiscountedReward: ([-1.0, 1.0], [GAMMA, 1.0], None),
    probe.TimeLimit: ([0.0], [1 / (1 - GAMMA)], None),
    probe.ActionReward: ([0.0], [1.0], [0.5]),
    probe.ObservationActionReward: ([-1.0, 1.0], [1.0, 1.0], [-0.5, 0.5]),
}


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("world", PROBES, ids=lambda world: world.__name__)
def test_learns(name: str, world: type[probe.Probe]) -> None:
    observations, values, best = PROBES[world]
    trained = train(name, partial(world, None if Box in REGISTRY[name].acts_on else 3))
    obs = np.array(observations, np.float32)[:, None]
    for lane in range(len(SEEDS)):
        state = jax.tree.map(lambda leaf, lane=lane: np.asarray(leaf)[lane], trained.learner.state)
        action, _ = trained.algorithm.act(trained.config, state.policy, (), obs, jax.random.key(0), False)
        if LEARNS[name].value is not None:
            np.testing.assert_allclose(LEARNS[name].value(state, obs, np.asarray(action)), values, rtol=0.05)
        if best is not None:
            np.testing.assert_allclose(as_number(action), best, atol=0.1)


def train(name: str, world: Callable[[], probe.Probe]) -> Training:
    plan = Plan(**LEARNS[name].plan)
    config = REGISTRY[name].Config(**LEARNS[name].config)
    return finish(Training(REGISTRY[name], config, plan, Worlds(world, SEEDS, plan.envs), SEEDS))


def as_number(action: Any) -> np.ndarray:
    """Read the first of three discrete actions as -1, the last as 1."""
    numbers = np.asarray(action)
    return np.clip(2 * (numbers - 1), -0.5, 0.5) if np.issubdtype(numbers.dtype, np.integer) else numbers[:, 0]
