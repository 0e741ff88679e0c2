"""JAX's random keys, and an implementation with the same bits that is faster in loops of small steps on a CPU.

Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3": Threefry-2x32 with 20 rounds, JAX's
default. On a CPU JAX compiles it to a loop of many small operations, which costs more than the rest of an environment
step that draws few numbers. Unrolled, it fuses into one operation with the same bits, but takes longer to compile.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import cache

from polyak.lazy import jax, jnp
from polyak.types import Array

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def key(seed: Array | int) -> jax.Array:
    """Make a key from an unsigned integer below 2³²."""
    return jax.random.key(seed, impl="threefry2x32")


def fast(key: jax.Array) -> jax.Array:
    """Return a key that draws the same bits faster, as do all keys derived from it."""
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_implementation())


def standard(key: jax.Array) -> jax.Array:
    """Undo `fast`: return the same key in JAX's implementation, which more of `jax.random` supports."""
    return jax.random.wrap_key_data(jax.random.key_data(key), impl="threefry2x32")


def _seeded(seed: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.zeros_like(seed), seed


def _hash(words: jax.Array, high: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Encrypt two-word counters with a two-word key."""
    keys = words[0], words[1], words[0] ^ words[1] ^ jnp.uint32(PARITY)
    x, y = high + keys[0], low + keys[1]
    for i in range(5):
        for rotation in ROTATIONS[i % 2]:
            x = x + y
            y = x ^ ((y << rotation) | (y >> (32 - rotation)))
        x, y = x + keys[(i + 1) % 3], y + keys[(i + 2) % 3] + jnp.uint32(i + 1)
    # keys derive from keys: without a barrier XLA fuses them all and recomputes each key wherever it is used
    return jax.lax.optimization_barrier((x, y))


def _count(words: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Encrypt 0, 1, 2, …"""
    low = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return _hash(words, jnp.zeros_like(low), low)


def _split(words: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_count(words, tuple(shape)), -1)


def _fold_in(words: jax.Array, number: Array | int) -> jax.Array:
    return jnp.stack(_hash(words, *_seeded(jnp.asarray(number, jnp.uint32))), -1)


def _bits(words: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
    if width > 32:
        raise NotImplementedError("numbers of 64 bits are not drawn")
    high, low = _count(words, tuple(shape))
    return (high ^ low).astype(f"uint{width}")


@cache
def _implementation() -> Hashable:
    """Register the implementation with JAX, which accepts a name only once."""
    from jax.extend.random import define_prng_impl

    return define_prng_impl(
        key_shape=(2,),
        seed=lambda seed: jnp.stack(_seeded(jnp.asarray(seed, jnp.uint32)), -1),
        split=_split,
        random_bits=_bits,
        fold_in=_fold_in,
        name="polyak_threefry2x32",
        tag="pfry",
    )
