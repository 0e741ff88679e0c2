"""The half of an iteration that all loops share: add the rollout to the replay buffer, make the updates due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from polyak import tree
from polyak.errors import UsageError
from polyak.lazy import jax, jnp
from polyak.numerics import maths
from polyak.replay import priorities, ring
from polyak.replay.priorities import Priorities
from polyak.training.plan import Plan
from polyak.training.plans import ReplayPlan, plan_for
from polyak.types import Algorithm, Array, Clock, EnvSpec, Metrics, Sampling, Transition, Tree

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """What is trained, how long and on what: everything about learning that a compiled program is made for."""

    algorithm: Algorithm
    plan: Plan
    spec: EnvSpec


@tree.pytree
class Rollout:
    """The collected steps: of one lane in `learn`; on the host every field has a leading lane axis."""

    steps: Transition  # [time, env, ...]
    count: Array  # [] steps of `time` that are filled
    active: Array  # [] whether this lane was still training
    progress: Array  # [] share of the lane's run behind it when the rollout began, see `Clock`


@tree.pytree
class UpdateSchedule:
    """The updates of an iteration, which all lanes share."""

    updates: Array  # [] updates made before
    num_updates: Array  # [] updates to make


@tree.pytree
class Learner:
    """A lane's learner: the algorithm's state, the replay buffer (None if it learns from rollouts) and priorities."""

    state: Tree
    buffer: ring.Buffer[Transition] | None
    priorities: Priorities | None = None


def sampling_of(algorithm: Algorithm, config: Tree) -> Sampling:
    """Return how an algorithm draws minibatches: uniformly and one step each, unless it defines `sampling`."""
    asked = getattr(algorithm, "sampling", None)
    return Sampling() if asked is None else asked(config)


def validate(algorithm: Algorithm, config: Tree, plan: Plan) -> None:
    """Raise UsageError, with the fix, if an algorithm, its settings and the plan do not fit together."""
    kind = plan_for(algorithm.learns_from)
    if not isinstance(plan, kind):
        raise UsageError(f"the plan is a {type(plan).__name__}: this algorithm needs a {kind.__name__}")
    if algorithm.learns_from == "replay":
        n_step, capacity = sampling_of(algorithm, config).n_step, plan.room()
        if n_step * plan.envs > capacity:
            most = capacity // plan.envs
            raise UsageError(
                f"n_step = {n_step} does not fit the replay buffer, which holds {capacity} transitions, {most} of each"
                f" environment: use {most} or less"
            )
    if hasattr(algorithm, "validate"):
        algorithm.validate(config, plan)


def start(task: Task, config: Tree, key: jax.Array) -> Learner:
    """Make a fresh lane."""
    state = task.algorithm.init(config, task.spec, key)
    if task.algorithm.learns_from != "replay":
        return Learner(state, None)
    capacity = task.plan.room()
    prioritized = sampling_of(task.algorithm, config).priority_alpha is not None
    buffer = ring.init(capacity, task.spec.transition())
    return Learner(state, buffer, priorities.init(capacity) if prioritized else None)


def learn(
    task: Task, config: Tree, learner: Learner, rollout: Rollout, key: jax.Array, schedule: UpdateSchedule
) -> tuple[Learner, Metrics]:
    """Make the updates due after one lane's rollout; return the mean of their metrics too."""
    algorithm, plan = task.algorithm, task.plan
    clock = Clock(jnp.asarray(schedule.updates), jnp.asarray(rollout.progress))
    num_updates = jnp.asarray(schedule.num_updates)
    key = jax.random.fold_in(key, clock.updates)
    if learner.buffer is None:
        state, metrics = algorithm.update(config, learner.state, rollout.steps, key, clock)
        return Learner(state, None), _scalars(metrics)

    assert isinstance(plan, ReplayPlan)
    before, sampling = learner.state, sampling_of(algorithm, config)
    learner = _remember(learner, rollout)
    batch_key, update_key = jax.random.split(key)

    def update(state: Tree, batch: Transition, i: Array) -> tuple[Tree, Metrics]:
        now = Clock(clock.updates + i, clock.progress)
        return algorithm.update(config, state, batch, jax.random.fold_in(update_key, i), now)

    if learner.priorities is None:
        learner, metrics = _learn_uniformly(update, plan, sampling, learner, batch_key, num_updates)
    else:
        beta = maths.linear_schedule(sampling.priority_beta, 1.0, 1.0, clock.progress)
        sampling = tree.replace(sampling, priority_beta=beta)
        learner, metrics = _learn_by_priority(update, plan, sampling, learner, batch_key, num_updates)
    if plan.by_episode:  # only then can lanes end at different times
        learner = tree.replace(learner, state=tree.where(jnp.asarray(rollout.active), learner.state, before))
    return learner, metrics


def _remember(learner: Learner, rollout: Rollout) -> Learner:
    """Add the rollout to the replay buffer, with the highest priority."""
    assert learner.buffer is not None
    steps = rollout.steps.flat()
    count = jnp.where(rollout.active, rollout.count * rollout.steps.reward.shape[1], 0)
    priority_tree = learner.priorities
    if priority_tree is not None:
        priority_tree = priorities.enter(priority_tree, ring.places_of_next(learner.buffer, len(steps.reward), count))
    return Learner(learner.state, ring.add(learner.buffer, steps, count), priority_tree)


Update: TypeAlias = Callable[[Tree, Transition, Array], tuple[Tree, Metrics]]


def _learn_uniformly(
    update: Update, plan: ReplayPlan, sampling: Sampling, learner: Learner, key: jax.Array, num_updates: Array
) -> tuple[Learner, Metrics]:
    """Draw all minibatches of the iteration at once, which is cheaper than inside the scan; then update."""
    assert learner.buffer is not None
    places = ring.draw(learner.buffer, key, (plan.most_updates, plan.batch))
    drawn = places if sampling.n_step > 1 else ring.read(learner.buffer, places)

    def update_if_due(state: Tree, x: tuple[Transition | jax.Array, jax.Array]) -> tuple[Tree, Metrics]:
        drawn, i = x

        def update_once(state: Tree) -> tuple[Tree, Metrics]:
            batch = drawn if isinstance(drawn, Transition) else _gather(learner, plan, sampling, drawn)
            return _scalar(update, state, batch, i)

        return _update_if(update_once, state, i < num_updates)

    indices = jnp.arange(plan.most_updates, dtype=jnp.int32)
    state, metrics = jax.lax.scan(update_if_due, learner.state, (drawn, indices))
    return tree.replace(learner, state=state), _mean(metrics, num_updates)


def _learn_by_priority(
    update: Update, plan: ReplayPlan, sampling: Sampling, learner: Learner, key: jax.Array, num_updates: Array
) -> tuple[Learner, Metrics]:
    """Draw each minibatch by the priorities that the previous update has revised."""
    assert learner.buffer is not None
    assert learner.priorities is not None
    assert sampling.priority_alpha is not None
    size, alpha = ring.size(learner.buffer), sampling.priority_alpha

    def update_once(i: jax.Array, carried: tuple[Tree, Priorities]) -> tuple[tuple[Tree, Priorities], Metrics]:
        state, priority_tree = carried
        places, weights = priorities.draw(
            priority_tree, jax.random.fold_in(key, i), plan.batch, size, sampling.priority_beta
        )
        batch = tree.replace(_gather(learner, plan, sampling, places), weight=weights)
        state, metrics = update(state, batch, i)
        if "td_error" not in metrics:
            raise UsageError("prioritized replay needs TD errors: return them from update as the metric td_error")
        return (state, priorities.revise(priority_tree, places, metrics["td_error"], alpha)), _scalars(metrics)

    (state, priority_tree), metrics = _repeat(update_once, (learner.state, learner.priorities), num_updates)
    return Learner(state, learner.buffer, priority_tree), metrics


def _gather(learner: Learner, plan: Plan, sampling: Sampling, places: Array) -> Transition:
    """Read a minibatch, folding the steps of n-step returns."""
    assert learner.buffer is not None
    if sampling.n_step == 1:
        return ring.read(learner.buffer, places)
    steps, valid = ring.windows(learner.buffer, places, sampling.n_step, plan.envs)
    return maths.n_step(steps, valid, sampling.gamma)


def _scalar(update: Update, state: Tree, batch: Transition, i: jax.Array) -> tuple[Tree, Metrics]:
    state, metrics = update(state, batch, i)
    return state, _scalars(metrics)


def _scalars(metrics: Metrics) -> Metrics:
    return {name: metric.mean() for name, metric in metrics.items()}


def _update_if(update_once: Callable[[T], tuple[T, Metrics]], state: T, due: Array) -> tuple[T, Metrics]:
    """Update, or change nothing and return metrics of 0."""
    nothing = _nothing_like(jax.eval_shape(update_once, state)[1])
    return jax.lax.cond(due, update_once, lambda state: (state, nothing), state)


def _repeat(
    update_once: Callable[[jax.Array, T], tuple[T, Metrics]], carried: T, num_updates: Array
) -> tuple[T, Metrics]:
    """Make the updates that are due; return the mean of their metrics too. A scan would copy the priorities."""
    nothing = _nothing_like(jax.eval_shape(update_once, jnp.int32(0), carried)[1])

    def add_one(i: jax.Array, summed: tuple[T, Metrics]) -> tuple[T, Metrics]:
        carried, metrics = update_once(i, summed[0])
        return carried, jax.tree.map(jnp.add, summed[1], metrics)

    carried, sums = jax.lax.fori_loop(0, num_updates, add_one, (carried, nothing))
    return carried, jax.tree.map(lambda total: total / jnp.maximum(num_updates, 1), sums)


def _nothing_like(shapes: Metrics) -> Metrics:
    return jax.tree.map(lambda metric: jnp.zeros(metric.shape, metric.dtype), shapes)


def _mean(metrics: Metrics, num_updates: Array) -> Metrics:
    return jax.tree.map(lambda metric: metric.sum(0) / jnp.maximum(num_updates, 1), metrics)
