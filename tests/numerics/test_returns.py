"""Returns of several steps and advantages: the compiled code against the sums that the books print, step by step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyak.numerics import maths
from polyak.replay import ring
from polyak.tree import replace
from polyak.types import Box, EnvSpec, Transition, vector
from tests.fixtures.agents import transitions
from tests.fixtures.rows import row_size, unpack

SPEC = EnvSpec(vector(1), Box(1))
ENVS, CAPACITY, MOST, N = 2, 11, 6, 3  # the ring is no multiple of the environments
GAMMA = 0.5


def steps(reward: Any, terminated: Any, truncated: Any) -> Transition:
    """Make successive steps `[n, batch]`, whose observations say when they were: step t leads from t to t + 1."""
    numbers = [np.asarray(part, np.float32) for part in (reward, terminated, truncated)]
    time = np.broadcast_to(np.arange(len(numbers[0]), dtype=np.float32)[:, None], numbers[0].shape)
    return Transition(time[..., None], 10 + time[..., None], numbers[0], 1 + time[..., None], *numbers[1:])


def test_an_n_step_return_by_hand() -> None:
    # four samples: none ends, the second of three terminates, the first is truncated, the third is not there yet
    reward = [[1, 1, 1, 1], [2, 2, 2, 2], [4, 4, 4, 4]]
    terminated, truncated = [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    valid = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]], bool)
    folded = maths.n_step(steps(reward, terminated, truncated), valid, GAMMA)
    # 1 + 2/2 + 4/4 = 3;  1 + 2/2 = 2;  1;  1 + 2/2 = 2
    np.testing.assert_array_equal(folded.reward, [3, 2, 1, 2])
    np.testing.assert_array_equal(folded.n_steps, [3, 2, 1, 2])
    np.testing.assert_array_equal(folded.next_obs[:, 0], [3, 2, 1, 2])
    np.testing.assert_array_equal(folded.terminated, [0, 1, 0, 0])
    np.testing.assert_array_equal(folded.truncated, [0, 0, 1, 0])
    np.testing.assert_array_equal([folded.obs[:, 0], folded.action[:, 0]], [[0] * 4, [10] * 4])
    # 3 + 0.5³·8 = 4;  2, for it terminated;  1 + 0.5·8 = 5;  2 + 0.5²·8 = 4
    target = maths.td_target(folded.reward, folded.discount(GAMMA), folded.terminated, jnp.full(4, 8.0))
    np.testing.assert_array_equal(target, [4, 2, 5, 4])


def test_named_observations_are_folded_part_by_part() -> None:
    one = steps([[1, 1], [1, 1]], [[0, 1], [0, 0]], [[0, 0], [0, 0]])

    def named(obs: Any) -> Any:
        return {"arm": obs, "eye": np.broadcast_to(obs[..., None, None], (2, 2, 8, 8, 1)).astype(np.uint8)}

    both = replace(one, obs=named(one.obs), next_obs=named(one.next_obs))
    valid = np.ones((2, 2), bool)
    alone, folded = maths.n_step(one, valid, GAMMA), maths.n_step(both, valid, GAMMA)
    for found, expected in ((folded.obs, alone.obs), (folded.next_obs, alone.next_obs)):
        np.testing.assert_array_equal(found["arm"], expected)
        np.testing.assert_array_equal(found["eye"][:, 3, 5], expected)
        assert found["eye"].dtype == np.uint8


def test_one_step_is_the_step_itself() -> None:
    one = transitions(EnvSpec(vector(3), Box(2)), (1, 5))
    folded = maths.n_step(one, jnp.ones((1, 5), bool), 0.9)
    for name, part in vars(folded).items():
        if name not in ("n_steps", "weight"):
            np.testing.assert_array_equal(part, vars(one)[name][0])
    np.testing.assert_array_equal(folded.n_steps, np.ones(5))


ENDS = st.lists(
    st.sampled_from(["", "", "terminated", "truncated", "both"]), min_size=2 * 3 * MOST, max_size=2 * 3 * MOST
)


@given(counts=st.lists(st.integers(0, MOST // ENVS), min_size=6, max_size=6), ends=ENDS, seed=st.integers(0, 99))
def test_n_step_returns_from_the_ring_equal_those_of_every_environments_own_story(
    counts: list[int], ends: list[str], seed: int
) -> None:
    total = ENVS * sum(counts)
    rows = np.random.default_rng(seed).normal(size=(len(ends), row_size(SPEC))).astype(np.float32)
    rows[:, -2] = [end in ("terminated", "both") for end in ends]
    rows[:, -1] = [end in ("truncated", "both") for end in ends]
    buffer, added = ring.init(CAPACITY, SPEC.transition()), 0
    for count in counts:
        steps = unpack(SPEC, np.concatenate([rows, rows])[added : added + MOST])
        buffer = ADD(buffer, steps, jnp.int32(ENVS * count))
        added += ENVS * count
    folded = FOLD(buffer)
    for number in range(max(total - CAPACITY, 0), total):
        story = rows[number:total:ENVS]  # of the same environment, up to the newest
        expected = fold_slowly(story)
        found = jax.tree.map(lambda leaf, number=number: np.asarray(leaf)[number % CAPACITY], folded)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


ADD = jax.jit(ring.add)


@jax.jit
def FOLD(buffer: ring.Buffer) -> Transition:  # noqa: N802 (compiled)
    steps, valid = ring.windows(buffer, jnp.arange(CAPACITY), N, ENVS)
    return maths.n_step(steps, valid, GAMMA)


def fold_slowly(story: np.ndarray) -> Transition:
    """Go along a story until it ends, is over, or has gone on for n steps."""
    parts, reward = unpack(SPEC, story), 0.0
    for k in range(min(N, len(story))):
        reward += GAMMA**k * parts.reward[k]
        if parts.terminated[k] or parts.truncated[k]:
            break
    after = (parts.next_obs[k], parts.terminated[k], parts.truncated[k])
    return Transition(parts.obs[0], parts.action[0], np.float32(reward), *after, n_steps=np.float32(k + 1))


TIME = 5
ADVANTAGES = jax.jit(maths.gae)


def story(ends: list[str], seed: int) -> tuple[Transition, np.ndarray, np.ndarray]:
    """Make a rollout of two environments that ends as told, with values of its states and of those that follow."""
    rng, how = np.random.default_rng(seed), np.array(ends[: TIME * ENVS]).reshape(TIME, ENVS)
    rollout = steps(
        rng.normal(size=how.shape), np.isin(how, ("terminated", "both")), np.isin(how, ("truncated", "both"))
    )
    return rollout, *rng.normal(size=(2, *how.shape)).astype(np.float32)


def test_advantages_by_hand() -> None:
    rollout = steps([[1], [2], [4], [8]], [[0], [1], [0], [0]], [[0], [0], [1], [0]])
    value, next_value = np.float32([[1], [1], [1], [1]]), np.float32([[2], [99], [6], [4]])
    # δ = 1 + 2/2 - 1 = 1;  2 - 1 = 1;  4 + 6/2 - 1 = 6;  8 + 4/2 - 1 = 9.  Only the first goes on: 1 + 0.5·0.8·1
    np.testing.assert_allclose(maths.gae(rollout, value, next_value, 0.5, 0.8)[:, 0], [1.4, 1, 6, 9], rtol=1e-6)


@given(ends=ENDS, seed=st.integers(0, 99), lam=st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_advantages_equal_the_sum_over_what_is_left_of_the_episode(ends: list[str], seed: int, lam: float) -> None:
    rollout, value, next_value = story(ends, seed)
    found = ADVANTAGES(rollout, value, next_value, 0.9, lam)
    delta = rollout.reward + 0.9 * (1 - rollout.terminated) * next_value - value
    for e in range(ENVS):
        for t in range(TIME):
            total = 0.0
            for k in range(t, TIME):
                total += (0.9 * lam) ** (k - t) * delta[k, e]
                if rollout.terminated[k, e] or rollout.truncated[k, e]:
                    break
            np.testing.assert_allclose(found[t, e], total, rtol=1e-4, atol=1e-5)


@given(ends=ENDS, seed=st.integers(0, 99))
def test_with_lambda_1_the_advantage_is_the_n_step_return_less_the_value(ends: list[str], seed: int) -> None:
    rollout, value, next_value = story(ends, seed)
    # an episode's values must agree with each other: what follows a step is where the next one starts
    going = (1 - np.maximum(rollout.terminated, rollout.truncated))[:-1] == 1
    next_value[:-1][going] = value[1:][going]
    found = ADVANTAGES(rollout, value, next_value, 0.9, 1.0) + value
    for e in range(ENVS):
        for t in range(TIME):
            total = 0.0
            for k in range(t, TIME):
                total += 0.9 ** (k - t) * rollout.reward[k, e]
                if rollout.terminated[k, e] or rollout.truncated[k, e] or k == TIME - 1:
                    total += 0.9 ** (k - t + 1) * (1 - rollout.terminated[k, e]) * next_value[k, e]
                    break
            np.testing.assert_allclose(found[t, e], total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_with_lambda_0_the_advantage_is_the_td_error(lam: float) -> None:
    rollout, value, next_value = story(["", "terminated", "", "truncated", ""] * 2, 3)
    error = maths.td_target(rollout.reward, 0.9, rollout.terminated, next_value) - value
    same = np.isclose(ADVANTAGES(rollout, value, next_value, 0.9, lam), error, rtol=1e-5)
    ended = (rollout.terminated + rollout.truncated > 0) | (np.arange(TIME) == TIME - 1)[:, None]
    np.testing.assert_array_equal(same, np.ones_like(same) if lam == 0 else ended)
