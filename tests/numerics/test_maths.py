"""The formulas, against numbers worked out by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyak.numerics import maths

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


VALUES = st.lists(st.floats(-1000, 1000, width=32), min_size=3, max_size=3)
SMOOTH = jax.jit(maths.smooth_maximum)


@given(q=VALUES, temperature=st.floats(0.015625, 100, width=32))
def test_the_smooth_maximum_lies_between_the_maximum_and_the_logarithm_of_the_actions_above_it(
    q: list[float], temperature: float
) -> None:
    above = float(SMOOTH(jnp.array([q]), temperature)[0]) - max(q)
    assert -1e-3 <= above <= temperature * np.log(3) * (1 + 1e-3) + 1e-3


def test_the_smooth_maximum_by_hand() -> None:
    # 2·log(e^0.5 + e^1) = 2·log(1.6487 + 2.7183) = 2·1.4741
    np.testing.assert_allclose(maths.smooth_maximum(jnp.array([[1.0, 2.0]]), 2.0), [2.9481], rtol=1e-4)
    # of equal values it is α·log n above: 5 + 0.5·log 4
    np.testing.assert_allclose(maths.smooth_maximum(jnp.full((1, 4), 5.0), 0.5), [5 + 0.5 * np.log(4)], rtol=1e-6)


def test_the_smooth_maximum_becomes_the_maximum_as_the_temperature_falls() -> None:
    q = jnp.array([[1.0, 3.0, 2.0], [-7.0, -7.5, -8.0]])
    errors = [jnp.abs(maths.smooth_maximum(q, alpha) - q.max(-1)).max() for alpha in (1.0, 0.3, 0.1, 0.01)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6


def test_the_smooth_maximum_does_not_overflow_and_its_gradient_is_the_softmax() -> None:
    q = jnp.array([[1e4, 1e4 - 1 / 64, -1e4]])
    value, slope = jax.value_and_grad(lambda q: maths.smooth_maximum(q, 1 / 64).sum())(q)
    np.testing.assert_allclose(value, 1e4 + np.log(1 + np.exp(-1)) / 64, rtol=1e-6)
    np.testing.assert_allclose(slope, [[0.7311, 0.2689, 0]], atol=1e-3)  # 1/(1 + e⁻¹) and the rest


def test_the_value_of_the_chosen_action() -> None:
    values = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(maths.of_action(values, jnp.array([2, 0])), [2, 3])
    np.testing.assert_array_equal(maths.of_action(values[None], jnp.array([[1.0, 2.0]])), [[1, 5]])  # as rows have it


@pytest.mark.parametrize(("progress", "value"), [(0.0, 1.0), (0.1, 0.55), (0.2, 0.1), (0.21, 0.1), (1.0, 0.1)])
def test_anneals_in_a_straight_line_and_stays_at_its_end(progress: float, value: float) -> None:
    # from 1 to 0.1 over the first fifth: half-way at 0.1
    np.testing.assert_allclose(maths.linear_schedule(1.0, 0.1, 0.2, jnp.float32(progress)), value, rtol=1e-6)


@given(values=st.lists(st.floats(-100, 100, width=16), min_size=6, max_size=6))
def test_standardized_values_have_mean_0_and_deviation_1(values: list[float]) -> None:
    standard = np.asarray(STANDARDIZE(jnp.array(values)))
    if np.std(values) > 1e-2:
        np.testing.assert_allclose(
            standard, (np.array(values) - np.mean(values)) / np.std(values), rtol=1e-2, atol=1e-2
        )
    assert np.isfinite(standard).all()


STANDARDIZE = jax.jit(maths.standardize)


def test_standardizes_by_those_that_count() -> None:
    # of 1 and 5 the mean is 3, the deviation 2
    found = maths.standardize(jnp.array([1.0, 99.0, 5.0]), jnp.array([1.0, 0.0, 1.0]))
    np.testing.assert_allclose(found, [-1, 48, 1], rtol=1e-5)
    np.testing.assert_array_equal(maths.standardize(jnp.full(3, 7.0)), [0, 0, 0])  # nothing to divide by
    np.testing.assert_array_equal(maths.standardize(jnp.zeros(2), jnp.zeros(2)), [0, 0])
