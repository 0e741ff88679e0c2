"""Our keys give JAX's own numbers, alone, in batches and compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.numerics import keys

SEEDS = np.array([0, 1, 7, 2**31, 2**32 - 1], np.uint32)


def both(seed: Any) -> tuple[jax.Array, jax.Array]:
    return ours(seed), jax.random.key(seed)


def ours(seed: Any) -> jax.Array:
    return keys.fast(keys.key(seed))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "draw",
    [
        lambda key: jax.random.uniform(key, (3, 5)),
        lambda key: jax.random.normal(key, (7,)),
        lambda key: jax.random.randint(key, (4, 2), 0, 1000),
        lambda key: jax.random.permutation(key, 9),
        lambda key: jax.random.categorical(key, jnp.arange(4.0), shape=(6,)),
        lambda key: jax.random.bits(key, (5,), jnp.uint8),
        lambda key: jax.random.normal(jax.random.split(key, (2, 3))[1, 2]),
        lambda key: jax.random.uniform(jax.random.fold_in(key, 2**32 - 1), ()),
        lambda key: jax.random.uniform(jax.random.fold_in(jax.random.split(key)[0], jnp.int32(3)), (0,)),
    ],
)
def test_draws_what_jax_draws(seed: Any, draw: Any) -> None:
    key, theirs = both(seed)
    np.testing.assert_array_equal(draw(key), draw(theirs))
    np.testing.assert_array_equal(jax.jit(draw)(key), draw(theirs))


def test_batches_of_keys_draw_what_each_would_alone() -> None:
    keys, theirs = (jax.vmap(make)(SEEDS) for make in (ours, jax.random.key))

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.split(key, 2)[1], (3,))

    np.testing.assert_array_equal(jax.vmap(draw)(keys), jax.vmap(draw)(theirs))
    np.testing.assert_array_equal(jax.vmap(draw)(keys)[3], draw(keys[3]))


def test_compiles_to_no_loop() -> None:
    def draw(key: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.split(key)[0])

    assert "while" not in jax.jit(draw).lower(ours(0)).compile().as_text()
    assert "while" in jax.jit(draw).lower(jax.random.key(0)).compile().as_text()  # else ours are not needed
