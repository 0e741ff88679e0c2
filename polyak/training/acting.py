"""Acting for all lanes at once: in NumPy if the algorithm's `act` allows it, else compiled on a separate device.

A device runs its queue in order, so acting on the learner's device would wait for the learner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from polyak.lazy import jax
from polyak.numerics.draws import LaneGenerators, uniform_actions
from polyak.training import devices
from polyak.training.numpy_trial import Verdict, act_program, lane_of, try_in_numpy
from polyak.training.protocols import Acting
from polyak.tree import copied, map_leaves
from polyak.types import Algorithm, Array, Box, EnvSpec, Obs, Tree, init_memory

T = TypeVar("T")


@dataclass(frozen=True)
class Behavior:
    """How lanes act, apart from their policies and seeds."""

    algorithm: Algorithm
    config: Tree
    spec: EnvSpec
    num_envs: int  # of each lane
    explore: bool


def make_acting(behavior: Behavior, seeds: Sequence[int], policy: Tree, verdict: Verdict | None = None) -> Acting:
    """Make the acting of a policy, in NumPy if `act` can; a trial decides if there is no verdict yet."""
    if verdict is None:
        config = map_leaves(np.float32, behavior.config)
        verdict = try_in_numpy(behavior.algorithm, config, behavior.spec, policy)
    if not verdict.in_numpy:
        return CompiledActing(behavior, seeds, policy, verdict)
    return (NumpyActing if len(seeds) > 1 else OneLaneActing)(behavior, seeds, policy)


class LaneActing:
    """The base of all acting: each lane's random numbers, and the acting memory of its environments."""

    carried: Tree  # the memory as `act` takes it
    policy: Tree

    def __init__(self, behavior: Behavior, seeds: Sequence[int]):
        self.algorithm, self.spec, self.explore = behavior.algorithm, behavior.spec, behavior.explore
        self.num_envs = behavior.num_envs
        self.config = map_leaves(np.float32, behavior.config)
        self.initial_memory = map_leaves(_in_32_bits, init_memory(self.algorithm, behavior.config, self.spec))
        self.dtype = np.float32 if isinstance(self.spec.action, Box) else np.int64
        self.restart(seeds)

    def restart(self, seeds: Sequence[int]) -> None:
        """Act for other seeds, of the same number, with the memory at the start of episodes."""
        shape = (len(seeds), self.num_envs)
        self.draws = LaneGenerators(seeds, [0] * len(seeds))
        self.memory = map_leaves(lambda leaf: np.tile(leaf, (*shape, *[1] * leaf.ndim)), self.initial_memory)

    @property
    def memory(self) -> Tree:
        """Return the acting memory, `[lane, env, ...]`, in the types of the initial memory."""
        if self.carried is self.initial_memory:  # it is empty
            return self.initial_memory
        memory = self._with_lanes(self.carried)
        return map_leaves(lambda leaf, initial: np.asarray(leaf, initial.dtype), memory, self.initial_memory)

    @memory.setter
    def memory(self, memory: Tree) -> None:
        self.carried = self._as_act_takes(memory)

    def _as_act_takes(self, tree: T) -> T:
        return tree

    def _with_lanes(self, tree: T) -> T:
        return tree

    def seed(self, positions: Sequence[int] | np.ndarray) -> None:
        """Seed exploration: a lane's actions depend only on its seed, its position in the run and its memory."""
        self.draws.seed(positions)
        self.memory = self.memory  # convert it to the initial types, whatever `act` returned

    def uniform(self, obs: Obs) -> np.ndarray:
        """Choose actions uniformly at random, as in the warm-up."""
        return uniform_actions(self.draws, self.spec.action, (len(self.draws.lanes), self.num_envs))

    def reset_memory(self, lane: int, env: int) -> None:
        """Reset the memory of one environment, whose episode ended."""

        def reset(memory: np.ndarray, initial: np.ndarray) -> np.ndarray:
            memory = np.array(memory)  # a copy, because others may keep the old memory
            memory[lane, env] = initial
            return memory

        self.memory = map_leaves(reset, self.memory, self.initial_memory)


# The returned actions are stored, given to the environment, and replayed when a run is resumed. They are copied because
# the next `act` may change the arrays that this one returned. Observations are copied because `act` may keep them, and
# the environments overwrite them.


class NumpyActing(LaneActing):
    """Calls `act` with NumPy arrays that have a leading lane axis."""

    verdict = Verdict(True)

    def __init__(self, behavior: Behavior, seeds: Sequence[int], policy: Tree):
        super().__init__(behavior, seeds)
        self.set_policy(policy)

    def set_policy(self, policy: Tree) -> None:
        """Act by this policy from now on, a tree of NumPy arrays with a leading lane axis."""
        self.policy, self.policy_for_act = policy, self._as_act_takes(policy)

    def __call__(self, obs: Obs) -> np.ndarray:
        """Choose actions `[lane, env, action]`, or indices `[lane, env]`."""
        action, self.carried = self.algorithm.act(
            self.config, self.policy_for_act, self.carried, copied(obs), self.draws, self.explore
        )
        return np.array(action, self.dtype)


class OneLaneActing(NumpyActing):
    """Calls `act` for one lane without the lane axis: the same bits at a lower cost of each operation."""

    def _as_act_takes(self, tree: T) -> T:
        return lane_of(tree, 0)

    def _with_lanes(self, tree: T) -> T:
        return map_leaves(lambda leaf: leaf[None], tree)

    def __call__(self, obs: Obs) -> np.ndarray:
        """Choose actions `[1, env, action]`, or indices `[1, env]`."""
        seen = obs[0].copy() if isinstance(obs, np.ndarray) else _of_first_lane(obs)
        action, self.carried = self.algorithm.act(
            self.config, self.policy_for_act, self.carried, seen, self.draws, self.explore
        )
        return np.array(action[None], self.dtype)


def _of_first_lane(obs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Copy the observations of the first lane, which is the only one."""
    return {name: part[0].copy() for name, part in obs.items()}


class CompiledActing(LaneActing):
    """Calls a compiled `act` on another device than the learner's, which is one of the first."""

    def __init__(self, behavior: Behavior, seeds: Sequence[int], policy: Tree, verdict: Verdict):
        super().__init__(behavior, seeds)
        self.verdict = verdict
        devices.prepare()
        self.program = devices.cached(act_program, self.algorithm, self.explore, config=self.config)
        self.set_policy(policy)

    def set_policy(self, policy: Tree) -> None:
        """Act by this policy from now on, a tree of NumPy arrays with a leading lane axis."""
        self.policy, self.policy_on_device = policy, jax.device_put(policy, devices.to_act_on())

    def __call__(self, obs: Obs) -> np.ndarray:
        """Choose actions `[lane, env, action]`, or indices `[lane, env]`."""
        bits = np.array([lane.integers(2**32, dtype=np.uint32) for lane in self.draws.lanes])
        action, self.carried = jax.device_get(self.program(self.config, self.policy_on_device, self.memory, obs, bits))
        return np.array(action, self.dtype)


def _in_32_bits(leaf: Array | float) -> np.ndarray:
    """Convert to an array of at most 32 bits, as in a compiled `act`: float64 becomes float32."""
    array = np.asarray(leaf)
    return array.astype(NARROW.get(array.dtype.name, array.dtype))


NARROW = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32, "complex128": np.complex64}
