"""What a run needs of a loop that trains, and what training needs of environments and of what acts in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from polyak.lazy import jax
from polyak.training.counts import Counts
from polyak.training.plan import Plan
from polyak.types import Array, EnvSpec, Episode, Metrics, Obs, Tree

if TYPE_CHECKING:
    from polyak.training.numpy_trial import Verdict


@dataclass
class Report:
    """What one iteration brought: finished episodes, and the metrics of the last learning that is done."""

    episodes: list[Episode]
    metrics: Metrics | None  # each [lane]
    updates: np.ndarray  # [lane] updates that the metrics are of; 0: the lane made none, and its metrics mean nothing


class Loop(Protocol):
    """One training in memory, whatever it learns from, between two iterations.

    Everything that has a lane has a leading axis `[lane]`. `counts.progress` is the share of the plan that is done.
    Rows of the log, evaluations and checkpoints are counted in environment steps, which every loop so far takes.
    """

    plan: Plan
    seeds: list[int]
    spec: EnvSpec
    sharding: jax.sharding.NamedSharding  # how the lanes are spread over devices
    report: Report  # of the last iteration
    finite: bool  # whether all numbers so far were finite
    learned: bool  # whether it has learned once, and so is compiled

    @property
    def policy(self) -> Tree:
        """The learned policy of every lane, on the host."""

    @property
    def counts(self) -> Counts:
        """What each lane has done of the plan."""

    @property
    def verdict(self) -> Verdict:
        """Whether the algorithm acts in NumPy."""

    def advance(self) -> Report:
        """Run one iteration. Raises RunError where an environment fails, or learning diverged."""

    def snapshot(self) -> dict[str, Tree]:
        """Return everything the loop is at this moment, as a tree of arrays, good until the next iteration."""

    def template(self, pending: bool, planned: int | None = None) -> dict[str, Tree]:
        """Return the shapes of a snapshot."""

    def restore(self, snapshot: dict[str, Tree]) -> int:
        """Go back to the moment of a snapshot; return how many environments could not."""

    def start_from(self, state: Tree) -> None:
        """Begin with what other learners have learned: the states of all lanes, `[lane, ...]`."""


class Environment(Protocol):
    """What evaluation needs of one environment."""

    spec: EnvSpec
    limit: int | None  # steps after which it truncates an episode; None: unknown

    @property
    def scale(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return what converts actions to the environment's units."""

    def reset(self, seed: int) -> Obs:
        """Start an episode; return its first observation."""

    def step(self, action: np.ndarray) -> tuple[Obs, float, bool, bool]:
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

    def start(self, key: jax.Array) -> Tree:
        """Begin an episode; return the state of the environment, whose `obs` is what to act on."""

    def step(self, before: Tree, action: Array, key: jax.Array) -> tuple[Tree, Tree]:
        """Take a step; return the state after it, and the outcome.

        The outcome has `next_obs`, `reward`, `terminated`, `truncated`, whether the episode `ended`, and its `length`
        and `total` so far.
        """


class VectorEnv(Protocol):
    """What the host loop, and the run around it, need of the environments."""

    spec: EnvSpec
    limit: int | None  # steps after which an episode is truncated; None: unknown
    obs: Obs  # [lane, env, ...] what to act on next
    next_obs: Obs  # of the step just taken; the rest too
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episodes: np.ndarray  # [lane, env] number of the episode under way
    actions: list[list[list[np.ndarray]]]  # [lane][env] the actions of the episode under way

    def step(self, actions: np.ndarray, lanes: Sequence[int]) -> Sequence[Episode]:
        """Step some lanes; return the episodes that ended."""

    def restore(self, episodes: np.ndarray, actions: list[list[list[np.ndarray]]], obs: Obs) -> list[tuple[int, int]]:
        """Bring every environment to where it was; return lane and number of those that began a new episode instead."""


class Acting(Protocol):
    """What chooses actions for all lanes, and keeps the acting memory of every environment; `acting.py` makes it."""

    policy: Tree  # as it was set
    memory: Tree  # `[lane, env, ...]`
    verdict: Verdict  # whether `act` runs on NumPy arrays

    def set_policy(self, policy: Tree) -> None:
        """Act by this policy from now on: NumPy arrays with a leading lane axis."""

    def restart(self, seeds: Sequence[int]) -> None:
        """Act for these seeds, as many as before, with the memory of episodes that begin."""

    def seed(self, positions: Sequence[int] | np.ndarray) -> None:
        """Seed exploration by each lane's position in its run."""

    def __call__(self, obs: Obs) -> np.ndarray:
        """Choose actions `[lane, env, action]`, or indices `[lane, env]`, for observations `[lane, env, obs]`."""

    def uniform(self, obs: Obs) -> np.ndarray:
        """Choose actions uniformly at random."""

    def reset_memory(self, lane: int, env: int) -> None:
        """Start the memory of one environment afresh."""
