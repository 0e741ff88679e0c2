"""The replay ring against a list, its sampling against chance, its memory against copies."""

from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from polyak.replay import ring
from polyak.types import ArraySpec, EnvSpec, MultiDiscrete, vector
from tests.fixtures.compiled import copies

ADD = jax.jit(ring.add)
SAMPLE = jax.jit(lambda *asked: sample(*asked), static_argnums=2)
PLACES = jax.jit(ring.places_of_next, static_argnums=1)
WINDOWS = jax.jit(lambda buffer, places, stride: ring.windows(buffer, places, 3, stride))
CAPACITY, MOST = 7, 5


def sample(buffer: ring.Buffer, key: Any, shape: tuple[int, ...]) -> Any:
    return ring.read(buffer, ring.draw(buffer, key, shape))


def rows(start: int, n: int) -> np.ndarray:
    """Make rows that hold their own number."""
    return np.repeat(np.arange(start, start + n, dtype=np.float32)[:, None], 2, axis=1)


def filled(counts: list[int], capacity: int = CAPACITY, most: int = MOST) -> ring.Buffer:
    buffer, added = ring.init(capacity, ArraySpec((2,))), 1
    for count in counts:
        given = rows(added, most)
        given[count:] = -9  # what lies beyond the count must never be seen
        buffer = ADD(buffer, given, jnp.int32(count))
        added += count
    return buffer


@given(counts=st.lists(st.integers(0, MOST), max_size=12))
def test_holds_the_newest_rows_as_a_deque_does(counts: list[int]) -> None:
    model = deque(range(1, 1 + sum(counts)), maxlen=CAPACITY)
    buffer = filled(counts)
    assert buffer.added == sum(counts)
    assert sorted(buffer.data[:, 0].tolist()) == sorted([*model] + [0] * (CAPACITY - len(model)))
    np.testing.assert_array_equal(buffer.data[:, 0], buffer.data[:, 1])


@given(counts=st.lists(st.integers(0, MOST), max_size=12))
def test_row_i_stands_at_i_modulo_capacity(counts: list[int]) -> None:
    buffer, added = filled(counts), sum(counts)
    for number in range(max(added - CAPACITY, 0), added):
        assert buffer.data[number % CAPACITY, 0] == number + 1


@given(counts=st.lists(st.integers(1, MOST), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_samples_only_what_was_written(counts: list[int], seed: int) -> None:
    drawn = SAMPLE(filled(counts), jax.random.key(seed), (3, 8))
    assert drawn.shape == (3, 8, 2)
    held = range(max(sum(counts) - CAPACITY, 0) + 1, sum(counts) + 1)
    assert set(drawn[..., 0].reshape(-1).tolist()) <= set(held)


@given(counts=st.lists(st.integers(0, MOST), max_size=8), count=st.integers(0, MOST))
def test_the_next_rows_will_stand_where_they_are_told_and_the_rest_beyond_the_end(counts: list[int], count: int):
    buffer = filled(counts)
    places = np.asarray(PLACES(buffer, MOST, jnp.int32(count)))
    assert (places[count:] == CAPACITY).all()
    given = rows(100, MOST)
    after = ADD(buffer, given, jnp.int32(count))
    np.testing.assert_array_equal(after.data[places[:count]], given[:count])
    assert (np.delete(after.data, places[:count], 0) == np.delete(buffer.data, places[:count], 0)).all()


@given(counts=st.lists(st.integers(0, MOST), min_size=1, max_size=12), stride=st.integers(1, 3))
def test_windows_are_the_rows_added_after_by_the_stride_as_far_as_there_are_any(counts: list[int], stride: int):
    added = sum(counts)
    held = range(max(added - CAPACITY, 0) + 1, added + 1)  # the numbers that rows hold
    found, valid = WINDOWS(filled(counts), np.arange(CAPACITY), stride)
    for number in held:
        place = (number - 1) % CAPACITY
        later = [number + i * stride for i in range(3)]
        assert valid[:, place].tolist() == [row <= added for row in later]
        assert found[valid[:, place], place, 0].tolist() == [row for row in later if row <= added]


def test_windows_keep_the_shape_of_the_places() -> None:
    found, valid = ring.windows(filled([5]), jnp.zeros((4, 2), int), 3, 1)
    assert (found.shape, valid.shape) == ((3, 4, 2, 2), (3, 4, 2))


def test_every_array_of_an_entry_is_kept_in_its_own_type_and_shape() -> None:
    spec = EnvSpec(vector(3), MultiDiscrete((4, 5)))
    buffer = ring.init(CAPACITY, spec.transition())
    steps = jax.tree.map(lambda array: np.full((2, *array.shape), 3, array.dtype), spec.transition())
    found = ring.read(ring.add(buffer, steps, jnp.int32(2)), jnp.array([1, 2]))
    assert found.action.dtype == np.int32
    assert (found.obs.shape, found.action.shape, found.reward.shape) == ((2, 3), (2, 2), (2,))
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf[:, ...].reshape(2, -1)[:, 0], [3, 0]), found)


def test_a_rollout_as_large_as_the_buffer_replaces_it() -> None:
    buffer = ring.init(4, ArraySpec((2,)))
    for start in (1, 5, 9):
        buffer = ADD(buffer, rows(start, 4), jnp.int32(4))
    assert sorted(buffer.data[:, 0].tolist()) == [9, 10, 11, 12]


@pytest.mark.parametrize("counts", [[5], [5, 5, 4]], ids=["part", "wrapped"])
def test_samples_uniformly(counts: list[int]) -> None:
    drawn = SAMPLE(filled(counts), jax.random.key(0), (20_000,))
    _, frequencies = np.unique(drawn[:, 0], return_counts=True)
    assert len(frequencies) == min(sum(counts), CAPACITY)
    assert stats.chisquare(frequencies).pvalue > 0.01


def test_draws_are_independent() -> None:
    drawn = SAMPLE(filled([5, 2]), jax.random.key(0), (20_000, 2))[..., 0]
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.03


def test_adding_to_a_donated_buffer_copies_nothing() -> None:
    add = jax.jit(ring.add, donate_argnums=0)
    buffer = ring.init(100_000, ArraySpec((8,)))
    place = buffer.data.unsafe_buffer_pointer()
    for start in range(0, 200, 50):
        buffer = add(buffer, np.repeat(rows(start, 50), 4, axis=1), jnp.int32(50))
        assert buffer.data.unsafe_buffer_pointer() == place


def test_adding_and_sampling_in_one_program_copies_nothing() -> None:
    def learn(buffer: ring.Buffer, rows: Any, key: Any) -> Any:
        buffer = ring.add(buffer, rows, jnp.int32(50))
        return buffer, sample(buffer, key, (4, 16)).sum()

    assert not copied(learn)


def test_a_copy_would_be_seen() -> None:
    def careless(buffer: ring.Buffer, rows: Any, key: Any) -> Any:
        return ring.add(buffer, rows, jnp.int32(50)), sample(buffer, key, (4, 16)).sum()  # of the old one

    assert copied(careless)


def copied(function: Any) -> list[str]:
    """Return where a compiled program with a donated buffer copies the whole of it."""
    arguments = ring.init(100_000, ArraySpec((8,))), np.zeros((50, 8), np.float32), jax.random.key(0)
    return copies(jax.jit(function, donate_argnums=0).lower(*arguments), 800_000)
