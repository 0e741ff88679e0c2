"""A ring of rows as pure functions: it knows nothing of what the rows mean."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from polyak.tree import pytree
from polyak.types import Array


@pytree
class Buffer:
    """The newest `capacity` rows. `added` counts all rows ever added; row i stands at i modulo capacity."""

    rows: Float[Array, "capacity row"]
    added: Int[Array, ""]


def init(capacity: int, row_size: int) -> Buffer:
    """Make an empty buffer of float32 rows."""
    return Buffer(jnp.zeros((capacity, row_size), jnp.float32), jnp.zeros((), jnp.int32))


def add(buffer: Buffer, rows: Float[Array, "n row"], count: Int[Array, ""]) -> Buffer:
    """Write the first `count` of n rows over the oldest ones; n must not exceed the capacity."""
    capacity = buffer.rows.shape[0]
    offsets = jnp.arange(rows.shape[0])
    places = jnp.where(offsets < count, (buffer.added + offsets) % capacity, capacity)  # capacity: dropped
    written = jnp.asarray(buffer.rows).at[places].set(rows, mode="drop")
    return Buffer(written, buffer.added + count)


def sample(buffer: Buffer, key: jax.Array, shape: tuple[int, ...]) -> Float[jax.Array, "*shape row"]:
    """Draw rows uniformly and independently from those written; the buffer must hold at least one."""
    size = jnp.minimum(buffer.added, buffer.rows.shape[0])
    return jnp.asarray(buffer.rows)[jax.random.randint(key, shape, 0, size)]
