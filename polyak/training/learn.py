"""The half of an iteration that every loop shares: add the rollout to the replay, update as often as is owed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from polyak import replay, tree
from polyak.training.plan import Plan
from polyak.types import Algorithm, Array, EnvSpec, Metrics, unpack


@tree.pytree
class Rollout:
    """What was collected: in `learn` one lane's; on the host every field has a leading lane axis."""

    rows: Array  # [time, env, row] transitions, see `types.unpack`
    count: Array  # [] steps of `time` that are filled
    active: Array  # [] whether this lane was still training


@tree.pytree
class Clock:
    """What all lanes share, so that a branch on it stays a branch under `vmap`."""

    step: Array  # [] updates made so far
    updates: Array  # [] updates owed now


@tree.pytree
class Learner:
    """One lane's learning: the algorithm's state and its replay buffer (None when learning from rollouts)."""

    state: Any
    buffer: replay.Buffer | None


def start(algorithm: Algorithm, plan: Plan, spec: EnvSpec, config: Any, key: jax.Array) -> Learner:
    """Make a fresh lane."""
    needs_buffer = algorithm.learns_from == "replay"
    buffer = replay.init(min(plan.capacity, plan.env_steps), spec.row_size) if needs_buffer else None
    return Learner(algorithm.init(config, spec, key), buffer)


def learn(
    algorithm: Algorithm,
    plan: Plan,
    spec: EnvSpec,
    config: Any,
    learner: Learner,
    rollout: Rollout,
    key: jax.Array,
    clock: Clock,
) -> tuple[Learner, Metrics]:
    """Learn from one lane's rollout with the updates owed; return the mean of their metrics too.

    All minibatches of an iteration are drawn at once, which costs less than drawing inside the scan.
    """
    step, updates = jnp.asarray(clock.step), jnp.asarray(clock.updates)
    key = jax.random.fold_in(key, step)
    if learner.buffer is None:
        state, metrics = algorithm.update(config, learner.state, unpack(spec, rollout.rows), key, step)
        return Learner(state, None), metrics

    rows = rollout.rows.reshape(-1, spec.row_size)
    count = jnp.where(rollout.active, rollout.count * rollout.rows.shape[1], 0)
    buffer = replay.add(learner.buffer, rows, count)
    batch_key, update_key = jax.random.split(key)
    batches: jax.Array = replay.sample(buffer, batch_key, (plan.most_updates, plan.batch))

    def update(state: Any, batch: jax.Array, i: jax.Array) -> tuple[Any, Metrics]:
        return algorithm.update(config, state, unpack(spec, batch), jax.random.fold_in(update_key, i), step + i)

    state, metrics = _scan_owed(update, learner.state, batches, updates)
    if plan.updates_per == "episode":  # only then do lanes end at different times
        state = tree.where(jnp.asarray(rollout.active), state, learner.state)
    return Learner(state, buffer), metrics


def _scan_owed(update: Callable[..., Any], state: Any, batches: jax.Array, owed: jax.Array) -> tuple[Any, Metrics]:
    """Update with the first `owed` of the batches; return the mean of the metrics too."""
    shapes = jax.eval_shape(update, state, batches[0], owed)[1]
    nothing = jax.tree.map(lambda metric: jnp.zeros(metric.shape, metric.dtype), shapes)

    def update_if_owed(state: Any, x: tuple[jax.Array, jax.Array]) -> tuple[Any, Metrics]:
        return jax.lax.cond(x[1] < owed, update, lambda state, *_: (state, nothing), state, *x)

    indices = jnp.arange(len(batches), dtype=jnp.int32)
    state, metrics = jax.lax.scan(update_if_owed, state, (batches, indices))
    return state, jax.tree.map(lambda metric: metric.sum(0) / jnp.maximum(owed, 1), metrics)


def on_host(learner: Learner) -> Learner:
    """Copy the learners of all lanes to the host, leaving out rows of the replay that nothing was written to."""
    if learner.buffer is None:
        return jax.tree.map(np.array, learner)
    rows: jax.Array = learner.buffer.rows  # type: ignore[assignment]
    filled = min(int(learner.buffer.added.max()), rows.shape[1])
    shards = sorted(rows.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    kept = np.concatenate([np.asarray(shard.data)[:, :filled] for shard in shards])  # the only copy that is made
    return Learner(jax.tree.map(np.array, learner.state), replay.Buffer(kept, np.array(learner.buffer.added)))


def padded(learner: Learner, like: Learner) -> Learner:
    """Undo what `on_host` left out."""
    if learner.buffer is None or like.buffer is None:
        return learner
    rows = np.zeros(like.buffer.rows.shape, np.float32)
    rows[:, : learner.buffer.rows.shape[1]] = learner.buffer.rows
    return tree.replace(learner, buffer=tree.replace(learner.buffer, rows=rows))
