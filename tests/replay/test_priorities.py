"""Prioritized replay against a plain list, its draws against the proportions they must have."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from polyak.replay import priorities
from polyak.replay.priorities import EPSILON, FAN_OUT, Priorities
from polyak.tree import take
from tests.fixtures.compare import assert_identical, stack

ENTER, REVISE = jax.jit(priorities.enter), jax.jit(priorities.revise)
SIZES = [100, 5_000, 300_000]  # of two levels, three and four
CAPACITY, MOST, MANY = 100, 4, 20_000


def holding(numbers: Any, capacity: int | None = None) -> Priorities:
    """Make a tree that holds these priorities at its first places."""
    capacity = len(numbers) if capacity is None else capacity
    places, errors = np.arange(capacity), np.zeros(capacity, np.float32)
    errors[: len(numbers)] = np.asarray(numbers, np.float32) - EPSILON
    return REVISE(priorities.init(capacity), np.where(places < len(numbers), places, capacity), errors, 1.0)


def leaves(tree: Priorities) -> np.ndarray:
    return np.asarray(tree.levels[-1])


def draw(tree: Priorities, size: int = 1, beta: float = 0.4, key: int = 0) -> Any:
    return DRAW(tree, jax.random.key(key), 64, jnp.int32(size), beta)


DRAW = jax.jit(priorities.draw, static_argnums=2)


@jax.jit
def draws(tree: Priorities) -> Any:
    """Draw a single place with each of many keys: independently, not one from each part of the whole."""
    keys = jax.random.split(jax.random.key(1), MANY)
    places, weights = jax.vmap(lambda key: priorities.draw(tree, key, 1, jnp.int32(1), 0.4))(keys)
    return places[:, 0], weights


def assert_consistent(tree: Priorities) -> None:
    """Every number above the last level is the sum of its 64 below, and the first level is a single line."""
    assert tree.levels[0].shape == (FAN_OUT,)
    for above, below in zip(tree.levels, tree.levels[1:], strict=False):
        sums = np.asarray(below, np.float64).reshape(-1, FAN_OUT).sum(-1)
        np.testing.assert_allclose(above[: len(sums)], sums, rtol=1e-5)
        assert (above[len(sums) :] == 0).all()


PLACES = st.lists(st.integers(0, CAPACITY + 2), min_size=MOST, max_size=MOST, unique=True)
STEPS = st.lists(st.tuples(PLACES, st.lists(st.floats(-9, 9, width=32), min_size=MOST, max_size=MOST) | st.none()))


@given(steps=STEPS)
def test_equals_a_list_under_entries_and_revisions_in_any_order(steps: list[Any]) -> None:
    tree, model, highest = priorities.init(CAPACITY), [0.0] * CAPACITY, 1.0
    for places, errors in steps:
        if errors is None:
            tree, given_to = ENTER(tree, np.array(places)), [highest] * MOST
        else:
            tree = REVISE(tree, np.array(places), np.array(errors, np.float32), 0.6)
            given_to = [(abs(error) + EPSILON) ** 0.6 for error in errors]
            highest = max(highest, *given_to)
        for place, priority in zip(places, given_to, strict=True):
            if place < CAPACITY:
                model[place] = priority
    np.testing.assert_allclose(leaves(tree)[:CAPACITY], model, rtol=1e-5)
    assert (leaves(tree)[CAPACITY:] == 0).all()
    np.testing.assert_allclose(tree.highest, highest, rtol=1e-6)
    assert_consistent(tree)


@pytest.mark.parametrize("capacity", [20, 64, 5_000, *SIZES])
def test_places_beyond_the_capacity_are_left_out_whatever_it_is(capacity: int) -> None:
    tree = ENTER(priorities.init(capacity), np.array([0, capacity - 1, capacity, capacity + 1, 64 * capacity]))
    assert np.flatnonzero(leaves(tree)).tolist() == [0, capacity - 1]
    assert_consistent(tree)


def test_a_replay_of_a_hundred_million_can_be_prioritized() -> None:
    tree = jax.eval_shape(lambda: priorities.init(100_000_000))
    places = jax.ShapeDtypeStruct((8,), jnp.int32)
    assert jax.eval_shape(priorities.enter, tree, places).levels[-1].shape == (100_000_000,)
    assert len(tree.levels) == 5  # 64⁴ is 17 million


def test_new_transitions_get_the_highest_priority_so_far() -> None:
    tree = ENTER(priorities.init(8), np.array([0, 1]))
    np.testing.assert_array_equal(leaves(tree)[:3], [1, 1, 0])
    tree = REVISE(tree, np.array([0, 1]), np.float32([-8.0, 0.1]), 2.0 / 3)
    tree = ENTER(tree, np.array([2]))
    np.testing.assert_allclose(leaves(tree)[:4], [4, 0.1 ** (2 / 3), 4, 0], rtol=1e-4)  # (8²)^⅓ = 4
    tree = ENTER(REVISE(tree, np.array([0, 2]), np.float32([0, 0]), 1.0), np.array([3]))
    np.testing.assert_allclose(leaves(tree)[:4], [EPSILON, 0.1 ** (2 / 3), EPSILON, 4], rtol=1e-4)  # it never falls


def test_a_place_that_was_drawn_twice_is_revised_once() -> None:
    tree = REVISE(holding([1.0, 2.0, 3.0]), np.array([1, 1, 0]), np.float32([5, 5, 6]), 1.0)
    np.testing.assert_allclose(leaves(tree)[:3], [6, 5, 3], rtol=1e-5)
    np.testing.assert_allclose(tree.levels[0].sum(), 14, rtol=1e-5)


def test_weights_are_1_where_priorities_are_equal() -> None:
    for beta in (0.0, 0.4, 1.0):
        np.testing.assert_allclose(draw(holding([0.3] * 20, CAPACITY), 20, beta)[1], 1, rtol=1e-5)


def test_weights_make_up_for_how_often_a_transition_is_drawn() -> None:
    # P = 1/4 and 3/4, N = 2: (2/4)^-½ = 1.414 and (6/4)^-½ = 0.8165, over the largest 1 and 0.57735
    for beta, frequent in ((0.5, 0.57735), (1.0, 1 / 3), (0.0, 1.0)):
        places, weights = draw(holding([1.0, 3.0], CAPACITY), 2, beta)
        assert np.bincount(places).tolist() == [16, 48]
        np.testing.assert_allclose(weights, np.where(places == 0, 1.0, frequent), rtol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_places_are_drawn_in_proportion_to_their_priorities(size: int) -> None:
    numbers = np.random.default_rng(size).uniform(0.1, 2.0, size) ** 4  # ratios of up to 10⁵
    parts = np.arange(size) * 20 // size  # 20 groups of neighbors, so that there is enough to count of each
    frequencies = np.bincount(parts[draws(holding(numbers))[0]], minlength=20)
    expected = np.bincount(parts, numbers) / numbers.sum()
    assert stats.chisquare(frequencies, MANY * expected).pvalue > 0.01


def test_a_draw_is_one_from_each_equal_part_of_the_whole() -> None:
    numbers = np.random.default_rng(0).uniform(0, 1, CAPACITY).astype(np.float32)
    expected = 64 * numbers / numbers.sum()  # of 64 parts a place fills so many, and reaches into two more
    counts = []
    for key in range(100):
        places, _ = draw(holding(numbers), key=key)
        assert (np.diff(places) >= 0).all()
        counts.append(np.bincount(places, minlength=CAPACITY))
    assert (np.abs(counts - expected) < 2).all()
    np.testing.assert_allclose(np.mean(counts, 0), expected, atol=0.25)  # at least 5 deviations


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("written", ["one", "some", "all but one"])
def test_what_was_not_written_is_never_drawn(size: int, written: str) -> None:
    count = {"one": 1, "some": 2 * size // 3, "all but one": size - 1}[written]
    numbers = 10.0 ** np.random.default_rng(0).uniform(-6, 6, count)
    places, weights = draws(holding(numbers, size))
    assert places.min() >= 0
    assert places.max() < count
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("place", [0, 63, 64, CAPACITY - 1])
def test_an_only_place_is_always_drawn(place: int) -> None:
    places, weights = draw(REVISE(priorities.init(CAPACITY), np.array([place]), np.float32([1e-3]), 1.0))
    assert (places == place).all()
    np.testing.assert_allclose(weights, 1)


def test_one_place_far_above_all_others_gets_all_but_its_share() -> None:
    numbers = np.full(CAPACITY, 1e-2)
    numbers[70] = 20  # the others have 0.99 of 20.99 together, each a two-thousandth of it
    places = draws(holding(numbers))[0]
    # deviations: √(0.95·0.05/20 000) = 0.0015
    np.testing.assert_allclose((places == 70).mean(), 20 / 20.99, atol=0.006)
    np.testing.assert_allclose((places < 70).mean(), 0.7 / 20.99, atol=0.005)


def test_sums_do_not_drift() -> None:
    @jax.jit
    def revised(tree: Priorities) -> Priorities:
        def step(tree: Priorities, key: Any) -> Any:
            places = jax.random.randint(key, (8,), 0, CAPACITY)
            errors = 10.0 ** jax.random.uniform(key, (8,), minval=-6.0, maxval=6.0)
            return priorities.revise(tree, places, errors, 1.0), None

        return jax.lax.scan(step, tree, jax.random.split(jax.random.key(0), 5_000))[0]

    tree = revised(holding(np.ones(CAPACITY)))
    assert_consistent(tree)
    small = holding(np.full(CAPACITY, 1e-3))
    again = REVISE(tree, np.arange(CAPACITY), np.full(CAPACITY, 1e-3 - EPSILON, np.float32), 1.0)
    assert_identical(again.levels, small.levels)  # of the millions that were there nothing is left


def test_lanes_under_vmap_equal_each_alone() -> None:
    def step(enter: Any, revise: Any, draw: Any, tree: Priorities, places: Any, errors: Any, key: Any) -> Any:
        tree = revise(enter(tree, places), places[::-1], errors, 0.6)
        return tree, draw(tree, key, 64, jnp.int32(4), 0.4)

    trees = [priorities.init(CAPACITY), holding(np.arange(1.0, 101.0))]
    places, errors = np.array([[0, 70, 99, 100], [3, 2, 1, 64]]), np.float32([[1, 2, 3, 4], [300, 0.1, 5, 6]])
    keys = jax.random.split(jax.random.key(0), 2)
    in_lanes = jax.jit(jax.vmap(partial(step, priorities.enter, priorities.revise, priorities.draw)))
    together = in_lanes(stack(trees), places, errors, keys)
    for lane, tree in enumerate(trees):
        alone = step(ENTER, REVISE, DRAW, tree, places[lane], errors[lane], keys[lane])
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), take(together, lane), alone)


@pytest.mark.parametrize(("before", "after"), [(100, 5_000), (5_000, 100), (100, 300_000), (100, 101), (64, 65)])
def test_priorities_in_a_tree_of_another_size_are_as_if_entered_there(before: int, after: int):
    numbers = np.random.default_rng(0).uniform(0.1, 3, min(before, after, 90))
    tree, wanted = holding(numbers, before), holding(numbers, after)
    assert_identical(priorities.resized(tree, after), wanted)
