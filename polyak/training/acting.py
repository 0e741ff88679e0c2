"""Acting for all lanes at once: in NumPy where the algorithm's `act` allows it, else compiled on a device of its own.

A device runs its queue in order, so acting on the learner's device would wait for the learner.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from polyak.draws import LaneGenerators
from polyak.keys import key
from polyak.training import devices
from polyak.tree import take
from polyak.types import Algorithm, Box, Discrete, EnvSpec


class Acting:
    """Chooses actions for observations `[lane, env, obs]`, and keeps the acting memory of every environment."""

    def __init__(
        self, algorithm: Algorithm, config: Any, spec: EnvSpec, seeds: Sequence[int], envs: int, explore: bool
    ):
        self.algorithm, self.spec, self.envs, self.explore = algorithm, spec, envs, explore
        self.config = jax.tree.map(np.float32, config)
        self.fresh = jax.tree.map(np.asarray, algorithm.recall(config, spec))
        self.dtype = np.float32 if isinstance(spec.action, Box) else np.int64
        self.in_numpy: bool | None = None
        self.followed: Any = None
        self.policy: Any = None
        self.compiled = devices.kept(_program, algorithm, explore, config=config)
        self.restart(seeds)

    def restart(self, seeds: Sequence[int]) -> None:
        """Start afresh: acting for these seeds, with the memory of episodes that begin."""
        self.seeds, shape = list(seeds), (len(seeds), self.envs)
        self.draws = LaneGenerators(self.seeds, [0] * len(self.seeds))
        self.memory = jax.tree.map(lambda leaf: np.tile(leaf, (*shape, *[1] * leaf.ndim)), self.fresh)

    def follow(self, policy: Any) -> None:
        """Act by this policy from now on: NumPy arrays with a leading lane axis."""
        if self.in_numpy is None:
            self.in_numpy = acts_in_numpy(self.algorithm, self.config, self.spec, policy)
        self.followed = policy
        # the last device of the CPU: the learner uses the first ones
        self.policy = policy if self.in_numpy else jax.device_put(policy, jax.local_devices(backend="cpu")[-1])

    def begin(self, moments: Sequence[int] | np.ndarray) -> None:
        """Make each lane's random numbers depend on its seed and this moment of it alone."""
        self.draws.begin(moments)

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Choose actions `[lane, env, action]`, or indices `[lane, env]`."""
        if self.in_numpy:
            action, self.memory = self.algorithm.act(
                self.config, self.policy, self.memory, obs, self.draws, self.explore
            )
        else:
            bits = np.array([lane.integers(2**32, dtype=np.uint32) for lane in self.draws.lanes])
            action, self.memory = jax.device_get(self.compiled(self.config, self.policy, self.memory, obs, bits))
        # what is stored, and repeated when a run is resumed, is what the environment gets
        return action if action.dtype == self.dtype else action.astype(self.dtype)  # type: ignore[return-value]

    def uniform(self, obs: np.ndarray) -> np.ndarray:
        """Choose actions uniformly at random, whatever is observed: what the warm-up does."""
        kind = self.spec.action
        if isinstance(kind, Box):
            return 2.0 * self.draws.uniform((*obs.shape[:2], kind.size)) - 1.0
        sizes = kind.n if isinstance(kind, Discrete) else np.array(kind.sizes)
        return (self.draws.uniform((*obs.shape[:2], *np.shape(sizes))) * sizes).astype(np.int64)

    def forget(self, lane: int, env: int) -> None:
        """Start the memory of one environment afresh: its episode ended."""

        def refreshed(memory: np.ndarray, fresh: np.ndarray) -> np.ndarray:
            memory = np.array(memory)  # a copy: whoever kept the old memory keeps it
            memory[lane, env] = fresh
            return memory

        self.memory = jax.tree.map(refreshed, self.memory, self.fresh)


def _program(algorithm: Algorithm, explore: bool) -> Any:
    return jax.jit(partial(_act_in_lanes, algorithm, explore))


def _act_in_lanes(
    algorithm: Algorithm, explore: bool, config: Any, policy: Any, memory: Any, obs: Any, bits: Any
) -> Any:
    def act(policy: Any, memory: Any, obs: Any, bits: Any) -> Any:
        return algorithm.act(config, policy, memory, obs, key(bits), explore)

    return jax.vmap(act)(policy, memory, obs, bits)


def acts_in_numpy(algorithm: Algorithm, config: Any, spec: EnvSpec, policy: Any) -> bool:
    """Try whether `act` is right on NumPy arrays with a lane axis, for two lanes that act differently.

    Both together must explore as each does alone, and without exploration do what the compiled program does.
    """
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((2, 3, spec.obs_size), dtype=np.float32)
    memory = jax.tree.map(lambda leaf: np.tile(leaf, (2, 3, *[1] * np.ndim(leaf))), algorithm.recall(config, spec))
    lanes = jax.tree.map(lambda leaf: leaf[:1] + np.arange(2).reshape(2, *[1] * (leaf.ndim - 1)) * leaf[:1], policy)
    lanes = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), lanes, policy)

    def act(lane: slice, explore: bool) -> Any:
        draws = LaneGenerators([0, 1][lane], [0, 0][lane])
        return algorithm.act(config, take(lanes, lane), take(memory, lane), obs[lane], draws, explore)

    try:
        exploring, greedy = act(slice(0, 2), True), act(slice(0, 2), False)
        alone = jax.tree.map(lambda *parts: np.concatenate(parts), *(act(slice(i, i + 1), True) for i in (0, 1)))
    except Exception:
        return False  # written for one lane or for JAX only
    if not _agree(exploring, alone):
        return False
    with jax.default_device(jax.local_devices(backend="cpu")[-1]):
        compiled = devices.kept(_program, algorithm, False, config=config)
        return _agree(greedy, compiled(config, lanes, memory, obs, np.zeros(2, np.uint32)))


def _agree(found: Any, expected: Any) -> bool:
    """Say whether a tree of NumPy arrays has the numbers of another, but for rounding."""
    leaves, wanted = jax.tree.leaves(found), jax.tree.leaves(expected)
    return len(leaves) == len(wanted) and all(
        isinstance(leaf, np.ndarray) and leaf.shape == np.shape(like) and np.allclose(leaf, like, rtol=1e-4, atol=1e-5)
        for leaf, like in zip(leaves, wanted, strict=True)
    )
