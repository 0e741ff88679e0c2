"""Batch normalization, worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from polyak.networks.batch_norm import BatchNorm, BatchStyle, Statistics
from polyak.tree import take
from polyak.types import Array
from tests.fixtures.compare import stack

MOMENTUM = BatchStyle().momentum
RENORM = BatchStyle(renorm=True)
X = jnp.array([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]])  # means 3 and 20; variances 8/3 and 200, unbiased 4 and 300


def statistics_of(mean: Array, variance: Array) -> Statistics:
    return Statistics(mean, variance, np.int32(0))


def test_starts_as_the_identity_on_normalized_features() -> None:
    norm = BatchNorm.create(2)
    np.testing.assert_allclose(norm(X, norm.statistics()), X, rtol=1e-5)


def test_train_normalizes_by_the_batch() -> None:
    norm = BatchNorm.create(2)
    out, _ = norm.train(X, norm.statistics())
    # (1 - 3)/√(8/3) = -1.2247;  (10 - 20)/√200 = -0.7071, (40 - 20)/√200 = 1.4142
    np.testing.assert_allclose(out, [[-1.2247, -0.7071], [0, -0.7071], [1.2247, 1.4142]], rtol=1e-4, atol=1e-6)


def test_scale_and_shift() -> None:
    norm = BatchNorm(jnp.array([2.0, 1.0]), jnp.array([0.0, 5.0]))
    out, _ = norm.train(X, norm.statistics())
    np.testing.assert_allclose(out[0], [2 * -1.2247, 5 - 0.7071], rtol=1e-4)


def test_train_moves_the_running_statistics_by_the_unbiased_variance() -> None:
    norm = BatchNorm.create(2)
    _, running = norm.train(X, norm.statistics())
    np.testing.assert_allclose(running.mean, MOMENTUM * np.array([3, 20]), rtol=1e-5)
    np.testing.assert_allclose(running.variance, 1 + MOMENTUM * (np.array([4, 300]) - 1), rtol=1e-5)


def test_running_statistics_arrive_at_those_of_the_data() -> None:
    norm = BatchNorm.create(2)
    updates = int(12 / MOMENTUM)  # e⁻¹² of the start is left
    running = jax.lax.fori_loop(0, updates, lambda _, running: norm.train(X, running)[1], norm.statistics())
    np.testing.assert_allclose(running.mean, [3, 20], rtol=1e-3)
    np.testing.assert_allclose(running.variance, [4, 300], rtol=1e-3)


def test_evaluation_uses_the_running_statistics_and_not_the_batch() -> None:
    norm = BatchNorm.create(2)
    statistics = statistics_of(jnp.array([1.0, 0.0]), jnp.array([4.0, 100.0]))
    # (1 - 1)/2 = 0, 10/10 = 1;  (5 - 1)/2 = 2, 40/10 = 4
    np.testing.assert_allclose(norm(X, statistics)[::2], [[0, 1], [2, 4]], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm(X[:1], statistics), [[0, 1]], rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_is_finite() -> None:
    norm = BatchNorm.create(2)
    out, running = norm.train(X[:1], norm.statistics())
    np.testing.assert_array_equal(out, [[0, 0]])
    assert jnp.isfinite(running.variance).all()


def test_lanes_in_numpy() -> None:
    rng = np.random.default_rng(0)
    lanes = [(BatchNorm(*rng.normal(size=(2, 2))), statistics_of(*rng.uniform(0.5, 2, size=(2, 2)))) for _ in range(3)]
    x = rng.normal(size=(3, 5, 2))
    norms, statistics = (stack(parts) for parts in zip(*lanes, strict=True))
    together = norms(x, statistics)
    for i, (norm, of_lane) in enumerate(lanes):
        np.testing.assert_allclose(together[i], norm(take(x, i), of_lane), rtol=1e-5, atol=1e-6)


def test_renormalized_training_gives_what_evaluation_gives() -> None:
    norm = BatchNorm(jnp.array([2.0, 1.0]), jnp.array([0.5, 5.0]), style=RENORM)
    statistics = statistics_of(jnp.array([1.0, 30.0]), jnp.array([4.0, 150.0]))  # within the limits of the correction
    out, running = norm.train(X, statistics)
    np.testing.assert_allclose(out, norm(X, statistics), rtol=1e-4)
    _, plain = BatchNorm.create(2).train(X, statistics)
    np.testing.assert_array_equal(running.mean, plain.mean)
    np.testing.assert_array_equal(running.variance, plain.variance)


def test_the_correction_is_limited() -> None:
    norm = BatchNorm.create(1, RENORM)
    x = jnp.array([[98.0], [102.0]])  # mean 100, deviation 2
    narrow = statistics_of(jnp.zeros(1), jnp.full(1, 0.01))  # deviation 0.1: r would be 20, d 1000
    np.testing.assert_allclose(norm.train(x, narrow)[0], [[5 - 3], [5 + 3]], rtol=1e-3)  # -1 · 3 + 5
    wide = statistics_of(jnp.full(1, 1e4), jnp.full(1, 1e4))  # deviation 100: r would be 1/50, d -99
    np.testing.assert_allclose(norm.train(x, wide)[0], [[-5 - 1 / 3], [-5 + 1 / 3]], rtol=1e-3)


def test_renormalized_gradients_flow_through_the_statistics_of_the_batch() -> None:
    statistics = statistics_of(jnp.full(2, 2.0), jnp.full(2, 9.0))
    weights = jnp.array([[1.0, 2.0], [-3.0, 0.5], [0.2, 1.0]])

    def slope(renorm: bool) -> Array:
        norm = BatchNorm.create(2, BatchStyle(renorm=renorm))
        return jax.grad(lambda x: (norm.train(x, statistics)[0] * weights).sum())(X)

    # the correction's factor r = σ_batch / σ is a constant to the gradient, its shift d adds nothing
    r = jnp.sqrt(X.var(0) / 9).clip(1 / 3, 3)
    np.testing.assert_allclose(slope(True), slope(False) * r[None], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(slope(True).sum(0), 0, atol=1e-5)  # moving the whole batch changes nothing


def test_during_the_warm_up_renormalization_corrects_nothing() -> None:
    style = BatchStyle(renorm=True, warmup=3)
    norm, plain, renormalized = (BatchNorm.create(2, kind) for kind in (style, BatchStyle(), RENORM))
    running = Statistics(jnp.array([1.0, 30.0]), jnp.array([4.0, 150.0]), jnp.int32(0))
    for updates in range(5):
        assert running.updates == updates
        reference = plain if updates < 3 else renormalized
        out, after = norm.train(X, running)
        np.testing.assert_allclose(out, reference.train(X, running)[0], rtol=1e-5, atol=1e-6)
        running = after
    assert (plain.train(X, running)[0] != renormalized.train(X, running)[0]).any()


def test_moving_the_statistics_is_the_same_before_and_after_the_warm_up() -> None:
    norm, start = BatchNorm.create(2, BatchStyle(renorm=True, momentum=0.5, warmup=1)), BatchNorm.create(2).statistics()
    first, second = norm.train(X, start)[1], norm.train(X, norm.train(X, start)[1])[1]
    # half of the way to means 3 and 20 and variances 4 and 300, then half of the rest
    np.testing.assert_allclose([first.mean, second.mean], [[1.5, 10], [2.25, 15]], rtol=1e-5)
    np.testing.assert_allclose([first.variance, second.variance], [[2.5, 150.5], [3.25, 225.25]], rtol=1e-5)
    assert [first.updates, second.updates] == [1, 2]


def test_epsilon_is_added_to_the_variance() -> None:
    out, _ = BatchNorm.create(1, BatchStyle(epsilon=3.0)).train(
        jnp.array([[1.0], [3.0]]), BatchNorm.create(1).statistics()
    )
    np.testing.assert_allclose(out, [[-0.5], [0.5]])  # of variance 1: (1 - 2)/√(1 + 3)
