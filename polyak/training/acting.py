"""Acting for all lanes at once: in NumPy where the algorithm's `act` allows it, else compiled on a device of its own.

A device runs its queue in order, so acting on the learner's device would wait for the learner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from polyak.errors import reason
from polyak.lazy import jax
from polyak.numerics.draws import LaneGenerators, uniform_actions
from polyak.numerics.keys import key
from polyak.numerics.precision import compiled
from polyak.training import devices
from polyak.tree import map_leaves, named_leaves
from polyak.types import Algorithm, Box, EnvSpec


class Acting:
    """Chooses actions for observations `[lane, env, obs]`, and keeps the acting memory of every environment."""

    def __init__(
        self,
        algorithm: Algorithm,
        config: Any,
        spec: EnvSpec,
        seeds: Sequence[int],
        num_envs: int,
        explore: bool,
        verdict: Verdict | None = None,
    ):
        """Prepare to act; where the verdict is not known, it is found out when the first policy comes."""
        self.algorithm, self.spec, self.num_envs, self.explore = algorithm, spec, num_envs, explore
        self.config = map_leaves(np.float32, config)
        self.initial_memory = map_leaves(_in_32_bits, algorithm.init_memory(config, spec))
        self.dtype = np.float32 if isinstance(spec.action, Box) else np.int64
        self.verdict = verdict
        self.host_policy: Any = None  # as it was set
        self.policy: Any = None  # as `act` takes it
        self.compiled: Any = None
        self.restart(seeds)

    def restart(self, seeds: Sequence[int]) -> None:
        """Start: act for these seeds, with the memory of episodes that begin."""
        self.seeds, shape = list(seeds), (len(seeds), self.num_envs)
        self.alone = len(self.seeds) == 1
        self.draws = LaneGenerators(self.seeds, [0] * len(self.seeds))
        self.memory = map_leaves(lambda leaf: np.tile(leaf, (*shape, *[1] * leaf.ndim)), self.initial_memory)

    @property
    def in_numpy(self) -> bool:
        """Whether `act` is called with NumPy arrays, and not compiled; known once there is a policy."""
        return self.verdict is not None and self.verdict.in_numpy

    @property
    def memory(self) -> Any:
        """Return the acting memory, `[lane, env, ...]`, in the types of an initial one."""
        if self.carried is self.initial_memory:  # there is nothing in it
            return self.initial_memory
        memory = map_leaves(lambda leaf: leaf[None], self.carried) if self.alone else self.carried
        return map_leaves(lambda leaf, initial: np.asarray(leaf, initial.dtype), memory, self.initial_memory)

    @memory.setter
    def memory(self, memory: Any) -> None:
        self.carried = _first(memory) if self.alone else memory

    def set_policy(self, policy: Any) -> None:
        """Act by this policy from now on: NumPy arrays with a leading lane axis."""
        if self.verdict is None:
            self.verdict = try_in_numpy(self.algorithm, self.config, self.spec, policy)
        self.host_policy = policy
        if not self.in_numpy:  # not on the learner's device, which is one of the first
            devices.prepare()
            self.compiled = self.compiled or devices.cached(_program, self.algorithm, self.explore, config=self.config)
            self.policy = jax.device_put(policy, devices.to_act_on())
        else:  # for a lane alone without the lane axis, with which each operation would cost more
            self.policy = _first(policy) if self.alone else policy

    def seed(self, positions: Sequence[int] | np.ndarray) -> None:
        """Seed exploration: a lane's actions depend on its seed, its position in the run and its memory alone."""
        self.draws.seed(positions)
        self.memory = self.memory  # in the types in which it is kept, whatever `act` made of it

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Choose actions `[lane, env, action]`, or indices `[lane, env]`."""
        if self.in_numpy:
            seen = (obs[0] if self.alone else obs).copy()  # which `act` may keep; the environments write on theirs
            action, self.carried = self.algorithm.act(
                self.config, self.policy, self.carried, seen, self.draws, self.explore
            )
            action = action[None] if self.alone else action
        else:
            bits = np.array([lane.integers(2**32, dtype=np.uint32) for lane in self.draws.lanes])
            action, self.memory = jax.device_get(self.compiled(self.config, self.policy, self.memory, obs, bits))
        # what is stored, and repeated when a run is resumed, is what the environment gets; copied, because the next
        # `act` may change what this one returned
        return np.array(action, self.dtype)

    def uniform(self, obs: np.ndarray) -> np.ndarray:
        """Choose actions uniformly at random, whatever is observed: what the warm-up does."""
        return uniform_actions(self.draws, self.spec.action, obs.shape[:2])

    def reset_memory(self, lane: int, env: int) -> None:
        """Start the memory of one environment afresh: its episode ended."""

        def reset(memory: np.ndarray, initial: np.ndarray) -> np.ndarray:
            memory = np.array(memory)  # a copy: whoever kept the old memory keeps it
            memory[lane, env] = initial
            return memory

        self.memory = map_leaves(reset, self.memory, self.initial_memory)


def _in_32_bits(leaf: Any) -> np.ndarray:
    """Make an array of the type in which a compiled `act` has it: a float64 becomes float32."""
    array = np.asarray(leaf)
    return array.astype(NARROW.get(array.dtype.name, array.dtype))


NARROW = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32, "complex128": np.complex64}


def _first(tree: Any, lane: int = 0) -> Any:
    """Take one lane of a tree of NumPy arrays; its numbers are still arrays."""
    return map_leaves(lambda leaf: leaf[lane, ...], tree)


def _program(algorithm: Algorithm, explore: bool) -> Any:
    return compiled(partial(_act_in_lanes, algorithm, explore))


def _act_in_lanes(
    algorithm: Algorithm, explore: bool, config: Any, policy: Any, memory: Any, obs: Any, bits: Any
) -> Any:
    def act(policy: Any, memory: Any, obs: Any, bits: Any) -> Any:
        return algorithm.act(config, policy, memory, obs, key(bits), explore)

    return jax.vmap(act)(policy, memory, obs, bits)


@dataclass(frozen=True)
class Verdict:
    """Whether an algorithm's `act` may be called with NumPy arrays; where not, why."""

    in_numpy: bool
    reason: str = ""


def try_in_numpy(algorithm: Algorithm, config: Any, spec: EnvSpec, policy: Any) -> Verdict:
    """Try whether `act` gives right answers on NumPy arrays, on two lanes made up from the policy of one.

    Both together, with a lane axis, must do what each does alone without it, and without exploration what the compiled
    program does.
    """
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((2, 3, spec.obs_size), dtype=np.float32)
    memory = map_leaves(lambda leaf: np.tile(leaf, (2, 3, *[1] * np.ndim(leaf))), algorithm.init_memory(config, spec))
    lanes = map_leaves(lambda leaf: leaf[:1] + np.arange(2).reshape(2, *[1] * (leaf.ndim - 1)) * leaf[:1], policy)
    lanes = map_leaves(lambda leaf, like: leaf.astype(like.dtype), lanes, policy)

    def act(explore: bool) -> Any:
        return algorithm.act(config, lanes, memory, obs, LaneGenerators([0, 1], [0, 0]), explore)

    def act_alone(lane: int, explore: bool) -> Any:
        policy, carried = _first(lanes, lane), _first(memory, lane)
        return algorithm.act(config, policy, carried, obs[lane], LaneGenerators([lane], [0]), explore)

    try:
        together = {explore: act(explore) for explore in (True, False)}
        alone = [(act_alone(lane, explore), _first(together[explore], lane)) for lane in (0, 1) for explore in together]
    except Exception as error:  # written for one lane or for JAX only
        first_line = reason(error).partition("\n")[0]
        return Verdict(False, f"on NumPy arrays it raises {type(error).__name__}: {first_line}")
    if not all(_agree(one, other) and _agree(other, one) for one, other in alone):
        return Verdict(False, "on NumPy arrays of two seeds it does not do what it does on those of each alone")
    devices.prepare()
    with jax.default_device(devices.to_act_on()):
        program = devices.cached(_program, algorithm, False, config=config)
        if _agree(together[False], program(config, lanes, memory, obs, np.zeros(2, np.uint32))):
            return Verdict(True)
    return Verdict(False, "on NumPy arrays it does not do what it does compiled")


def _agree(found: Any, expected: Any) -> bool:
    """Say whether a tree of NumPy arrays has the numbers of another, but for rounding."""
    leaves, wanted = list(named_leaves(found).values()), list(named_leaves(expected).values())
    return len(leaves) == len(wanted) and all(
        isinstance(leaf, np.ndarray) and leaf.shape == np.shape(like) and np.allclose(leaf, like, rtol=1e-4, atol=1e-5)
        for leaf, like in zip(leaves, wanted, strict=True)
    )
