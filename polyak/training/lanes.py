"""The learners of all lanes on their devices: made, read out and put back; what both loops begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from polyak import tree
from polyak.lazy import jax
from polyak.numerics.keys import key
from polyak.numerics.precision import in_32_bits
from polyak.replay import priorities
from polyak.replay.ring import Buffer
from polyak.training import devices
from polyak.training.learn import Learner, start, validate
from polyak.training.plan import Plan
from polyak.types import Algorithm, EnvSpec

T = TypeVar("T")


@dataclass
class Lanes:
    """One learner for each seed, spread over devices. All that has a lane has a leading lane axis."""

    sharding: jax.sharding.NamedSharding
    config: Any
    keys: jax.Array  # of learning
    learner: Learner

    @classmethod
    def begin(
        cls, algorithm: Algorithm, config: Any, plan: Plan, spec: EnvSpec, seeds: Sequence[int], most: int | None
    ) -> "Lanes":
        """Make fresh learners on at most `most` devices. Raises UsageError for settings that do not fit together."""
        validate(algorithm, config, plan)
        sharding = devices.spread(len(seeds), most)
        placed = jax.device_put(jax.tree.map(np.float32, config), devices.everywhere(sharding))
        with in_32_bits():
            keys = jax.vmap(lambda seed: jax.random.split(key(seed)))(np.asarray(seeds, np.uint32))
        init_keys, learn_keys = (jax.device_put(keys[:, i], sharding) for i in (0, 1))
        program = devices.program(start, (algorithm, plan, spec), sharding, lanes=(False, True), config=config)
        return cls(sharding, placed, learn_keys, program(placed, init_keys))


def on_host(learner: Learner) -> Learner:
    """Read the learners of all lanes out, for a checkpoint.

    The rows of the replay become a tuple of arrays, one for each lane, without those that nothing was written to. On a
    CPU they are views of the device's memory, good until the learner learns again: there is no second copy of a replay.
    """
    if learner.buffer is None:
        return jax.tree.map(np.array, learner)
    state, added, priority_tree = jax.tree.map(np.array, (learner.state, learner.buffer.added, learner.priorities))
    rows: jax.Array = learner.buffer.rows  # type: ignore[assignment]
    filled = min(int(added.max()), rows.shape[1])
    shards = sorted(rows.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    of_lanes = tuple(lane[:filled] for shard in shards for lane in np.asarray(shard.data))
    return Learner(state, Buffer(of_lanes, added), priority_tree)  # type: ignore[arg-type]


def of_numbers(tree: T) -> T:
    """Turn arrays into NumPy's, and random keys into the numbers that they are, for a checkpoint."""
    return jax.tree.map(lambda leaf: np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf), tree)


def with_keys(numbers: T, like: T) -> T:
    """Undo `of_numbers`, for a tree that had keys where `like` has them."""

    def made(leaf: Any, known: Any) -> Any:
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(known)) if _is_key(known) else leaf

    return jax.tree.map(made, numbers, like)


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def shapes(snapshot: T) -> T:
    """Replace arrays by shapes and types: an array that looks at a learner's memory would keep it from being reused."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), snapshot)


def priorities_for(capacity: int, learner: Learner) -> Learner:
    """Return the shapes of a learner with those of priorities for another number of places."""
    if learner.priorities is None:
        return learner
    lanes = np.zeros(learner.priorities.highest.shape)
    return tree.replace(learner, priorities=jax.eval_shape(jax.vmap(lambda _: priorities.init(capacity)), lanes))


def put_back(saved: Learner, initial: Learner, sharding: jax.sharding.NamedSharding) -> Learner:
    """Undo `on_host`: put what was saved onto the devices, the rows part by part into the memory of a new learner.

    Its replay may have room for more, or less, than the one that was saved, but for all that is in it.
    """
    if saved.buffer is None or initial.buffer is None:
        return jax.device_put(saved, sharding)
    priority_tree, rows = saved.priorities, _filled(initial.buffer.rows, saved.buffer.rows, sharding)
    if (
        priority_tree is not None
        and initial.priorities is not None
        and priority_tree.capacity != initial.priorities.capacity
    ):
        resized = partial(priorities.resized, capacity=initial.priorities.capacity)
        priority_tree = jax.tree.map(np.asarray, jax.vmap(resized)(priority_tree))
    rest = jax.device_put(
        tree.replace(saved, buffer=tree.replace(saved.buffer, rows=()), priorities=priority_tree), sharding
    )
    return tree.replace(rest, buffer=tree.replace(rest.buffer, rows=rows))


def truncate_newest(
    learner: Learner, which: np.ndarray, spec: EnvSpec, sharding: jax.sharding.NamedSharding
) -> Learner:
    """Mark the newest stored transition of some environments, `which[lane, env]`, as the last of its episode."""
    if learner.buffer is None:
        return learner
    capacity, num_envs = learner.buffer.rows.shape[1], which.shape[1]
    places = (np.asarray(learner.buffer.added)[:, None] - num_envs + np.arange(num_envs)) % capacity
    program = devices.program(_truncate, (spec,), sharding, lanes=(True, True, True), donate=(0,))
    rows = program(learner.buffer.rows, places.astype(np.int32), which.astype(np.float32))
    return tree.replace(learner, buffer=tree.replace(learner.buffer, rows=rows))


def _truncate(spec: EnvSpec, rows: jax.Array, places: jax.Array, marks: jax.Array) -> jax.Array:
    return rows.at[places, spec.row_size - 1].max(marks)  # a row ends with `truncated`


PART = 2**20  # numbers of each lane that are put back at a time


def _filled(rows: Any, saved: Any, sharding: jax.sharding.NamedSharding) -> Any:
    count = saved[0].shape[0]
    if not count:
        return rows
    part = min(count, max(PART // rows.shape[2], 1))
    program = devices.program(_write, (), sharding, lanes=(True, True, False), donate=(0,))
    for begin in range(0, count, part):
        first = min(begin, count - part)  # the last part has the same size, and so the same program
        some = np.stack([lane[first : first + part] for lane in saved])
        jax.block_until_ready(rows)  # else parts that were read pile up in memory faster than they are written
        rows = program(rows, some, np.asarray(first, np.int32))
    return rows


def _write(rows: jax.Array, some: jax.Array, first: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(rows, some, first, 0)
