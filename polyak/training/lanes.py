"""The learners of all lanes on their devices: created, read and restored; both loops begin with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from polyak import tree
from polyak.lazy import jax
from polyak.numerics.keys import key
from polyak.numerics.precision import in_32_bits
from polyak.replay import priorities
from polyak.replay.ring import Buffer
from polyak.training import devices
from polyak.training.job import Job
from polyak.training.learn import Learner, start, validate
from polyak.training.protocols import CompiledEnv, VectorEnv
from polyak.types import Array, Tree

T = TypeVar("T")


@dataclass
class Lanes:
    """One learner for each seed, distributed over devices. Arrays have a leading lane axis."""

    sharding: jax.sharding.NamedSharding
    config: Tree
    keys: jax.Array  # of learning
    learner: Learner

    @classmethod
    def begin(cls, job: Job[VectorEnv | CompiledEnv], most: int | None) -> "Lanes":
        """Make fresh learners on at most `most` devices. Raises UsageError for settings that do not fit together."""
        validate(job.algorithm, job.config, job.plan)
        sharding = devices.spread(len(job.seeds), most)
        placed = jax.device_put(jax.tree.map(np.float32, job.config), devices.everywhere(sharding))
        with in_32_bits():
            keys = jax.vmap(lambda seed: jax.random.split(key(seed)))(np.asarray(job.seeds, np.uint32))
        init_keys, learn_keys = (jax.device_put(keys[:, i], sharding) for i in (0, 1))
        program = devices.program(start, (job.task,), sharding, lanes=(False, True), config=job.config)
        return cls(sharding, placed, learn_keys, program(placed, init_keys))


def on_host(learner: Learner) -> Learner:
    """Read the learners of all lanes for a checkpoint.

    Each array of the replay buffer becomes a tuple of arrays, one for each lane, without unused places. On a CPU they
    are views of the device's memory, valid until the learner learns again, so a replay buffer is never copied.
    """
    if learner.buffer is None:
        return jax.tree.map(np.array, learner)
    state, added, priority_tree = jax.tree.map(np.array, (learner.state, learner.buffer.added, learner.priorities))
    data = jax.tree.map(partial(_of_lanes, filled=int(added.max())), learner.buffer.data)
    return Learner(state, Buffer(data, added), priority_tree)


def _of_lanes(stored: jax.Array, filled: int) -> tuple[np.ndarray, ...]:
    """View the first places of an array `[lane, capacity, ...]` of the replay buffer, lane by lane."""
    shards = sorted(stored.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return tuple(lane[:filled] for shard in shards for lane in np.asarray(shard.data))


def of_numbers(tree: T) -> T:
    """Convert arrays to NumPy, and random keys to their data, for a checkpoint."""
    return jax.tree.map(lambda leaf: np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf), tree)


def with_keys(numbers: T, like: T) -> T:
    """Undo `of_numbers` for a tree with keys in the same places as `like`."""

    def made(leaf: jax.Array, known: jax.Array) -> jax.Array:
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(known)) if _is_key(known) else leaf

    return jax.tree.map(made, numbers, like)


def _is_key(leaf: Array) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def policies(learner: Learner) -> Tree:
    """Copy the learned policies of all lanes to the host, waiting for the learner."""
    # copied, because the learner's memory is donated to its next program
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), learner.state.policy)


def shapes(snapshot: dict[str, Tree], capacity: int) -> dict[str, Tree]:
    """Return the shapes and types of a loop's snapshot, with priorities for this many transitions.

    It contains no arrays: a view of a learner's memory would keep that memory from being reused.
    """
    parts = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), snapshot)
    return {**parts, "learner": _priorities_for(capacity, parts["learner"])}


def _priorities_for(capacity: int, learner: Learner) -> Learner:
    """Return the shapes of a learner with priorities for this capacity."""
    if learner.priorities is None:
        return learner
    lanes = np.zeros(learner.priorities.highest.shape)
    return tree.replace(learner, priorities=jax.eval_shape(jax.vmap(lambda _: priorities.init(capacity)), lanes))


def put_back(saved: Learner, initial: Learner, sharding: jax.sharding.NamedSharding) -> Learner:
    """Undo `on_host`: put a saved learner onto the devices, its replay buffer in parts into the memory of a new one.

    The capacity of the new buffer may differ, but all saved entries must fit.
    """
    if saved.buffer is None or initial.buffer is None:
        return jax.device_put(saved, sharding)
    priority_tree, data = saved.priorities, _filled(initial.buffer.data, saved.buffer.data, sharding)
    if (
        priority_tree is not None
        and initial.priorities is not None
        and priority_tree.capacity != initial.priorities.capacity
    ):
        resized = partial(priorities.resized, capacity=initial.priorities.capacity)
        priority_tree = jax.tree.map(np.asarray, jax.vmap(resized)(priority_tree))
    rest = jax.device_put(
        tree.replace(saved, buffer=tree.replace(saved.buffer, data=()), priorities=priority_tree), sharding
    )
    return tree.replace(rest, buffer=tree.replace(rest.buffer, data=data))


def truncate_newest(learner: Learner, which: np.ndarray, sharding: jax.sharding.NamedSharding) -> Learner:
    """Mark the newest stored transition of some environments, `which[lane, env]`, as the last of its episode."""
    if learner.buffer is None:
        return learner
    data, num_envs = learner.buffer.data, which.shape[1]
    capacity = data.truncated.shape[1]
    places = (np.asarray(learner.buffer.added)[:, None] - num_envs + np.arange(num_envs)) % capacity
    program = devices.program(_truncate, (), sharding, lanes=(True, True, True), donate=(0,))
    truncated = program(data.truncated, places.astype(np.int32), which.astype(np.float32))
    return tree.replace(learner, buffer=tree.replace(learner.buffer, data=tree.replace(data, truncated=truncated)))


def _truncate(truncated: jax.Array, places: jax.Array, marks: jax.Array) -> jax.Array:
    return truncated.at[places].max(marks)


PART = 2**22  # bytes of each lane's array that are restored at a time


def _filled(data: T, saved: T, sharding: jax.sharding.NamedSharding) -> T:
    """Write saved arrays into the replay buffer; in `saved`, each array is a tuple of one array for each lane."""
    fill = partial(_fill, sharding=sharding)
    return jax.tree.map(fill, data, saved, is_leaf=lambda leaf: isinstance(leaf, jax.Array))


def _fill(stored: jax.Array, saved: Sequence[np.ndarray], sharding: jax.sharding.NamedSharding) -> jax.Array:
    count = saved[0].shape[0]
    if not count:
        return stored
    part = min(count, max(PART // (saved[0][:1].nbytes or 1), 1))
    program = devices.program(_write, (), sharding, lanes=(True, True, False), donate=(0,))
    for begin in range(0, count, part):
        first = min(begin, count - part)  # the last part has the same size, for the same program
        some = np.stack([lane[first : first + part] for lane in saved])
        jax.block_until_ready(stored)  # otherwise parts pile up in memory faster than they are written
        stored = program(stored, some, np.asarray(first, np.int32))
    return stored


def _write(stored: jax.Array, some: jax.Array, first: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(stored, some, first, 0)
