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

from polyak import replay
from tests.compiled import copies

ADD = jax.jit(replay.add)
SAMPLE = jax.jit(lambda *asked: sample(*asked), static_argnums=2)
CAPACITY, MOST = 7, 5


def sample(buffer: replay.Buffer, key: Any, shape: tuple[int, ...]) -> Any:
    return replay.read(buffer, replay.draw(buffer, key, shape))


def rows(start: int, n: int) -> np.ndarray:
    """Make rows that hold their own number."""
    return np.repeat(np.arange(start, start + n, dtype=np.float32)[:, None], 2, axis=1)


def filled(counts: list[int], capacity: int = CAPACITY, most: int = MOST) -> replay.Buffer:
    buffer, added = replay.init(capacity, 2), 1
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
    assert sorted(buffer.rows[:, 0].tolist()) == sorted([*model] + [0] * (CAPACITY - len(model)))
    np.testing.assert_array_equal(buffer.rows[:, 0], buffer.rows[:, 1])


@given(counts=st.lists(st.integers(0, MOST), max_size=12))
def test_row_i_stands_at_i_modulo_capacity(counts: list[int]) -> None:
    buffer, added = filled(counts), sum(counts)
    for number in range(max(added - CAPACITY, 0), added):
        assert buffer.rows[number % CAPACITY, 0] == number + 1


@given(counts=st.lists(st.integers(1, MOST), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_samples_only_what_was_written(counts: list[int], seed: int) -> None:
    drawn = SAMPLE(filled(counts), jax.random.key(seed), (3, 8))
    assert drawn.shape == (3, 8, 2)
    held = range(max(sum(counts) - CAPACITY, 0) + 1, sum(counts) + 1)
    assert set(drawn[..., 0].reshape(-1).tolist()) <= set(held)


def test_a_chunk_as_large_as_the_buffer_replaces_it() -> None:
    buffer = replay.init(4, 2)
    for start in (1, 5, 9):
        buffer = ADD(buffer, rows(start, 4), jnp.int32(4))
    assert sorted(buffer.rows[:, 0].tolist()) == [9, 10, 11, 12]


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
    add = jax.jit(replay.add, donate_argnums=0)
    buffer = replay.init(100_000, 8)
    place = buffer.rows.unsafe_buffer_pointer()
    for start in range(0, 200, 50):
        buffer = add(buffer, np.repeat(rows(start, 50), 4, axis=1), jnp.int32(50))
        assert buffer.rows.unsafe_buffer_pointer() == place


def test_adding_and_sampling_in_one_program_copies_nothing() -> None:
    def learn(buffer: replay.Buffer, rows: Any, key: Any) -> Any:
        buffer = replay.add(buffer, rows, jnp.int32(50))
        return buffer, sample(buffer, key, (4, 16)).sum()

    assert not copied(learn)


def test_a_copy_would_be_seen() -> None:
    def careless(buffer: replay.Buffer, rows: Any, key: Any) -> Any:
        return replay.add(buffer, rows, jnp.int32(50)), sample(buffer, key, (4, 16)).sum()  # of the old one

    assert copied(careless)


def copied(function: Any) -> list[str]:
    """Return where a compiled program with a donated buffer copies the whole of it."""
    arguments = replay.init(100_000, 8), np.zeros((50, 8), np.float32), jax.random.key(0)
    return copies(jax.jit(function, donate_argnums=0).lower(*arguments), 800_000)
