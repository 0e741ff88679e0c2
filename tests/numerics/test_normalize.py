"""Running statistics against NumPy's over all that was seen."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polyak.numerics.normalize import Identity, RewardScale, RunningStats, make
from polyak.tree import replace, take
from polyak.types import Box, EnvSpec, Transition, vector
from tests.fixtures.agents import transitions
from tests.fixtures.compare import stack

ADVANCE = jax.jit(RunningStats.advance)
RNG = np.random.default_rng(0)


def batches(sizes: list[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(5.0, 3.0, (size, 2)) * [1, 100]).astype(np.float32) for size in sizes]


def after(parts: list[np.ndarray]) -> RunningStats:
    stats = RunningStats.create(2)
    for part in parts:
        stats = ADVANCE(stats, part)
    return stats


@given(sizes=st.lists(st.sampled_from([1, 2, 7, 20]), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_equals_mean_and_variance_of_all_batches_together(sizes: list[int], seed: int) -> None:
    stats, parts = after(batches(sizes, seed)), batches(sizes, seed)
    # the start counts as one observation of mean 0 and variance 1: Σ(x²) has 1 more than the data's
    count, everything = 1 + sum(sizes), np.concatenate(parts).astype(np.float64)
    mean = everything.sum(0) / count
    variance = (1 + (everything**2).sum(0)) / count - mean**2
    assert stats.count == count
    np.testing.assert_allclose(stats.mean, mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(stats.variance, variance, rtol=1e-3)


def test_many_batches_leave_no_trace_of_the_start() -> None:
    parts = batches([500] * 20)
    stats, everything = after(parts), np.concatenate(parts)
    np.testing.assert_allclose(stats.mean, everything.mean(0), rtol=1e-3)
    np.testing.assert_allclose(stats.variance, everything.var(0), rtol=1e-3)


def test_variance_survives_a_mean_that_is_far_from_zero() -> None:
    part = np.random.default_rng(0).normal(10_000.0, 1.0, (4096, 2)).astype(np.float32)
    stats = RunningStats(jnp.float32(4096), jnp.asarray(part.mean(0)), jnp.asarray(part.var(0)))
    for _ in range(50):
        stats = ADVANCE(stats, part)
    np.testing.assert_allclose(stats.variance, 1.0, rtol=0.1)


def test_normalizes() -> None:
    stats = RunningStats(jnp.float32(9), jnp.array([1.0, -2.0]), jnp.array([4.0, 0.25]))
    # (3 - 1)/2 = 1, (-1 + 2)/0.5 = 2;  far outside: clipped to ±10
    np.testing.assert_allclose(stats(jnp.array([[3.0, -1.0], [99.0, -99.0]])), [[1, 2], [10, -10]], rtol=1e-5)


def test_a_feature_that_never_varies_stays_finite() -> None:
    stats = RunningStats(jnp.float32(9), jnp.array([1.0]), jnp.array([0.0]))
    np.testing.assert_allclose(stats(jnp.array([[1.0], [2.0]])), [[0], [10]])


def test_fresh_statistics_change_nothing() -> None:
    obs = RNG.normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_allclose(RunningStats.create(2)(obs), obs, rtol=1e-5)


def test_where_nothing_is_normalized_there_are_no_leaves_and_no_change() -> None:
    obs, normalizer = np.arange(6.0).reshape(3, 2), make(2, False)
    assert normalizer == Identity()
    assert jax.tree.leaves(normalizer) == []
    assert normalizer(obs) is obs
    assert normalizer.advance(jnp.asarray(obs)) == normalizer


def test_simba_always_normalizes() -> None:
    assert isinstance(make(vector(2), False, "simba"), RunningStats)
    assert isinstance(make(vector(2), True), RunningStats)


def test_lanes_in_numpy() -> None:
    lanes = [after(batches([7], seed)) for seed in (1, 2, 3)]
    obs = RNG.normal(size=(3, 5, 2)).astype(np.float32)
    together = stack(lanes)(obs)
    assert isinstance(together, np.ndarray)
    for i, lane in enumerate(lanes):
        np.testing.assert_allclose(together[i], lane(take(obs, i)), rtol=1e-5, atol=1e-6)


SCALE = jax.jit(RewardScale.advance)


def rewarded(seed: int, envs: int = 1, scale: float = 3.0) -> Transition:
    """Make a rollout of 8 steps, of which some terminate and some are truncated, with larger rewards."""
    rollout = transitions(EnvSpec(vector(1), Box(1)), (8, envs), seed)
    return replace(rollout, reward=scale * rollout.reward)


def test_rewards_are_scaled_by_the_deviation_of_all_discounted_sums_so_far() -> None:
    scale, total, totals, carried = RewardScale.create(), 0.0, [], 0
    for seed in range(4):
        rollout, carried = rewarded(seed), carried + (total != 0)
        scaled, scale = SCALE(scale, rollout, 0.9)
        for t in range(8):
            total = 0.9 * total + float(rollout.reward[t, 0])
            totals.append(total)
            if rollout.terminated[t, 0] or rollout.truncated[t, 0]:
                total = 0.0
        # with one observation of mean 0 and variance 1 before all others
        count = len(totals) + 1
        variance = (1 + np.square(totals).sum()) / count - (np.sum(totals) / count) ** 2
        np.testing.assert_allclose(scaled, rollout.reward / variance**0.5, rtol=1e-4)
        np.testing.assert_allclose(scale.last, total, rtol=1e-4, atol=1e-5)
    assert carried  # from rollout to rollout


def test_sums_of_several_environments_go_on_from_their_mean() -> None:
    going = {"terminated": 0.0, "truncated": 0.0}
    rollout = transitions(EnvSpec(vector(1), Box(1)), (2, 2), reward=0.0, **going)
    rollout = replace(rollout, reward=jnp.array([[1.0, 3.0], [0.0, 2.0]]))
    _, scale = SCALE(RewardScale.create(), rollout, 0.5)
    # 1/2 + 0 = 0.5 and 3/2 + 2 = 3.5, whose mean is 2; the sums were 1, 3, 0.5 and 3.5
    np.testing.assert_allclose(scale.last, 2.0)
    np.testing.assert_allclose(scale.sums.mean, [8 / 5])
    _, scale = SCALE(scale, replace(rollout, reward=jnp.zeros((2, 2))), 0.5)
    np.testing.assert_allclose(scale.last, 0.5)


def test_scaled_rewards_are_clipped_to_10() -> None:
    rollout = transitions(EnvSpec(vector(1), Box(1)), (200, 1), reward=0.0)
    rollout = replace(rollout, reward=rollout.reward.at[3].set(1e4).at[7].set(-1e4))
    scaled, _ = SCALE(RewardScale.create(), rollout, 0.0)
    np.testing.assert_array_equal(scaled[jnp.array([3, 7, 8]), 0], [10, -10, 0])


def test_rewards_that_never_vary_stay_finite() -> None:
    scaled, _ = SCALE(RewardScale.create(), rewarded(0, scale=0.0), 0.9)
    np.testing.assert_array_equal(scaled, np.zeros((8, 1)))
