"""Transitions as rows and back, for every kind of action; what n-step returns and importance weights mean to them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.tree import replace
from polyak.types import Box, Discrete, EnvSpec, MultiDiscrete, unpack
from tests.fixtures.agents import SPECS, transitions

KINDS = {Box(2): 2, Discrete(4): 1, MultiDiscrete((2, 3, 5)): 3}
PARTS = ("obs", "action", "reward", "next_obs", "terminated", "truncated")


def row(spec: EnvSpec) -> np.ndarray:
    """Make a row that holds its own columns."""
    return np.arange(spec.row_size, dtype=np.float32)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("library", [np, jnp], ids=["numpy", "jax"])
def test_the_columns_of_a_row(kind: Any, library: Any) -> None:
    spec, width = EnvSpec(2, kind), KINDS[kind]
    assert (spec.action_size, spec.row_size) == (width, 2 + width + 1 + 2 + 1 + 1)
    parts = unpack(spec, library.asarray(np.tile(row(spec), (4, 3, 1))))  # [time, env, row]
    action = [2] if isinstance(kind, Discrete) else [list(range(2, 2 + width))]
    end = 2 + width
    expected = ([0, 1], *action, end, [end + 1, end + 2], end + 3, end + 4)
    for name, columns in zip(PARTS, expected, strict=True):
        found = getattr(parts, name)
        assert found.shape == (4, 3, *np.shape(columns)), name
        np.testing.assert_array_equal(found, np.broadcast_to(columns, found.shape))
    assert parts.n_steps is parts.weight is None


def test_indices_are_whole_numbers_in_jax_and_fill_rows_of_floats_in_numpy() -> None:
    for kind in KINDS:
        spec = EnvSpec(2, kind)
        dtype = np.float32 if isinstance(kind, Box) else np.int32
        assert unpack(spec, jnp.asarray(row(spec))).action.dtype == dtype
        assert jax.eval_shape(lambda rows, spec=spec: unpack(spec, rows), row(spec)).action.dtype == dtype
        assert unpack(spec, row(spec)).action.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_in_numpy_the_parts_are_views_that_fill_the_rows(kind: Any) -> None:
    spec = EnvSpec(2, kind)
    rows = np.full((4, 3, spec.row_size), -1, np.float32)
    parts, told = unpack(spec, rows), unpack(spec, np.tile(row(spec), (4, 3, 1)))
    for name in PARTS:
        getattr(parts, name)[...] = getattr(told, name).astype(int)
    np.testing.assert_array_equal(rows, np.tile(row(spec), (4, 3, 1)))


@pytest.mark.parametrize("kind", SPECS, ids=lambda kind: kind.__name__)
def test_a_flat_rollout_joins_time_and_environments_in_the_order_of_time(kind: Any) -> None:
    rollout = transitions(SPECS[kind], (4, 3))
    flat = rollout.flat()
    assert flat.n_steps is flat.weight is None
    for name in PARTS:
        whole, joined = getattr(rollout, name), getattr(flat, name)
        assert joined.shape == (12, *whole.shape[2:])
        np.testing.assert_array_equal(joined[3 * 2 + 1], whole[2, 1])


def test_a_bootstrapped_value_is_discounted_once_for_each_step() -> None:
    batch = transitions(SPECS[Box], (3,))
    assert batch.discount(0.9) == 0.9
    several = replace(batch, n_steps=jnp.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(several.discount(0.9), [0.9, 0.81, 0.729], rtol=1e-6)
    np.testing.assert_array_equal(several.discount(0.0), [0, 0, 0])
    np.testing.assert_array_equal(several.discount(1.0), [1, 1, 1])


def test_losses_are_weighted_by_importance_where_there_is_any() -> None:
    batch, losses = transitions(SPECS[Box], (3,)), jnp.array([1.0, 2.0, 3.0])
    assert batch.weighted(losses) is losses
    np.testing.assert_array_equal(replace(batch, weight=jnp.array([1.0, 0.5, 0.0])).weighted(losses), [1, 1, 0])
