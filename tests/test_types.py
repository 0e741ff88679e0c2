"""How a step is stored, in every action space; what n-step returns and importance weights mean to them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from polyak.tree import replace
from polyak.types import ArraySpec, Box, Discrete, EnvSpec, MultiDiscrete, init_memory, vector
from tests.fixtures import toys
from tests.fixtures.agents import SPECS, transitions

PARTS = ("obs", "action", "reward", "next_obs", "terminated", "truncated")


@pytest.mark.parametrize(
    ("action", "array", "size"),
    [
        (Box(2), ArraySpec((2,)), 2),
        (Discrete(4), ArraySpec((), "int32"), 1),
        (MultiDiscrete((2, 3, 5)), ArraySpec((3,), "int32"), 3),
    ],
    ids=str,
)
def test_how_a_step_is_stored(action: Any, array: ArraySpec, size: int) -> None:
    spec = EnvSpec(vector(2), action)
    stored = spec.transition()
    assert (stored.obs, stored.next_obs, stored.action) == (ArraySpec((2,)), ArraySpec((2,)), array)
    assert stored.reward == stored.terminated == stored.truncated == ArraySpec(())
    assert stored.n_steps is stored.weight is None
    assert (spec.action.width, spec.transition_bytes) == (size, 4 * (2 + size + 1 + 2 + 1 + 1))


def test_a_spec_knows_its_bytes() -> None:
    assert ArraySpec((8, 8, 3), "uint8").nbytes == 192
    assert ArraySpec((), "int32").nbytes == 4


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


def test_an_algorithm_without_init_memory_has_none() -> None:
    assert init_memory(toys.on_policy, toys.Config(), SPECS[Box]) == ()
    np.testing.assert_array_equal(init_memory(toys.linear, toys.Config(), SPECS[Box]), np.zeros(2, np.float32))
