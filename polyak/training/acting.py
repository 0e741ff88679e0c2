"""Acting for all lanes at once: in NumPy where the algorithm's `act` allows it, else compiled on a device of its own.

A device runs its queue in order, so acting on the learner's device would wait for the learner.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from polyak import tree
from polyak.types import Algorithm, Discrete, EnvSpec


class Acting:
    """Chooses actions for observations `[lane, env, obs]`, and keeps the acting memory of every environment."""

    def __init__(
        self, algorithm: Algorithm, config: Any, spec: EnvSpec, seeds: Sequence[int], envs: int, explore: bool
    ):
        self.algorithm, self.spec, self.seeds, self.envs, self.explore = algorithm, spec, list(seeds), envs, explore
        self.config = jax.tree.map(np.float32, config)
        fresh = jax.tree.map(np.asarray, algorithm.recall(config, spec))
        self.fresh = fresh
        self.memories = [tree.stack([fresh] * envs) if jax.tree.leaves(fresh) else fresh for _ in self.seeds]
        self.policies: list[Any] = []
        self.generators: list[np.random.Generator] = []
        self.in_numpy: bool | None = None
        self.device = jax.local_devices(backend="cpu")[-1]
        self.compiled = jax.jit(partial(_act_compiled, algorithm, explore))

    def follow(self, policy: Any) -> None:
        """Act by this policy from now on: NumPy arrays with a leading lane axis."""
        if self.in_numpy is None:
            self.in_numpy = acts_in_numpy(self.algorithm, self.config, self.spec, tree.take(policy, 0))
        self.policies = [tree.take(policy, lane) for lane in range(len(self.seeds))]
        if not self.in_numpy:
            self.policies = jax.device_put(self.policies, self.device)

    def begin(self, moments: Sequence[int] | np.ndarray) -> None:
        """Make each lane's random numbers depend on its seed and this moment of it alone."""
        pairs = [np.array(pair, np.uint64) for pair in zip(self.seeds, moments, strict=True)]
        self.generators = [np.random.Generator(np.random.Philox(key=pair)) for pair in pairs]

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Choose actions `[lane, env, action]`, or indices `[lane, env]`."""
        actions = []
        for lane, policy in enumerate(self.policies):
            generator, memory = self.generators[lane], self.memories[lane]
            if self.in_numpy:
                action, memory = self.algorithm.act(self.config, policy, memory, obs[lane], generator, self.explore)
            else:
                draw = generator.integers(2**32, dtype=np.uint32)
                action, memory = jax.device_get(self.compiled(self.config, policy, memory, obs[lane], draw))
            self.memories[lane] = memory
            actions.append(action)
        return actions[0][None] if len(actions) == 1 else np.stack(actions)

    def uniform(self, obs: np.ndarray) -> np.ndarray:
        """Choose actions uniformly at random: what the warm-up does."""
        kind, generators = self.spec.action, self.generators
        if isinstance(kind, Discrete):
            return np.stack([g.integers(kind.n, size=self.envs) for g in generators])
        return np.stack([g.uniform(-1, 1, (self.envs, kind.size)).astype(np.float32) for g in generators])

    def forget(self, lane: int, env: int) -> None:
        """Start the memory of one environment afresh: its episode ended."""
        if jax.tree.leaves(self.fresh):
            self.memories[lane] = jax.tree.map(np.array, self.memories[lane])
            jax.tree.map(lambda memory, fresh: memory.__setitem__(env, fresh), self.memories[lane], self.fresh)


def _act_compiled(algorithm: Algorithm, explore: bool, config: Any, policy: Any, memory: Any, obs: Any, draw: Any) -> Any:
    return algorithm.act(config, policy, memory, obs, jax.random.key(draw), explore)


def acts_in_numpy(algorithm: Algorithm, config: Any, spec: EnvSpec, policy: Any) -> bool:
    """Try whether `act` returns NumPy arrays when given NumPy arrays and a NumPy generator."""
    memory = jax.tree.map(lambda leaf: np.asarray(leaf)[None], algorithm.recall(config, spec))
    obs, generator = np.zeros((1, spec.obs_size), np.float32), np.random.default_rng(0)
    try:
        results = [algorithm.act(config, policy, memory, obs, generator, explore) for explore in (True, False)]
    except (TypeError, AttributeError, ValueError):
        return False  # written for JAX only; the compiled path will report what is really wrong, if anything is
    return all(isinstance(leaf, np.ndarray | np.generic) for leaf in jax.tree.leaves(results))
