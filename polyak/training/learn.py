"""The half of an iteration that every loop shares: add the rollout to the replay, update as often as is owed."""

from typing import Any

import jax
import jax.numpy as jnp

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

    shapes = jax.eval_shape(update, learner.state, batches[0], step)[1]
    nothing = jax.tree.map(lambda metric: jnp.zeros(metric.shape, metric.dtype), shapes)

    def update_if_owed(state: Any, x: tuple[jax.Array, jax.Array]) -> tuple[Any, Metrics]:
        return jax.lax.cond(x[1] < updates, update, lambda state, *_: (state, nothing), state, *x)

    indices = jnp.arange(plan.most_updates, dtype=jnp.int32)
    state, metrics = jax.lax.scan(update_if_owed, learner.state, (batches, indices))
    if plan.updates_per == "episode":  # only then do lanes end at different times
        state = tree.where(jnp.asarray(rollout.active), state, learner.state)
    return Learner(state, buffer), jax.tree.map(lambda metric: metric.sum(0) / jnp.maximum(updates, 1), metrics)
