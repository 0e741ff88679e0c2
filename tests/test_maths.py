"""The formulas, against numbers worked out by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyak import maths

BOTH = pytest.mark.parametrize("library", [np, jnp], ids=["numpy", "jax"])


def test_td_target() -> None:
    reward, terminated, next_value = jnp.array([1.0, 1.0, -2.0]), jnp.array([0.0, 1.0, 0.0]), jnp.array([5.0, 5.0, 3.0])
    # 1 + 0.9·5 = 5.5;  1 + 0 = 1;  -2 + 0.9·3 = 0.7
    np.testing.assert_allclose(maths.td_target(reward, 0.9, terminated, next_value), [5.5, 1.0, 0.7], rtol=1e-6)


def test_huber() -> None:
    # 0.5²/2 = 0.125;  1²/2 = 0.5;  beyond 1: 3 - 1/2 = 2.5
    np.testing.assert_allclose(maths.huber(jnp.array([0.0, 0.5, -1.0, 3.0, -3.0])), [0, 0.125, 0.5, 2.5, 2.5])
    # with delta 2: 2²/2 = 2;  beyond: 2·(3 - 2/2) = 4
    np.testing.assert_allclose(maths.huber(jnp.array([2.0, -3.0]), delta=2.0), [2.0, 4.0])


def test_the_gradient_of_huber_is_the_error_clipped() -> None:
    errors = jnp.array([0.5, -0.5, 3.0, -3.0, 0.0])
    np.testing.assert_allclose(jax.vmap(jax.grad(maths.huber))(errors), [0.5, -0.5, 1.0, -1.0, 0.0])


@given(error=st.floats(-50, 50, width=32), delta=st.floats(0.125, 5, width=32))
def test_huber_lies_below_the_square_and_is_even(error: float, delta: float) -> None:
    value = float(maths.huber(jnp.float32(error), delta))
    assert 0 <= value <= 0.5 * error**2 * (1 + 1e-5) + 1e-6
    assert value == float(maths.huber(jnp.float32(-error), delta))


@BOTH
@pytest.mark.parametrize("function", [maths.clip, maths.clip_inward])
def test_clips_to_the_box(library: Any, function: Any) -> None:
    x = library.array([-2.0, -1.0, -0.25, 0.0, 1.0, 1.5], library.float32)
    clipped = function(x)
    np.testing.assert_array_equal(clipped, [-1, -1, -0.25, 0, 1, 1])
    assert isinstance(clipped, np.ndarray if library is np else jax.Array)
    assert clipped.dtype == np.float32


@pytest.mark.parametrize(
    ("x", "gradient", "passed"),
    [
        (0.3, 2.0, 2.0),  # inside, all passes
        (0.3, -2.0, -2.0),
        (1.5, 2.0, 2.0),  # above: descending a positive gradient leads down, back inside
        (1.5, -2.0, 0.0),  # and descending a negative one leads further out
        (-1.5, -2.0, -2.0),  # below: the other way around
        (-1.5, 2.0, 0.0),
        (1.0, -2.0, -2.0),  # the bounds themselves are inside
        (-1.0, 2.0, 2.0),
    ],
)
def test_the_gradient_of_clip_inward_passes_where_descending_leads_inside(x: float, gradient: float, passed: float):
    assert jax.grad(lambda x: gradient * maths.clip_inward(x))(x) == passed


def test_descending_clip_inward_returns_from_outside() -> None:
    x = jnp.array([3.0, -3.0])
    for _ in range(100):
        x = x - 0.1 * jax.grad(lambda x: (maths.clip_inward(x) ** 2).sum())(x)
    assert (jnp.abs(x) < 0.1).all()


@pytest.mark.parametrize("shape", [(5, 5), (64, 3), (64, 64), (4, 1)])
def test_orthonormal_columns_are_those_of_the_qr_decomposition(shape: tuple[int, int]) -> None:
    columns = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = maths.orthonormal(columns)
    np.testing.assert_allclose(found.T @ found, np.eye(shape[1]), atol=1e-5)
    q, r = np.linalg.qr(columns.astype(np.float64))
    np.testing.assert_allclose(found, q * np.sign(np.diag(r)), atol=1e-4)


def test_orthonormal_columns_of_nearly_equal_ones() -> None:
    columns = np.float32([[1, 1, 1], [1e-3, 0, 0], [0, 1e-3, 0], [0, 0, 1e-3]])  # once over, two are not even close
    found = maths.orthonormal(columns)
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-5)
