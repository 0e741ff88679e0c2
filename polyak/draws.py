"""Random numbers from a JAX key or from a NumPy generator, so that acting can be written once for both."""

import jax
import numpy as np

from polyak.types import Array, Key


def normal(key: Key, shape: tuple[int, ...]) -> Array:
    """Draw standard normal float32 numbers."""
    if isinstance(key, np.random.Generator):
        return key.standard_normal(shape, dtype=np.float32)
    return jax.random.normal(key, shape)
