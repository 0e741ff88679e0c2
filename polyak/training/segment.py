"""The program of the device loop: environments, acting, replay and learning of a lane, for a segment of iterations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from polyak import tree
from polyak.lazy import jax, jnp
from polyak.numerics import keys
from polyak.training.learn import Learner, Rollout, Task, UpdateSchedule, learn
from polyak.training.protocols import CompiledEnv
from polyak.training.schedule import Schedule, Share
from polyak.types import ActionSpace, Array, Box, Discrete, EnvSpec, Metrics, Transition, Tree, init_memory


@tree.pytree
class Lane:
    """One lane between two iterations."""

    learner: Learner
    env_states: Tree  # [env, ...]
    memory: Tree  # [env, ...]
    iterations: Array  # [] made so far; the random numbers of collecting depend on it


@tree.pytree
class Record:
    """What one lane did in a segment."""

    metrics: Metrics  # mean over the segment's updates
    length: Array  # [iteration, time, env] of an episode that ended there, else 0
    total: Array  # [iteration, time, env] its return
    taken: Array  # [] environment steps
    finite: Array  # [] whether all numbers were finite


Ends: TypeAlias = tuple["jax.Array", "jax.Array"]  # as `length` and `total` of a record, of one iteration
Playing: TypeAlias = tuple[Tree, Tree, Transition, Ends]  # environments, memory, and what was collected so far


@dataclass(frozen=True)
class Programs:
    """The programs to compile, for one lane."""

    task: Task
    env: CompiledEnv

    def begin(self, config: Tree, learner: Learner, key: jax.Array) -> Lane:
        """Start a fresh learner in fresh environments."""
        starts = jax.random.split(_collecting(key, jnp.int32(0)), self.task.plan.envs)
        return Lane(learner, jax.vmap(self.env.start)(starts), self._initial_memory(config), jnp.ones((), jnp.int32))

    def segment(
        self, config: Tree, lane: Lane, key: jax.Array, share: Share, table: Schedule, count: Array
    ) -> tuple[Lane, Record]:
        """Run the first `count` iterations of a schedule, of which this is the lane's share."""

        def iterate(i: jax.Array, carried: tuple[Lane, Record]) -> tuple[Lane, Record]:
            lane, record = carried
            now = tree.take(table, i)
            mine = tree.replace(share, progress=jnp.asarray(share.progress)[i])
            rollout, ends, lane = self._collect(config, lane, _collecting(key, lane.iterations), mine, now)
            learner, metrics = self._learn(config, lane.learner, rollout, key, now)
            length, total = jax.tree.map(lambda all_, one: all_.at[i].set(one), (record.length, record.total), ends)
            summed = jax.tree.map(lambda total, one: total + now.num_updates * one, record.metrics, metrics)
            finite = record.finite & _all_finite(rollout.steps)
            taken = record.taken + rollout.count * self.task.plan.envs
            return tree.replace(lane, learner=learner), Record(summed, length, total, taken, finite)

        empty = self._record(config, lane, key, table)
        lane, record = jax.lax.fori_loop(0, count, iterate, (lane, empty))
        updates = jnp.maximum(table.num_updates.sum(), 1)
        return lane, tree.replace(record, metrics=jax.tree.map(lambda total: total / updates, record.metrics))

    def _record(self, config: Tree, lane: Lane, key: jax.Array, table: Schedule) -> Record:
        """Return an empty record."""
        shape, now = (self.task.plan.rollout_length, self.task.plan.envs), tree.take(table, 0)
        rollout = Rollout(_zeros(self.task.spec, shape), now.steps, jnp.ones((), bool), jnp.zeros(()))
        metrics = jax.eval_shape(self._learn, config, lane.learner, rollout, key, now)[1]
        nothing = jax.tree.map(lambda metric: jnp.zeros(metric.shape, metric.dtype), metrics)
        whole = (*table.steps.shape, *shape)
        return Record(nothing, jnp.zeros(whole, jnp.int32), jnp.zeros(whole), jnp.int32(0), jnp.ones((), bool))

    def _learn(
        self, config: Tree, learner: Learner, rollout: Rollout, key: jax.Array, now: Schedule
    ) -> tuple[Learner, Metrics]:
        """Learn from a rollout, like the host loop."""
        schedule = UpdateSchedule(now.updates, now.num_updates)
        return learn(self.task, config, learner, rollout, key, schedule)

    def _initial_memory(self, config: Tree) -> Tree:
        """Return the memory at the start of episodes, `[env, ...]`."""
        initial = init_memory(self.task.algorithm, config, self.task.spec)
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (self.task.plan.envs, *jnp.shape(leaf))), initial
        )

    def _collect(
        self, config: Tree, lane: Lane, key: jax.Array, share: Share, now: Schedule
    ) -> tuple[Rollout, Ends, Lane]:
        """Take the iteration's steps in all environments of a lane, up to its share."""
        key = keys.fast(key)
        num_envs, spec, initial = self.task.plan.envs, self.task.spec, self._initial_memory(config)

        def step(t: jax.Array, carried: Playing) -> Playing:
            env_states, memory, steps, ends = carried
            act_key, step_key, start_key = jax.random.split(jax.random.fold_in(key, t), 3)
            action, memory = self._act(config, lane, memory, env_states.obs, act_key, now)
            after, outcome = jax.vmap(self.env.step)(env_states, action, jax.random.split(step_key, num_envs))
            parts = (env_states.obs, action, outcome.reward, outcome.next_obs, outcome.terminated, outcome.truncated)
            steps = jax.tree.map(lambda all_, one: all_.at[t].set(one.astype(all_.dtype)), steps, Transition(*parts))

            def renew() -> tuple[Tree, Tree]:
                started = jax.vmap(self.env.start)(jax.random.split(start_key, num_envs)), initial
                return jax.vmap(tree.where)(outcome.ended, started, (after, memory))

            # a branch, because few steps end an episode, and starting one can be expensive
            after, memory = jax.lax.cond(outcome.ended.any(), renew, lambda: (after, memory))
            found = jnp.where(outcome.ended, outcome.length, 0), outcome.total
            return after, memory, steps, jax.tree.map(lambda e, new: e.at[t].set(new), ends, found)

        shape = (self.task.plan.rollout_length, num_envs)
        ends = jnp.zeros(shape, jnp.int32), jnp.zeros(shape)
        begun = (lane.env_states, lane.memory, _zeros(spec, shape), ends)
        if self.task.plan.by_episode:
            most = jnp.minimum(now.steps, share.steps)
            count, (after, memory, steps, ends) = _while_playing(step, begun, most, share.episodes)
        else:  # with a shared number of steps the loop remains a loop when lanes are batched
            count, (after, memory, steps, ends) = now.steps, jax.lax.fori_loop(0, now.steps, step, begun)
        rollout = Rollout(steps, count, share.steps > 0, share.progress)
        return rollout, ends, tree.replace(lane, env_states=after, memory=memory, iterations=lane.iterations + 1)

    def _act(
        self, config: Tree, lane: Lane, memory: Tree, obs: Array, key: jax.Array, now: Schedule
    ) -> tuple[Array, Tree]:
        """Choose actions for all environments of a lane: uniformly, or by its policy."""
        action_space = self.task.spec.action

        def by_policy() -> tuple[Array, Tree]:
            action, after = self.task.algorithm.act(config, lane.learner.state.policy, memory, obs, key, True)
            dtype = jnp.float32 if isinstance(action_space, Box) else jnp.int32
            return jnp.asarray(action, dtype), jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, memory)

        return jax.lax.cond(now.uniform, lambda: (_uniform(action_space, self.task.plan.envs, key), memory), by_policy)


def _zeros(spec: EnvSpec, shape: tuple[int, ...]) -> Transition:
    """Make steps `[time, env, ...]` of zeros."""
    return jax.tree.map(lambda array: jnp.zeros((*shape, *array.shape), array.dtype), spec.transition())


def _all_finite(steps: Transition) -> Array:
    """Return whether all numbers in some steps are finite."""
    found = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(steps)]
    return jnp.stack(found).all()


def _collecting(key: jax.Array, iteration: Array) -> jax.Array:
    """Return a key for collecting, which learning, where the number of updates is folded in, never uses."""
    return jax.random.fold_in(jax.random.fold_in(key, 2**32 - 1), iteration)


def _while_playing(
    step: Callable[[jax.Array, Playing], Playing], begun: Playing, steps: Array, episodes: Array
) -> tuple[Array, Playing]:
    """Take up to `steps` steps until `episodes` episodes have ended; return the number of steps too."""

    def going(carried: tuple[jax.Array, jax.Array, Playing]) -> jax.Array:
        t, ended, _ = carried
        return (t < steps) & (ended < episodes)

    def advance(carried: tuple[jax.Array, jax.Array, Playing]) -> tuple[jax.Array, jax.Array, Playing]:
        t, ended, before = carried
        after = step(t, before)
        _, _, _, (lengths, _) = after
        return t + 1, ended + (lengths[t] > 0).sum(), after

    count, _, after = jax.lax.while_loop(going, advance, (jnp.int32(0), jnp.int32(0), begun))
    return count, after


def _uniform(action_space: ActionSpace, num_envs: int, key: jax.Array) -> jax.Array:
    """Draw actions uniformly at random, `[env, ...]`."""
    if isinstance(action_space, Box):
        return jax.random.uniform(key, (num_envs, action_space.size), minval=-1.0)
    if isinstance(action_space, Discrete):
        return jax.random.randint(key, (num_envs,), 0, action_space.n)
    return jax.random.randint(key, (num_envs, len(action_space.sizes)), 0, jnp.array(action_space.sizes))
