"""Random numbers for lanes that do not depend on each other."""

from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from polyak.numerics import draws
from polyak.numerics.draws import LaneGenerators, normal

SHAPE = (3, 4, 2)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_a_lane_draws_the_same_in_any_company(kind: str) -> None:
    together, alone = LaneGenerators([7, 8, 9], [0, 5, 0]), LaneGenerators([8], [5])
    for _ in range(3):  # also as the drawing goes on
        numbers = getattr(together, kind)(SHAPE)
        np.testing.assert_array_equal(numbers[1:2], getattr(alone, kind)((1, *SHAPE[1:])))
        assert (numbers.shape, numbers.dtype) == (SHAPE, np.float32)


def test_seed_and_moment_both_change_the_numbers() -> None:
    first = [LaneGenerators([seed], [moment]).normal((1, 1))[0, 0] for seed in (0, 1) for moment in (0, 1)]
    assert len(set(first)) == 4
    assert LaneGenerators([0], [1]).normal((1, 1)) == first[1]


def test_at_another_moment_nothing_is_left_of_the_last_one() -> None:
    lanes = LaneGenerators([3, 4], [0, 0])
    lanes.normal((2, 3))
    lanes.uniform((2, 3))  # an odd number: half of a draw is left over
    lanes.seed([5, 6])
    np.testing.assert_array_equal(lanes.uniform((2, 3)), LaneGenerators([3, 4], [5, 6]).uniform((2, 3)))


def test_numbers_are_normal_and_uniform() -> None:
    lanes = LaneGenerators([1, 2], [0, 0])
    assert stats.kstest(lanes.normal((2, 5000)).reshape(-1), "norm").pvalue > 0.01
    uniform = lanes.uniform((2, 5000)).reshape(-1)
    assert stats.kstest(uniform, "uniform").pvalue > 0.01
    assert uniform.min() >= 0
    assert uniform.max() < 1


def test_lanes_are_not_correlated() -> None:
    one, other = LaneGenerators([1, 2], [0, 0]).normal((2, 10_000))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03


def test_normal_draws_from_a_key_or_from_generators() -> None:
    np.testing.assert_array_equal(normal(jax.random.key(3), (2, 3)), jax.random.normal(jax.random.key(3), (2, 3)))
    np.testing.assert_array_equal(normal(LaneGenerators([3], [0]), (1, 3)), LaneGenerators([3], [0]).normal((1, 3)))


@pytest.mark.parametrize(("kind", "law"), [("uniform", "uniform"), ("gumbel", "gumbel_r"), ("normal", "norm")])
@pytest.mark.parametrize("key", [LaneGenerators([3], [0]), jax.random.key(3)], ids=["numpy", "jax"])
def test_every_kind_has_its_law_in_numpy_and_in_jax(kind: str, law: str, key: Any) -> None:
    numbers = getattr(draws, kind)(key, (1, 10_000))
    assert isinstance(numbers, np.ndarray if isinstance(key, LaneGenerators) else jax.Array)
    assert (numbers.shape, numbers.dtype) == ((1, 10_000), np.float32)
    assert stats.kstest(np.ravel(numbers), law).pvalue > 0.01


@pytest.mark.parametrize("number", [0.0, np.nextafter(np.float32(1), np.float32(0))])
def test_gumbel_numbers_are_finite_at_both_ends_of_the_uniform_ones(number: float, monkeypatch: Any) -> None:
    monkeypatch.setattr(LaneGenerators, "uniform", lambda self, shape: np.full(shape, number, np.float32))
    assert np.isfinite(draws.gumbel(LaneGenerators([3], [0]), (1, 2))).all()


def test_every_lane_needs_a_moment() -> None:
    with pytest.raises(ValueError, match="shorter"):
        LaneGenerators([1, 2], [0])


ORDER = jax.jit(jax.vmap(draws.permutation, in_axes=(0, None)), static_argnums=1)


@pytest.mark.parametrize("size", [1, 2, 3, 1_024, 1_025, 1_500, 2_048, 2_049, 4_095, 16_384, 20_000])
def test_an_order_has_every_number_once(size: int) -> None:
    orders = np.asarray(ORDER(jax.random.split(jax.random.key(size), 3), size))
    np.testing.assert_array_equal(np.sort(orders, 1), np.tile(np.arange(size), (3, 1)))
    assert size < 4 or not (orders[0] == orders[1]).all()


@pytest.mark.parametrize("size", [1_030, 2_048], ids=["just above a power of two", "a power of two"])
def test_orders_are_as_random_as_sorted_random_numbers(size: int) -> None:
    count = 2_000
    orders = np.asarray(ORDER(jax.random.split(jax.random.key(1), count), size))
    for place in (0, 1, size - 1):  # where each number goes
        assert stats.kstest(orders[:, place] / size, "uniform").pvalue > 0.001
    fixed, followed = (orders == np.arange(size)).sum(1), (np.diff(orders, axis=1) == 1).sum(1)
    for found in (fixed, followed):  # both are nearly Poisson-distributed with mean 1
        assert abs(found.mean() - 1) < 4 / np.sqrt(count)
        assert abs(found.var() - 1) < 0.25
    halves = orders < size // 2  # as if drawn for one of two minibatches
    for a, b in ((0, 1), (0, size // 2), (5, 600), (512, 1_023)):
        together = (halves[:, a] == halves[:, b]).mean()
        assert abs(together - 0.5) < 4 * 0.5 / np.sqrt(count)
    assert abs(stats.spearmanr(orders[0], np.arange(size)).statistic) < 0.15
