"""The device loop: environments, acting, replay and learning of all lanes inside one compiled program.

One iteration collects `chunk` steps with the present policy, then calls the same `learn` as the host loop; there is no
host to overlap with, so the policy is never one iteration behind. A segment is as many iterations as fit between two
rows of the log or two evaluations; one program runs all segments, whatever their length.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from polyak import tree
from polyak.errors import RunError, UsageError
from polyak.training import devices
from polyak.training.host import Report
from polyak.training.lanes import Lanes
from polyak.training.learn import Learner, Rollout, Turn, learn, on_host, padded
from polyak.training.plan import Plan
from polyak.training.worlds import Ended, FunctionalWorld
from polyak.types import Algorithm, Array, Box, Clock, Discrete

MOST_UPDATES = 1_024  # in a segment, so that an interrupt is heard within seconds


@tree.pytree
class Schedule:
    """What each iteration of a segment does, `[iteration]`; all lanes share it."""

    steps: Array  # of every environment
    owed: Array  # updates afterwards
    updates: Array  # made before
    progress: Array  # share of the run's environment steps taken before
    uniform: Array  # whether actions are drawn uniformly


@tree.pytree
class Lane:
    """One lane between two iterations."""

    learner: Learner
    world: Any  # [env, ...]
    memory: Any  # [env, ...]
    iterations: Array  # [] made so far: what the random numbers of collecting depend on


@tree.pytree
class Record:
    """What happened in a segment, of one lane."""

    metrics: Any  # mean over the segment's updates
    length: Array  # [iteration, time, env] of the episode that ended there, 0: none did
    total: Array  # [iteration, time, env] its return
    sound: Array  # [] whether all numbers were finite


class DeviceTraining:
    """One run in memory, all of it on the devices. It is used as `host.Training` is."""

    def __init__(
        self,
        algorithm: Algorithm,
        config: Any,
        plan: Plan,
        world: FunctionalWorld,
        seeds: Sequence[int],
        most_devices: int | None = None,
    ):
        self.algorithm, self.plan, self.seeds, self.spec = algorithm, plan, list(seeds), world.spec
        refuse(plan)
        lanes = Lanes.begin(algorithm, config, plan, self.spec, self.seeds, most_devices)
        self.sharding, self.config, self.keys = lanes.sharding, lanes.config, lanes.keys
        begin = devices.program(partial(_begin, algorithm, plan, world), self.sharding, lanes=(False, True, True))
        self.lane: Lane = begin(self.config, lanes.learner, self.keys)
        self.most = _most_iterations(plan)
        self.segment = devices.program(
            partial(_segment, algorithm, plan, world),
            self.sharding,
            lanes=(False, True, True, False, False),
            donate=(1,),
        )
        self.sound = True  # whether all numbers so far were finite
        self.step = 0  # updates made
        self.learned = False  # whether the program has run, and so is compiled
        self.env_steps = np.zeros(len(self.seeds), np.int64)
        self.report = Report([], None)

    @property
    def collected(self) -> bool:
        """Whether every lane has taken all its environment steps."""
        return bool(self.env_steps[0] >= self.plan.env_steps)

    @property
    def done(self) -> bool:
        """Whether every lane has also learned from all of them, which here is the same."""
        return self.collected

    @property
    def policy(self) -> Any:
        """The learned policy of every lane, on the host."""
        # copied, because the learner's memory is donated to the next segment
        return jax.tree.map(lambda leaf: np.array(leaf, copy=True), self.lane.learner.state.policy)

    def advance(self) -> Report:
        """Run one segment; return its report, which is also kept as `report`. Raises RunError for infinite numbers."""
        schedule, count, env_steps, updates = self._plan_segment()
        self.lane, record = self.segment(self.config, self.lane, self.keys, schedule, np.asarray(count, np.int32))
        record = jax.device_get(record)
        learned = updates > self.step
        self.env_steps, self.step, self.learned = np.full(len(self.seeds), env_steps), updates, True
        self.report = Report(_episodes(record), record.metrics if learned else None)
        self.sound = bool(record.sound.all())
        if not self.sound:
            seed = self.seeds[int(np.argmin(record.sound))]
            raise RunError(
                f"a number of seed {seed} is not finite, before environment step {env_steps}: learning diverged, learn"
                " slower; or the environment is at fault"
            )
        return self.report

    def snapshot(self) -> dict[str, Any]:
        """Return everything the run is at this moment, as a tree of arrays."""
        rest = jax.tree.map(np.array, tree.replace(self.lane, learner=None))
        return {
            "learner": on_host(self.lane.learner),
            "lane": rest,
            "pending": None,
            "env_steps": self.env_steps,
            "step": np.asarray(self.step),
        }

    def template(self, pending: bool) -> dict[str, Any]:
        """Return a tree shaped like a snapshot."""
        return self.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to the moment of a snapshot."""
        self.step, self.env_steps = int(snapshot["step"]), np.array(snapshot["env_steps"])
        learner = padded(snapshot["learner"], self.lane.learner)
        self.lane = jax.device_put(tree.replace(snapshot["lane"], learner=learner), self.sharding)

    def _plan_segment(self) -> tuple[Schedule, int, int, int]:
        """Plan iterations up to the next row of the log, or evaluation; say what will have been done after them."""
        plan, rows = self.plan, list[tuple[int, int, int, float, bool]]()
        env_steps, updates = int(self.env_steps[0]), self.step
        mark = _mark(plan, env_steps)
        while env_steps < plan.env_steps and len(rows) < self.most and _mark(plan, env_steps) == mark:
            warming = env_steps < plan.warmup
            until = plan.warmup if warming else plan.env_steps
            steps = min(plan.chunk, (until - env_steps) // plan.envs)
            owed = plan.updates_due(env_steps + steps * plan.envs, updates)
            uniform = warming and plan.warmup_actions == "uniform"
            rows.append((steps, owed, updates, env_steps / plan.env_steps, uniform))
            env_steps, updates = env_steps + steps * plan.envs, updates + owed
        columns = zip(*(rows + [(0, 0, 0, 0.0, False)] * (self.most - len(rows))), strict=True)
        kinds = (np.int32, np.int32, np.int32, np.float32, bool)
        schedule = Schedule(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))
        return schedule, len(rows), env_steps, updates


def refuse(plan: Plan) -> None:
    """Raise UsageError for plans that only the host loop can follow."""
    if plan.updates_per == "episode":
        raise UsageError(
            "the device loop cannot count updates by episodes, which end at different times: use --backend host, or"
            ' updates_per = "chunk"'
        )


def _most_iterations(plan: Plan) -> int:
    """Return the most iterations of a segment: those between two rows of the log, within reason."""
    wanted = -(-plan.log_interval // (plan.chunk * plan.envs))
    return max(1, min(wanted, MOST_UPDATES // max(plan.most_updates, 1)))


def _mark(plan: Plan, env_steps: int) -> tuple[int, int]:
    """Return a pair that changes where a row of the log, or an evaluation, is due."""
    return env_steps // plan.log_interval, plan.evaluations * env_steps // plan.env_steps


def _episodes(record: Record) -> list[Ended]:
    """List the episodes that ended, in order."""
    where = np.argwhere(record.length > 0)
    return [
        Ended(int(lane), int(env), float(record.total[lane, i, t, env]), int(record.length[lane, i, t, env]))
        for lane, i, t, env in where
    ]


def _begin(
    algorithm: Algorithm, plan: Plan, world: FunctionalWorld, config: Any, learner: Learner, key: jax.Array
) -> Lane:
    """Put a fresh learner into fresh environments."""
    starts = jax.random.split(_collecting(key, jnp.int32(0)), plan.envs)
    return Lane(learner, jax.vmap(world.start)(starts), _fresh(algorithm, plan, world, config), jnp.ones((), jnp.int32))


def _collecting(key: jax.Array, iteration: Array) -> jax.Array:
    """Return a key of collecting; learning, which folds in the number of updates, never comes to this one."""
    return jax.random.fold_in(jax.random.fold_in(key, 2**32 - 1), iteration)


def _fresh(algorithm: Algorithm, plan: Plan, world: FunctionalWorld, config: Any) -> Any:
    """Return the memory of episodes that begin, `[env, ...]`."""
    fresh = algorithm.recall(config, world.spec)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (plan.envs, *jnp.shape(leaf))), fresh)


def _segment(
    algorithm: Algorithm,
    plan: Plan,
    world: FunctionalWorld,
    config: Any,
    lane: Lane,
    key: jax.Array,
    schedule: Schedule,
    count: Array,
) -> tuple[Lane, Record]:
    """Run the first `count` iterations of a schedule for one lane."""
    most = schedule.steps.shape[0]
    collect = partial(_collect, algorithm, plan, world, config)

    def iterate(i: Any, carried: tuple[Lane, Record]) -> tuple[Lane, Record]:
        lane, record = carried
        now = tree.take(schedule, i)
        rollout, ends, lane = collect(lane, _collecting(key, lane.iterations), now)
        turn = Turn(Clock(now.updates, now.progress), now.owed)
        learner, metrics = learn(algorithm, plan, world.spec, config, lane.learner, rollout, key, turn)
        length, total = jax.tree.map(lambda of_all, one: of_all.at[i].set(one), (record.length, record.total), ends)
        summed = jax.tree.map(lambda total, one: total + now.owed * one, record.metrics, metrics)
        sound = record.sound & jnp.isfinite(rollout.rows).all()
        return tree.replace(lane, learner=learner), Record(summed, length, total, sound)

    shape = (most, plan.chunk, plan.envs)
    rollout = Rollout(jnp.zeros((*shape[1:], world.spec.row_size)), schedule.steps[0], jnp.ones((), bool))
    turn = Turn(Clock(schedule.updates[0], schedule.progress[0]), schedule.owed[0])
    of_learning = partial(learn, algorithm, plan, world.spec)
    metrics = jax.eval_shape(of_learning, config, lane.learner, rollout, key, turn)[1]
    nothing = jax.tree.map(lambda metric: jnp.zeros(metric.shape, metric.dtype), metrics)
    empty = Record(nothing, jnp.zeros(shape, jnp.int32), jnp.zeros(shape), jnp.ones((), bool))
    lane, record = jax.lax.fori_loop(0, count, iterate, (lane, empty))
    updates = jnp.maximum(schedule.owed.sum(), 1)
    return lane, tree.replace(record, metrics=jax.tree.map(lambda total: total / updates, record.metrics))


def _collect(
    algorithm: Algorithm, plan: Plan, world: FunctionalWorld, config: Any, lane: Lane, key: jax.Array, now: Schedule
) -> tuple[Rollout, Any, Lane]:
    """Take the iteration's steps in all environments of a lane."""
    policy, spec, fresh = lane.learner.state.policy, world.spec, _fresh(algorithm, plan, world, config)
    choose_uniformly = _uniform(spec.action, plan.envs)

    def step(t: Any, carried: Any) -> Any:
        of_worlds, memory, rows, ends = carried
        act_key, step_key = jax.random.split(jax.random.fold_in(key, t))

        def act() -> Any:
            action, after = algorithm.act(config, policy, memory, of_worlds.obs, act_key, True)
            kind = jnp.float32 if isinstance(spec.action, Box) else jnp.int32
            return jnp.asarray(action, kind), jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, memory)

        action, memory = jax.lax.cond(now.uniform, lambda: (choose_uniformly(act_key), memory), act)
        after, outcome = jax.vmap(world.step)(of_worlds, action, jax.random.split(step_key, plan.envs))
        parts = (of_worlds.obs, action, outcome.reward, outcome.next_obs, outcome.terminated, outcome.truncated)
        row = jnp.concatenate([jnp.asarray(part, jnp.float32).reshape(plan.envs, -1) for part in parts], -1)
        memory = jax.vmap(tree.where)(outcome.ended, fresh, memory)
        found = jnp.where(outcome.ended, outcome.length, 0), outcome.total
        return after, memory, rows.at[t].set(row), jax.tree.map(lambda e, new: e.at[t].set(new), ends, found)

    shape = (plan.chunk, plan.envs)
    ends = jnp.zeros(shape, jnp.int32), jnp.zeros(shape)
    begun = (lane.world, lane.memory, jnp.zeros((*shape, spec.row_size)), ends)
    after, memory, rows, ends = jax.lax.fori_loop(0, now.steps, step, begun)
    rollout = Rollout(rows, now.steps, jnp.ones((), bool))
    return rollout, ends, tree.replace(lane, world=after, memory=memory, iterations=lane.iterations + 1)


def _uniform(kind: Any, envs: int) -> Callable[[jax.Array], jax.Array]:
    """Return what draws actions uniformly at random, `[env, ...]`."""
    if isinstance(kind, Box):
        return lambda key: jax.random.uniform(key, (envs, kind.size), minval=-1.0)
    if isinstance(kind, Discrete):
        return lambda key: jax.random.randint(key, (envs,), 0, kind.n)
    return lambda key: jax.random.randint(key, (envs, len(kind.sizes)), 0, jnp.array(kind.sizes))
