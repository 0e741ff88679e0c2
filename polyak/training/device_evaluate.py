"""Episodes without exploration in one compiled program: all episodes of all lanes in parallel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from polyak.errors import RunError
from polyak.lazy import jax, jnp
from polyak.numerics import keys
from polyak.numerics.precision import compiled
from polyak.training import devices
from polyak.training.evaluate import Scores
from polyak.training.job import Job
from polyak.training.protocols import CompiledEnv
from polyak.tree import take
from polyak.types import Algorithm, Array, Box, Tree, init_memory

Found: TypeAlias = "tuple[jax.Array, jax.Array, jax.Array, jax.Array]"  # returns, lengths, ended, finite
Carried: TypeAlias = "tuple[jax.Array, Tree, Tree, Found]"  # step, environments, memory, and what was found so far


class DeviceEvaluator:
    """Plays episodes of a functional environment; used like `evaluate.Evaluator`."""

    def __init__(self, job: Job[CompiledEnv]):
        self.config = jax.tree.map(np.float32, job.config)
        self.most = 1  # lanes at once so far
        limit = job.plan.evaluation_limit(job.envs.limit)
        self.program = devices.cached(_program, job.algorithm, job.envs, limit, config=job.config)

    def play(self, policies: Tree, seeds: Sequence[Sequence[int]]) -> Scores:
        """Play one episode per seed in `seeds[lane]` with that lane's policy (a tree with a leading lane axis).

        Raises RunError for an observation or a reward that is not finite.
        """
        lanes = len(seeds)
        self.most = max(self.most, lanes)
        # fewer lanes than before are padded, so that nothing has to be compiled
        which = np.minimum(np.arange(self.most), lanes - 1)
        played = self.program(self.config, take(policies, which), np.asarray(seeds, np.uint32)[which])
        returns, lengths, ended, all_finite = (np.asarray(part)[:lanes] for part in played)
        if not all_finite.all():
            seed = np.asarray(seeds)[~all_finite][0]
            raise RunError(f"an observation or a reward is not finite in the evaluation episode with seed {seed}")
        return Scores(np.asarray(returns, np.float64), np.asarray(lengths, np.int64), ~ended)


def _program(algorithm: Algorithm, env: CompiledEnv, most: int) -> compiled[Found]:
    return compiled(jax.vmap(partial(_play, algorithm, env, most), in_axes=(None, 0, 0)))


def _play(algorithm: Algorithm, env: CompiledEnv, most: int, config: Tree, policy: Tree, seeds: Array) -> Found:
    """Play the episodes of one lane, `[episode]`, until the last one ends or is cut after `most` steps.

    Return their returns, their lengths, whether they ended, and whether all observations and rewards were finite.
    """
    spec, count = env.spec, seeds.shape[0]
    of_episodes = jax.vmap(lambda seed: keys.fast(keys.key(seed)))(seeds)
    initial = init_memory(algorithm, config, spec)
    memory = jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (count, *jnp.shape(leaf))), initial)
    dtype = jnp.float32 if isinstance(spec.action, Box) else jnp.int32

    def playing(carried: Carried) -> jax.Array:
        t, _, _, (_, _, ended, _) = carried
        return ~ended.all() & (t < most)

    def step(carried: Carried) -> Carried:
        t, states, memory, (returns, lengths, ended, all_finite) = carried
        act_key = jax.random.fold_in(of_episodes[0], t)
        action, after = algorithm.act(config, policy, memory, states.obs, act_key, False)
        memory = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, memory)
        step_keys = jax.vmap(lambda one: jax.random.fold_in(one, t))(of_episodes)
        states, outcome = jax.vmap(env.step)(states, jnp.asarray(action, dtype), step_keys)
        returns = jnp.where(ended, returns, outcome.total)
        lengths = jnp.where(ended, lengths, outcome.length)
        finite = jax.vmap(_all_finite)((outcome.next_obs, outcome.reward))
        return t + 1, states, memory, (returns, lengths, ended | outcome.ended, all_finite & (finite | ended))

    begun = jax.vmap(env.start)(of_episodes)
    nothing = jnp.zeros(count), jnp.zeros(count, jnp.int32), jnp.zeros(count, bool), jnp.ones(count, bool)
    _, _, _, (returns, lengths, ended, all_finite) = jax.lax.while_loop(
        playing, step, (jnp.int32(0), begun, memory, nothing)
    )
    return returns, lengths, ended, all_finite


def _all_finite(tree: Tree) -> jax.Array:
    """Return whether all numbers of a tree are finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
