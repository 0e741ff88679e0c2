"""Observations as flat vectors: one way of reading them for training, evaluation and policies."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from polyak.envs.flatten import flatten
from polyak.envs.observations import Reader, refuse_nonfinite

TWO = spaces.Box(-1.0, 1.0, (2,), np.float32)
ONE = spaces.Box(-1.0, 1.0, (1,), np.float32)
BOTH = spaces.Dict({"a": TWO, "k": spaces.Discrete(3)})
PAIR = spaces.Tuple((TWO, spaces.Discrete(3)))
CHOICES = spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2)))

ACCEPTED: list[tuple[Any, Any, list[float]]] = [
    (TWO, [0.5, 1], [0.5, 1]),
    (TWO, (0.5, 1), [0.5, 1]),
    (TWO, np.array([[0.5, 1]]), [0.5, 1]),
    (TWO, np.array([[0.5], [1]]), [0.5, 1]),
    (TWO, jnp.array([0.5, 1]), [0.5, 1]),
    (TWO, [Decimal("0.5"), Fraction(1)], [0.5, 1]),
    (TWO, np.array([0.5, 1], object), [0.5, 1]),
    (TWO, np.array([50, -7]), [50, -7]),  # outside its bounds, which are seldom exact
    (TWO, np.ma.array([0.5, 1]), [0.5, 1]),
    (ONE, 0.5, [0.5]),
    (ONE, np.float64(0.5), [0.5]),
    (ONE, np.array(0.5), [0.5]),
    (ONE, True, [1]),
    (spaces.Box(-1, 1, ()), 0.5, [0.5]),
    (spaces.Box(-1, 1, ()), [0.5], [0.5]),
    (spaces.Box(0, 2, (2, 2), np.uint8), [[0, 1], [2, 0]], [0, 1, 2, 0]),
    (spaces.Box(0, 1, (0,)), [], []),
    (spaces.Discrete(5), 3, [0, 0, 0, 1, 0]),
    (spaces.Discrete(5), np.array([3]), [0, 0, 0, 1, 0]),
    (spaces.Discrete(5), np.array([[3]], np.uint8), [0, 0, 0, 1, 0]),
    (spaces.Discrete(5), np.array(3.0), [0, 0, 0, 1, 0]),
    (spaces.Discrete(5), [3.0], [0, 0, 0, 1, 0]),
    (spaces.Discrete(2), True, [0, 1]),
    (spaces.Discrete(3, start=-1), -1, [1, 0, 0]),
    (spaces.MultiDiscrete([2, 3], start=[1, -1]), [[2.0, 0]], [0, 1, 0, 1, 0]),
    (spaces.MultiDiscrete([[2, 2], [2, 2]]), [[0, 1], [1, 0]], [1, 0, 0, 1, 0, 1, 1, 0]),
    (spaces.MultiBinary(3), [True, 0.0, 1], [1, 0, 1]),
    (BOTH, {"a": np.zeros((2, 1)), "k": np.array([1])}, [0, 0, 0, 1, 0]),
    (BOTH, {"a": np.zeros((1, 2)), "k": 1}, [0, 0, 0, 1, 0]),
    (BOTH, {"k": 1, "a": [0, 0], "time": None}, [0, 0, 0, 1, 0]),  # a key too many
    (spaces.Dict({"x": ONE}), {"x": 0.5}, [0.5]),
    (PAIR, [np.zeros(2), 1], [0, 0, 0, 1, 0]),
    (CHOICES, np.array([0, 1]), [1, 0, 0, 1]),
    (spaces.Dict({"a": spaces.Tuple((ONE, BOTH))}), {"a": [0.5, {"a": [0, 1], "k": [2]}]}, [0.5, 0, 1, 0, 0, 1]),
]


def flatten_batch(space: Any, obs: Any) -> tuple[np.ndarray, bool]:
    """Read one observation or a batch of them, the named parts one after the other."""
    rows, single = Reader(space).batch(obs)
    return np.concatenate(list(rows.values()), 1) if isinstance(rows, dict) else rows, single


@pytest.mark.parametrize(("space", "obs", "flat"), ACCEPTED, ids=str)
def test_what_can_be_read_in_one_way_only_is_accepted(space: Any, obs: Any, flat: list[float]) -> None:
    found = flatten(space, obs)
    np.testing.assert_array_equal(found, np.array(flat, np.float32), strict=True)


@pytest.mark.parametrize(("space", "obs", "flat"), ACCEPTED, ids=str)
def test_a_policy_reads_what_training_reads(space: Any, obs: Any, flat: list[float]) -> None:
    rows, single = flatten_batch(space, obs)
    np.testing.assert_array_equal(rows, [flat])
    if isinstance(space, spaces.Dict | spaces.Tuple):
        assert single
    else:  # one axis more is a batch of one; a column of two numbers is none
        assert single == (np.ndim(obs) <= len(space.shape) or np.shape(obs) == (2, 1))


REFUSED: list[tuple[Any, Any, str]] = [
    (spaces.Discrete(5), -1, "observation -1 is not in Discrete(5): it must be a whole number from 0 to 4"),
    (spaces.Discrete(5), 5, "observation 5 is not in"),
    (spaces.Discrete(5), 3.7, "observation 3.7 is not in"),
    (spaces.Discrete(5), np.nan, "observation nan is not in"),
    (spaces.Discrete(5), np.inf, "observation inf is not in"),
    (spaces.Discrete(5), 1e300, "observation 1e+300 is not in"),
    (spaces.Discrete(5), 2**64, "is not in"),
    (spaces.Discrete(5), "3", "'3' is not made of numbers"),
    (spaces.Discrete(5), None, "has None, which is not a number"),
    (spaces.Discrete(5, start=1), 0, "it must be a whole number from 1 to 5"),
    (spaces.MultiDiscrete([3, 4]), [3, -3], "number 1 of it must be a whole number from 0 to 2"),
    (spaces.MultiDiscrete([3, 4]), [2, 4], "observation [2 4] is not in MultiDiscrete([3 4]): number 2 of it"),
    (spaces.MultiBinary(3), [0, 2, 1], "number 2 of it must be a whole number from 0 to 1"),
    (spaces.MultiBinary(3), [0, 0.5, 1], "number 2 of it must be a whole number from 0 to 1"),
    (TWO, [0.0], "shape"),
    (TWO, 0.0, "shape"),
    (TWO, [[0.0], [0.0, 1.0]], "ragged"),
    (TWO, np.array(["1.5", "2"]), "is not made of numbers"),
    (TWO, np.array([1.0, None], object), "observation has None, which is not a number"),
    (TWO, np.array([1 + 2j, 0]), "is not made of numbers"),
    (TWO, np.array(["2020", "2021"], "datetime64[Y]"), "is not made of numbers"),
    (TWO, np.ma.array([1.0, 9e9], mask=[0, 1]), "masked numbers"),
    (TWO, {"a": 1}, "which is not a number"),
    (BOTH, {"a": np.zeros(2)}, "has no part 'k'"),
    (BOTH, {"a": np.zeros(2), "k": 7}, "part 'k': observation 7 is not in Discrete(3)"),
    (BOTH, np.zeros(5), "is not an observation of Dict"),
    (PAIR, (np.zeros(2),), "is not an observation of Tuple"),
]  # fmt: skip


@pytest.mark.parametrize(("space", "obs", "message"), REFUSED, ids=str)
def test_what_is_no_observation_is_refused_in_training_and_by_a_policy(space: Any, obs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        flatten(space, obs)
    with pytest.raises(ValueError, match=r"observation|is not made of numbers"):
        flatten_batch(space, obs)


MANY: list[tuple[Any, Any, Any]] = [
    (TWO, np.arange(6).reshape(3, 2), [[0, 1], [2, 3], [4, 5]]),
    (spaces.Box(-9, 9, (1,)), [[1], [2]], [[1], [2]]),
    (spaces.Discrete(3), [2], [[0, 0, 1]]),
    (spaces.Discrete(3), [2, 0], [[0, 0, 1], [1, 0, 0]]),
    (spaces.Discrete(3), [[2], [0]], [[0, 0, 1], [1, 0, 0]]),
    (spaces.MultiDiscrete([2, 2]), [[0, 1], [1, 1]], [[1, 0, 0, 1], [0, 1, 0, 1]]),
    (BOTH, {"a": np.ones((2, 2)), "k": [0, 1]}, [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0]]),
    (BOTH, [{"a": [1, 1], "k": 0}, {"a": [[1, 1]], "k": [1]}], [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0]]),
    (PAIR, (np.ones((2, 2)), [0, 1]), [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0]]),
    (PAIR, [([1, 1], 0), [[1, 1], 1]], [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0]]),
    (CHOICES, [(0, 1), (1, 1)], [[1, 0, 0, 1], [0, 1, 0, 1]]),
    (CHOICES, np.array([[0, 1], [1, 1]]), [[1, 0, 0, 1], [0, 1, 0, 1]]),
    (CHOICES, ([0, 1], [1, 1]), [[1, 0, 0, 1], [0, 1, 0, 1]]),
]


@pytest.mark.parametrize(("space", "obs", "flat"), MANY, ids=str)
def test_batches(space: Any, obs: Any, flat: Any) -> None:
    rows, single = flatten_batch(space, obs)
    np.testing.assert_array_equal(rows, np.array(flat, np.float32), strict=True)
    assert not single


def test_an_index_outside_its_space_is_named_in_a_batch_too() -> None:
    with pytest.raises(ValueError, match=r"observation -1 is not in Discrete\(5\)"):
        flatten_batch(spaces.Discrete(5), [4, -1])


@pytest.mark.parametrize(
    "space",
    [
        TWO,
        spaces.Box(-9, 9, (2, 3), np.float64),
        spaces.Discrete(4, start=-2),
        spaces.MultiBinary([2, 3]),
        spaces.MultiDiscrete([[2, 5, 3], [4, 2, 2]], start=[[0, -3, 7], [1, 1, 1]]),
        spaces.Dict([("zebra", TWO), ("ant", PAIR)]),
    ],
    ids=str,
)
def test_numbers_are_laid_out_as_by_gymnasium(space: Any) -> None:
    space.seed(0)
    for _ in range(5):
        obs = space.sample()
        np.testing.assert_array_equal(flatten(space, obs), np.float32(spaces.flatten(space, obs)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(wrong: float) -> None:
    rows = np.array([[1, 2], [3, wrong]], np.float32)
    with pytest.raises(ValueError, match=rf"observation \[ *3\. *{wrong}\] has a number that is not finite"):
        refuse_nonfinite(rows)
    refuse_nonfinite(rows[:1])


def test_numbers_whose_sum_is_not_finite_are_accepted() -> None:
    with np.errstate(over="ignore"):
        refuse_nonfinite(np.full((1, 3), 3e38, np.float32))
