"""A ring of rows as pure functions: it knows nothing of what the rows mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyak.lazy import jax, jnp
from polyak.tree import pytree
from polyak.types import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


@pytree
class Buffer:
    """The newest `capacity` rows. `added` counts all rows ever added; row i stands at i modulo capacity."""

    rows: Float[Array, "capacity row"]
    added: Int[Array, ""]


def init(capacity: int, row_size: int) -> Buffer:
    """Make an empty buffer of float32 rows."""
    return Buffer(jnp.zeros((capacity, row_size), jnp.float32), jnp.zeros((), jnp.int32))


def places_of_next(buffer: Buffer, n: int, count: Int[Array, ""]) -> Int[Array, "n"]:
    """Say where the next n rows will stand; those from `count` on, which will be left out, stand beyond the end."""
    capacity, offsets = buffer.rows.shape[0], jnp.arange(n)
    return jnp.where(offsets < count, (buffer.added + offsets) % capacity, capacity)


def add(buffer: Buffer, rows: Float[Array, "n row"], count: Int[Array, ""]) -> Buffer:
    """Write the first `count` of n rows over the oldest ones; n must not exceed the capacity."""
    places = places_of_next(buffer, rows.shape[0], count)
    return Buffer(jnp.asarray(buffer.rows).at[places].set(rows, mode="drop"), buffer.added + count)


def size(buffer: Buffer) -> Int[Array, ""]:
    """Return how many rows were written and not yet overwritten."""
    return jnp.minimum(buffer.added, buffer.rows.shape[0])


def draw(buffer: Buffer, key: jax.Array, shape: tuple[int, ...]) -> Int[jax.Array, "*shape"]:
    """Draw places uniformly and independently from those written; the buffer must hold at least one row."""
    return jax.random.randint(key, shape, 0, size(buffer))


def read(buffer: Buffer, places: Int[Array, "*shape"]) -> Float[jax.Array, "*shape row"]:
    """Return the rows at these places."""
    return jnp.asarray(buffer.rows)[places]


def windows(
    buffer: Buffer, places: Int[Array, "*shape"], n: int, stride: int
) -> tuple[Float[jax.Array, "n *shape row"], Bool[jax.Array, "n *shape"]]:
    """Return each row and the n - 1 that were added `stride`, 2·stride, … later; say which are valid: stored by now.

    Rows of several environments are added in turns, so with their number as stride a window is one environment's.
    """
    capacity = buffer.rows.shape[0]
    later = stride * jnp.arange(n).reshape(n, *[1] * places.ndim)
    newer = (buffer.added - 1 - places[None]) % capacity  # how many rows were added after this one
    return read(buffer, (places[None] + later) % capacity), later <= newer
