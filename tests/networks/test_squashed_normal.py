"""The normal squashed by tanh: its density against a change of variables in double precision, and far out."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from polyak.networks.distributions import SquashedNormal, log_slope_of_tanh
from polyak.numerics.draws import LaneGenerators

KEY = jax.random.key(3)
MANY = 20_000
SLOPE = jax.jit(log_slope_of_tanh)
LOG_PROB = jax.jit(lambda distribution, action: distribution.log_prob(action))
SAMPLE = jax.jit(lambda distribution: distribution.sample_with_log_prob(KEY))


def squashed(mean: Any, sigma: Any) -> SquashedNormal:
    """Make a distribution of single actions in NumPy, one for each mean."""
    means, sigmas = np.broadcast_arrays(np.float32(mean), np.float32(sigma))
    return SquashedNormal(means[..., None], np.log(sigmas[..., None]))


def test_the_slope_of_tanh_in_double_precision() -> None:
    u = np.linspace(-8, 8, 321)
    with jax.enable_x64(True):
        found = SLOPE(u)
        by_autograd = np.log(jax.jit(jax.vmap(jax.grad(jnp.tanh)))(u))
        assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, -2 * np.log(np.cosh(u)), rtol=1e-13, atol=1e-14)  # 1 - tanh² = 1/cosh²
    np.testing.assert_allclose(found, by_autograd, rtol=1e-10, atol=1e-13)


def test_the_density_is_the_change_of_variables_in_double_precision() -> None:
    with jax.enable_x64(True):
        means, log_sigmas = np.linspace(-7.7, 7.7, 60).reshape(20, 3), np.tile([-2.5, -4.0, -3.0], (20, 1))
        action, log_prob = SAMPLE(SquashedNormal(means, log_sigmas))
        u = means + np.exp(log_sigmas) * np.asarray(jax.random.normal(KEY, means.shape))
        slopes = jax.jit(jax.vmap(jax.grad(jnp.tanh)))(u.reshape(-1)).reshape(20, 3)
    assert np.abs(u).max() <= 8
    expected = stats.norm(means, np.exp(log_sigmas)).logpdf(u) - np.log(slopes)
    np.testing.assert_allclose(action, np.tanh(u), rtol=1e-14)
    np.testing.assert_allclose(log_prob, expected.sum(-1), rtol=1e-10)


def test_single_precision_is_close_to_double() -> None:
    u = np.linspace(-20, 20, 401, dtype=np.float32)
    expected = 2 * (math.log(2) - np.abs(u.astype(float)) - np.log1p(np.exp(-2 * np.abs(u.astype(float)))))
    np.testing.assert_allclose(SLOPE(u), expected, rtol=1e-5, atol=1e-6)


def test_the_slope_far_out_is_finite_and_so_is_its_gradient() -> None:
    # log(1 - tanh² u) = 2·log 2 - 2|u| where e^-2|u| is nothing; its slope is -2·tanh u
    for u in (-50.0, -20.0, 20.0, 50.0):
        value, slope = jax.jit(jax.value_and_grad(log_slope_of_tanh))(u)
        np.testing.assert_allclose([value, slope], [2 * math.log(2) - 2 * abs(u), -2 * np.sign(u)], rtol=1e-6)


@pytest.mark.parametrize("mean", [-50.0, 50.0])
def test_samples_far_out_have_finite_densities_and_gradients(mean: float) -> None:
    def total(mean: Any, log_sigma: Any) -> Any:
        action, log_prob = SquashedNormal(mean, log_sigma).sample_with_log_prob(KEY)
        return log_prob.sum() + action.sum()

    inputs = np.full((4, 2), mean, np.float32), np.zeros((4, 2), np.float32)
    value, slopes = jax.jit(jax.value_and_grad(total, (0, 1)))(*inputs)
    assert np.isfinite(value)
    # -log(1 - tanh² u) grows by 2 with |u|, and u by σ·ξ with log σ; -log σ gives -1; the action has stopped to move
    np.testing.assert_allclose(slopes[0], 2 * np.sign(mean), rtol=1e-5)
    np.testing.assert_allclose(slopes[1], 2 * np.sign(mean) * jax.random.normal(KEY, (4, 2)) - 1, rtol=1e-4, atol=1e-5)


def test_the_density_of_an_action_is_that_with_which_it_was_sampled() -> None:
    distribution = squashed(np.linspace(-1, 1, 40), 0.5)
    action, log_prob = SAMPLE(distribution)
    np.testing.assert_allclose(LOG_PROB(distribution, action), log_prob, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(jax.jit(SquashedNormal.sample)(distribution, KEY), action, rtol=1e-6)


def test_the_density_sums_over_dimensions_and_equals_scipy() -> None:
    means, log_sigmas = np.float32([[0.3, -1.0]]), np.float32([[-0.5, 0.2]])
    actions = np.random.default_rng(0).uniform(-0.95, 0.95, (50, 2)).astype(np.float32)
    parts = stats.norm(means, np.exp(log_sigmas)).logpdf(np.arctanh(actions)) - np.log(1 - actions**2)
    np.testing.assert_allclose(
        LOG_PROB(SquashedNormal(means, log_sigmas), actions), parts.sum(-1), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 0.5), (0.5, 0.7), (-1.0, 0.3)])
def test_the_density_integrates_to_1(mean: float, sigma: float) -> None:
    actions = (np.arange(2000, dtype=np.float32)[:, None] + 0.5) / 1000 - 1
    log_prob = LOG_PROB(squashed(np.full(2000, mean), sigma), actions)
    np.testing.assert_allclose(np.exp(log_prob).sum() / 1000, 1, atol=1e-3)


def test_an_action_on_the_border_has_a_finite_density_and_gradient() -> None:
    def log_prob(mean: Any, log_sigma: Any) -> Any:
        return SquashedNormal(mean, log_sigma).log_prob(jnp.array([[-1.0], [1.0], [1.0]])).sum()

    inputs = np.float32([[-1], [5], [-50]]), np.full((3, 1), -3, np.float32)
    value, slopes = jax.jit(jax.value_and_grad(log_prob, (0, 1)))(*inputs)
    assert np.isfinite([value, *np.ravel(slopes)]).all()


def test_the_mode_is_the_action_of_the_mean() -> None:
    np.testing.assert_allclose(squashed([-2.0, 0.0, 0.5], 3.0).mode()[:, 0], np.tanh([-2, 0, 0.5]), rtol=1e-6)


@pytest.mark.parametrize("draws", [LaneGenerators([0], [0]), jax.random.key(1)], ids=["numpy", "jax"])
def test_samples_are_a_normal_behind_tanh(draws: Any) -> None:
    library: Any = np if isinstance(draws, LaneGenerators) else jnp
    shape = (1, MANY, 1)
    actions = SquashedNormal(library.full(shape, 0.4), library.full(shape, -0.7)).sample(draws)
    assert isinstance(actions, np.ndarray if library is np else jax.Array)
    assert stats.kstest(np.arctanh(actions).reshape(-1), stats.norm(0.4, np.exp(-0.7)).cdf).pvalue > 0.01


def test_noise_becomes_actions_and_gradients_flow_through_it() -> None:
    distribution = squashed([0.5], 2.0)
    assert float(distribution.squash(np.float32([[-1.0]]))[0, 0]) == pytest.approx(math.tanh(0.5 - 2.0))
    slopes = jax.jit(jax.grad(lambda distribution: distribution.squash(jnp.array([[-1.0]]))[0, 0]))(distribution)
    # a = tanh(u): da/dmean = 1 - a², da/dlog σ = (1 - a²)·σ·ξ
    slope = 1 - math.tanh(-1.5) ** 2
    np.testing.assert_allclose([slopes.mean[0, 0], slopes.log_sigma[0, 0]], [slope, -2 * slope], rtol=1e-5)
