"""The tasks of MuJoCo Playground, simulated by MJX, as FuncEnvs for the device loop.

Each task in Playground's registry is an attribute of this module: `polyak train sac polyak.envs.mjx:CartpoleBalance
--backend device`. They need the extra `mjx`. Zakka et al. 2025, "MuJoCo Playground", arXiv:2502.08844.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Protocol

import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv

from polyak.errors import UsageError, installing, nearest
from polyak.lazy import jax
from polyak.types import Array


class State(Protocol):
    """The fields of Playground's state that are read here."""

    @property
    def obs(self) -> Array | Mapping[str, Array]:
        """What is observed."""

    @property
    def reward(self) -> Array:
        """The reward of the step that led to this state."""

    @property
    def done(self) -> Array:
        """1 where the task ended."""


class Task(FuncEnv["State", "Array", "Array", "Array", "Array", None, None]):
    """A task of Playground with Playground's own state; of several observations, the policy's is used.

    Raises UsageError if Playground is not installed, or has no such task.
    """

    def __init__(self, name: str):
        try:
            from mujoco_playground import registry
        except ImportError as error:
            raise UsageError(f"{name} needs a package that is missing: {installing('mjx')}") from error
        if name not in registry.ALL_ENVS:
            raise UsageError(f"MuJoCo Playground has no task {name!r}: {nearest(name, registry.ALL_ENVS)}")
        config = registry.get_default_config(name)
        if config.get("action_repeat", 1) != 1:
            raise UsageError(f"{name} repeats each action {config.action_repeat} times, which is not supported")
        # the alternative, Warp, needs a GPU
        self.task = registry.load(name, config_overrides={"impl": "jax"} if "impl" in config else None)
        self.max_episode_steps = int(config.episode_length)
        state = jax.eval_shape(self.task.reset, jax.random.key(0))
        self.observation_space = spaces.Box(-np.inf, np.inf, _seen(state).shape, np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (self.task.action_size,), np.float32)

    def initial(self, rng: jax.Array, params: None = None) -> State:
        """Begin an episode."""
        return self.task.reset(rng)

    def transition(self, state: State, action: Array, rng: jax.Array, params: None = None) -> State:
        """Take a step; the random key is in the state."""
        return self.task.step(state, action)

    def observation(self, state: State, rng: jax.Array, params: None = None) -> Array:
        """Return the policy's observation."""
        return _seen(state)

    def reward(self, state: State, action: Array, next_state: State, rng: jax.Array, params: None = None) -> Array:
        """Return the reward of the step that led to `next_state`."""
        return next_state.reward

    def terminal(self, state: State, rng: jax.Array, params: None = None) -> Array:
        """Return whether the task terminated; its time limit is `max_episode_steps`."""
        return state.done > 0


def _seen(state: State) -> Array:
    return state.obs["state"] if isinstance(state.obs, Mapping) else state.obs


@cache
def __getattr__(name: str) -> Callable[[], Task]:
    """Return a function that makes the task of this name."""
    if not name[:1].isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    @cache  # a single instance, so that compiled programs are reused
    def make() -> Task:
        return Task(name)

    make.__name__ = make.__qualname__ = name
    return make
