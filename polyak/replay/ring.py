"""A ring buffer of transitions, or of any tree of arrays, as pure functions; what the arrays mean does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from polyak.lazy import jax, jnp
from polyak.tree import pytree
from polyak.types import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

Entries = TypeVar("Entries")


@pytree
class Buffer(Generic[Entries]):
    """The newest entries of a tree of arrays, each leaf `[capacity, ...]`.

    `added` counts all entries ever added; entry i is stored at i modulo the capacity.
    """

    data: Entries
    added: Int[Array, ""]

    @property
    def capacity(self) -> int:
        """How many entries it can hold."""
        return int(jax.tree.leaves(self.data)[0].shape[0])


def init(capacity: int, entry: Entries) -> Buffer[Entries]:
    """Make an empty buffer for entries like `entry`, a tree of `ArraySpec`."""
    data = jax.tree.map(lambda spec: jnp.zeros((capacity, *spec.shape), spec.dtype), entry)
    return Buffer(data, jnp.zeros((), jnp.int32))


def places_of_next(buffer: Buffer, n: int, count: Int[Array, ""]) -> Int[Array, "n"]:
    """Return where the next n entries go; those from `count` on, which `add` leaves out, lie beyond the end."""
    offsets = jnp.arange(n)
    return jnp.where(offsets < count, (buffer.added + offsets) % buffer.capacity, buffer.capacity)


def add(buffer: Buffer[Entries], entries: Entries, count: Int[Array, ""]) -> Buffer[Entries]:
    """Write the first `count` of n entries `[n, ...]` over the oldest ones; n must not exceed the capacity."""
    places = places_of_next(buffer, len(jax.tree.leaves(entries)[0]), count)

    def write(stored: Array, new: Array) -> Array:
        return jnp.asarray(stored).at[places].set(new, mode="drop")

    return Buffer(jax.tree.map(write, buffer.data, entries), buffer.added + count)


def size(buffer: Buffer) -> Int[Array, ""]:
    """Return how many entries are stored."""
    return jnp.minimum(buffer.added, buffer.capacity)


def draw(buffer: Buffer, key: jax.Array, shape: tuple[int, ...]) -> Int[jax.Array, "*shape"]:
    """Draw stored places uniformly with replacement; the buffer must hold at least one entry."""
    return jax.random.randint(key, shape, 0, size(buffer))


def read(buffer: Buffer[Entries], places: Int[Array, "*shape"]) -> Entries:
    """Return the entries at these places, each leaf `[*shape, ...]`."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[places], buffer.data)


def windows(
    buffer: Buffer[Entries], places: Int[Array, "*shape"], n: int, stride: int
) -> tuple[Entries, Bool[jax.Array, "n *shape"]]:
    """Return each entry and the n - 1 that were added `stride`, 2·stride, … later, each leaf `[n, *shape, ...]`.

    Return too which of them are valid, that is, already stored. Steps of several environments are added in turn, so
    with the number of environments as stride a window comes from one environment.
    """
    later = stride * jnp.arange(n).reshape(n, *[1] * places.ndim)
    newer = (buffer.added - 1 - places[None]) % buffer.capacity  # entries added after this one
    return read(buffer, (places[None] + later) % buffer.capacity), later <= newer
