"""Every registered algorithm learns every probe, through the real host loop: the right values and the right actions.

A probe that fails names the broken part, see `polyak.envs.probe`. A new algorithm needs an entry in LEARNS. All probes
are learned with the first kind of action that an algorithm takes; the last one, which needs all parts, with every kind.
Of all these only the last with the first kind is not a slow test: the others tell which part is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

from polyak.algorithms import REGISTRY
from polyak.envs import probe
from polyak.envs.gymnasium import VectorEnv
from polyak.networks.critics import ActionValues
from polyak.training.host import Training
from polyak.training.plan import Plan
from polyak.types import Box, Discrete, MultiDiscrete
from tests.fixtures.agents import settings_for
from tests.fixtures.toys import finish

GAMMA = 0.8
SEEDS = (0, 1)
ACTIONS = 5  # where they are discrete: -1, -0.5, 0, 0.5, 1


@dataclass(frozen=True)
class Learns:
    """How an algorithm is set up for the probes, and how a value is read from its state.

    What the config has under a kind of action is for that kind alone.
    """

    config: dict[Any, Any]
    plan: dict[str, Any]
    value: Callable[[Any, np.ndarray, np.ndarray], Any]


def q(state: Any, obs: np.ndarray, action: np.ndarray) -> Any:
    return state.critic(obs, action, state.critic_statistics)


def first_q(state: Any, obs: np.ndarray, action: np.ndarray) -> Any:
    critic = state.critics[0]
    return of_index(critic(obs), action) if isinstance(critic, ActionValues) else critic(obs, action)


def q_in_batch_statistics(state: Any, obs: np.ndarray, action: np.ndarray) -> Any:
    return state.critics[0](obs, action, state.critic_statistics[0])


def q_of_index(state: Any, obs: np.ndarray, action: np.ndarray) -> Any:
    net = state.policy.q if hasattr(state.policy, "q") else state.policy.critics[0]
    return of_index(net(obs), action)


def of_index(values: Any, action: np.ndarray) -> np.ndarray:
    return np.take_along_axis(np.asarray(values), action[:, None], -1)[:, 0]


def v(state: Any, obs: np.ndarray, action: np.ndarray) -> Any:
    net = state.baseline if hasattr(state, "baseline") else state.value
    return net(obs)[..., 0]


OFF_POLICY: dict[str, Any] = {"env_steps": 1_600, "warmup": 200, "rollout_length": 100, "batch": 64}
ON_POLICY: dict[str, Any] = {"warmup": 0, "updates": 1, "updates_per": "rollout"}
COOL: dict[str, Any] = {"alpha": 1e-3, "learn_alpha": False}  # then soft values are nearly values
SMALL: dict[str, Any] = {"gamma": GAMMA, "actor_layers": (64, 64), "critic_joint_layers": (64, 64)}

LEARNS = {
    "reinforce": Learns(
        config={
            "gamma": GAMMA,
            "actor_learning_rate": 3e-3,
            "baseline_learning_rate": 1e-2,
            "lr_decay": 1.0,
            Box: {"actor_learning_rate": 1e-2},  # else the deviation, which costs value, does not vanish in time
        },
        plan={**ON_POLICY, "env_steps": 25_600, "envs": 8, "rollout_length": 8},
        value=v,
    ),
    "a2c": Learns(
        config={
            "gamma": GAMMA,
            "optimizer": "adam",
            "learning_rate": 3e-3,
            "lr_decay": 1.0,
            # as above; normalized, for else the first large advantages push some seeds to the border, where they stay
            Box: {"learning_rate": 1e-2, "normalize_advantages": True},
        },
        plan={**ON_POLICY, "env_steps": 25_600, "envs": 8, "rollout_length": 8},
        value=v,
    ),
    "ppo": Learns(
        config={"gamma": GAMMA, "learning_rate": 3e-3, "lr_decay": 1.0, "epochs": 10, "minibatch": 64},
        plan={**ON_POLICY, "env_steps": 12_800, "envs": 8, "rollout_length": 16},
        value=v,
    ),
    "dqn": Learns(
        config={"gamma": GAMMA, "tau": 0.1, "learning_rate": 3e-3, "layers": (64, 64), "epsilon_fraction": 0.5},
        plan=OFF_POLICY,
        value=q_of_index,
    ),
    "soft_q": Learns(
        config={"gamma": GAMMA, "tau": 0.1, "learning_rate": 3e-3, "layers": (64, 64), "alpha": 0.1, "alpha_end": 1e-3},
        plan=OFF_POLICY,
        value=q_of_index,
    ),
    "td3": Learns(
        config={**SMALL, "tau": 0.1, "critic_learning_rate": 3e-3, "noise_sigma": 0.2, "smoothing_sigma": 0.05},
        plan={**OFF_POLICY, "env_steps": 2_400},
        value=first_q,
    ),
    "sac": Learns(
        config={**SMALL, "tau": 0.1, "critic_learning_rate": 3e-3, "actor_learning_rate": 3e-3, **COOL},
        plan={**OFF_POLICY, "env_steps": 2_400},
        value=first_q,
    ),
    # without normalization: observations that hardly vary, or not at all, have no variance to normalize by, and some
    # seeds then end beyond the tolerance; the test at the end has it
    "crossq": Learns(
        config={"gamma": GAMMA, "actor_layers": (64, 64), "critic_layers": (64, 64), "batch_norm": "off", **COOL},
        plan={**OFF_POLICY, "env_steps": 4_800},
        value=q_in_batch_statistics,
    ),
    "ddpg": Learns(
        config={
            "gamma": GAMMA,
            "tau": 0.1,
            "critic_learning_rate": 3e-3,
            "noise_sigma": 0.2,
            "actor_layers": (64, 64),  # with 16 units, or half the steps, some seeds do not arrive
            "critic_joint_layers": (64, 64),
        },
        plan={"env_steps": 1_600, "warmup": 200, "rollout_length": 100, "batch": 64},
        value=q,
    ),
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
CASES = [
    pytest.param(
        name,
        world,
        kind,
        id=f"{world.__name__}-{name}-{kind.__name__.lower()}",
        marks=() if world is LAST and kind is algorithm.acts_on[0] else pytest.mark.slow,
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
    config, plan = REGISTRY[name].Config(**settings_for(kind, given)), Plan(**{**LEARNS[name].plan, **longer})
    envs = VectorEnv(partial(WORLDS[kind], world), SEEDS, plan.envs)
    trained = finish(Training(REGISTRY[name], config, plan, envs, SEEDS))
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
