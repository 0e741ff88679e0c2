"""Trees of arrays, joined, and compared leaf by leaf."""

from typing import Any

import jax
import numpy as np


def assert_identical(one: Any, other: Any) -> None:
    """Compare bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, one, other)


def assert_close(one: Any, other: Any, rtol: float = 1e-3, atol: float = 1e-5) -> None:
    """Compare up to the rounding that another order of operations brings."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, atol), one, other)


def differs(one: Any, other: Any) -> bool:
    """Say whether any number is not the same."""
    return any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))


def stack(trees: Any) -> Any:
    """Join trees of arrays along a new leading axis, as NumPy arrays."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
