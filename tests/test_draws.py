"""Random numbers for lanes that do not depend on each other."""

from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from polyak import draws
from polyak.draws import LaneGenerators, normal

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
    lanes.begin([5, 6])
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
