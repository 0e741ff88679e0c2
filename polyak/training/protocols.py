"""What training needs of environments; `polyak.envs.gymnasium` has both of them for any of Gymnasium's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from polyak.lazy import jax
from polyak.types import EnvSpec, Episode


class Environment(Protocol):
    """What evaluation needs of one environment."""

    spec: EnvSpec
    limit: int | None  # steps after which it truncates an episode; None: unknown

    @property
    def scale(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return what converts actions to the environment's units."""

    def reset(self, seed: int) -> np.ndarray:
        """Start an episode; return its first observation."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Take a step; return next observation, reward, terminated, truncated."""

    def close(self) -> None:
        """Release the environment."""


class CompiledEnv(Protocol):
    """What the device loop needs of an environment; `polyak.envs.functional` makes it of any FuncEnv."""

    @property
    def spec(self) -> EnvSpec:
        """What an algorithm may know of it."""

    @property
    def limit(self) -> int | None:
        """Most steps of an episode; None: there is no limit."""

    def start(self, key: jax.Array) -> Any:
        """Begin an episode; return the state of the environment, whose `obs` is what to act on."""

    def step(self, before: Any, action: Any, key: jax.Array) -> tuple[Any, Any]:
        """Take a step; return the state after it, and the outcome.

        The outcome has `next_obs`, `reward`, `terminated`, `truncated`, whether the episode `ended`, and its `length`
        and `total` so far.
        """


class VectorEnv(Protocol):
    """What the loop needs of the environments."""

    spec: EnvSpec
    obs: np.ndarray  # [lane, env, obs] what to act on next
    next_obs: np.ndarray  # of the step just taken; the rest too
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episodes: np.ndarray  # [lane, env] number of the episode under way
    actions: list[list[list[np.ndarray]]]  # [lane][env] the actions of the episode under way

    def step(self, actions: np.ndarray, lanes: Sequence[int]) -> Sequence[Episode]:
        """Step some lanes; return the episodes that ended."""

    def restore(
        self, episodes: np.ndarray, actions: list[list[list[np.ndarray]]], obs: np.ndarray
    ) -> list[tuple[int, int]]:
        """Bring every environment to where it was; return lane and number of those that began a new episode instead."""
