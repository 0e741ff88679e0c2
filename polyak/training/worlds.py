"""What training needs of environments; `polyak.envs.gymnasium` has both of them for any of Gymnasium's."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from polyak.types import EnvSpec


class Environment(Protocol):
    """What evaluation needs of one environment."""

    spec: EnvSpec

    @property
    def scale(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return what converts actions to the environment's units."""

    def reset(self, seed: int) -> np.ndarray:
        """Start an episode; return its first observation."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Take a step; return next observation, reward, terminated, truncated."""

    def close(self) -> None:
        """Release the environment."""


class Worlds(Protocol):
    """What the loop needs of the environments."""

    spec: EnvSpec
    obs: np.ndarray  # [lane, env, obs] what to act on next
    next_obs: np.ndarray  # of the step just taken; the rest too
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episodes: np.ndarray  # [lane, env] number of the episode under way
    actions: list[list[list[np.ndarray]]]  # [lane][env] the actions of the episode under way

    def step(self, actions: np.ndarray, lanes: Sequence[int]) -> list[Any]:
        """Step some lanes; return a record of each ended episode with `lane`, `env`, `total` and `length`."""

    def restore(self, episodes: np.ndarray, actions: list[list[list[np.ndarray]]]) -> None:
        """Bring every environment to where it was."""
