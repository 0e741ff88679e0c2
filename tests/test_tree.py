"""Dataclasses as trees, and operations on whole trees."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.tree import (
    from_named_leaves,
    named_leaves,
    polyak_average,
    pytree,
    replace,
    static,
    take,
    where,
)
from tests.fixtures.compare import assert_identical, stack


@pytree
class Pair:
    one: Any
    two: Any
    kind: str = static(default="plain")


@pytree
class Nest:
    pairs: tuple[Pair, ...]
    alone: Any


def nest(scale: float = 1.0) -> Nest:
    numbers = scale * np.arange(6, dtype=np.float32)
    return Nest((Pair(numbers[0:2], numbers[2:4]), Pair(numbers[4], None)), numbers[5])


def test_static_fields_are_structure_and_the_rest_are_leaves() -> None:
    assert jax.tree.leaves(Pair(1, 2)) == [1, 2]
    assert jax.tree.structure(Pair(1, 2, "plain")) != jax.tree.structure(Pair(1, 2, "other"))


def test_a_tree_is_frozen_and_changed_by_copying() -> None:
    pair = Pair(1, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        pair.one = 3  # type: ignore[misc]
    assert replace(pair, one=3) == Pair(3, 2)
    assert pair == Pair(1, 2)


def test_a_tree_passes_through_transformations() -> None:
    doubled = jax.jit(lambda pair: jax.tree.map(lambda leaf: 2 * leaf, pair))(Pair(1.0, 2.0, "other"))
    assert (doubled.one, doubled.two, doubled.kind) == (2.0, 4.0, "other")
    gradient = jax.grad(lambda pair: pair.one * pair.two)(Pair(3.0, 5.0))
    assert (gradient.one, gradient.two) == (5.0, 3.0)


def test_stack_and_take_are_inverse() -> None:
    trees = [nest(scale) for scale in (1.0, 2.0, 3.0)]
    stacked = stack(trees)
    assert stacked.pairs[0].one.shape == (3, 2)
    for i, tree in enumerate(trees):
        assert_identical(take(stacked, i), tree)


@pytest.mark.parametrize("condition", [True, False])
def test_where_chooses_whole_trees(condition: bool) -> None:
    yes, no = nest(1.0), nest(2.0)
    assert_identical(where(jnp.bool_(condition), yes, no), yes if condition else no)


def test_polyak_average_moves_a_share_of_the_way() -> None:
    # 1 + 0.25 · (5 - 1) = 2
    moved = polyak_average(Pair(1.0, 8.0), Pair(5.0, 0.0), 0.25)
    assert (moved.one, moved.two) == (2.0, 6.0)
    assert polyak_average(Pair(1.0, 8.0), Pair(5.0, 0.0), 1.0) == Pair(5.0, 0.0)


def test_polyak_average_forgets_like_a_power() -> None:
    target, source, tau = 1.0, 0.0, 0.1
    for _ in range(20):
        target = polyak_average(target, source, tau)
    np.testing.assert_allclose(target, (1 - tau) ** 20)


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
def test_with_tau_1_the_average_is_the_source_to_the_bit(compiled: bool) -> None:
    average = jax.jit(polyak_average) if compiled else polyak_average
    rng = np.random.default_rng(0)
    source, target = ((10.0 ** rng.uniform(-30, 30, 50)).astype(np.float32) for _ in range(2))
    copied = average(Pair(target, -target), Pair(source, -source), np.float32(1))
    np.testing.assert_array_equal(np.asarray(copied.one).view(np.int32), source.view(np.int32))
    np.testing.assert_array_equal(np.asarray(copied.two).view(np.int32), (-source).view(np.int32))


@pytest.mark.parametrize("tau", [0.005, 0.5])
def test_the_distance_to_a_source_that_stays_shrinks_by_1_minus_tau(tau: float) -> None:
    source, begin = nest(1.0), nest(3.0)  # the distance is twice the source
    target = jax.lax.fori_loop(0, 12, lambda _, target: polyak_average(target, source, tau), begin)
    expected = jax.tree.map(lambda leaf: leaf + 2 * leaf * (1 - tau) ** 12, source)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), target, expected)


def test_named_leaves_are_named_by_their_path() -> None:
    names = named_leaves(nest())
    assert list(names) == ["pairs.0.one", "pairs.0.two", "pairs.1.one", "alone"]
    assert names["alone"] == 5
    assert list(named_leaves({"a": [1, 2], "b": None})) == ["a.0", "a.1"]


def test_from_named_leaves_rebuilds_the_tree() -> None:
    rebuilt = from_named_leaves(nest(0.0), named_leaves(nest()), lambda name, like, leaf: leaf)
    assert_identical(rebuilt, nest())


def test_from_named_leaves_converts_by_name_and_template() -> None:
    seen = []

    def convert(name: str, like: Any, leaf: Any) -> Any:
        seen.append((name, like))
        return leaf + like

    assert from_named_leaves(Pair(1, 2), {"one": 10, "two": 20}, convert) == Pair(11, 22)
    assert seen == [("one", 1), ("two", 2)]


def test_a_leaf_that_is_not_stored_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="two"):
        from_named_leaves(Pair(1, 2), {"one": 10}, lambda name, like, leaf: leaf)
