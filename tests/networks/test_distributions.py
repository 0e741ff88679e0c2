"""Distributions over actions against SciPy: probabilities, gradients, and samples drawn in JAX and in NumPy."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax, softmax

from polyak.networks.distributions import Categorical, ClippedNormal, Distribution, MultiCategorical, SquashedNormal
from polyak.numerics.draws import LaneGenerators
from polyak.tree import take
from tests.fixtures.compare import stack

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (6, 4)).astype(np.float32)
MEANS, LOG_SIGMAS = np.float32([[0.3, -2.0, 0.9]]), np.float32([[-1.0, 0.5, -0.2]])
MANY = 20_000
LOG_PROB = jax.jit(lambda distribution, action: distribution.log_prob(action))


def sampled(distribution: Any, library: Any, count: int = MANY) -> np.ndarray:
    """Draw from a distribution of a single row many times; NumPy draws with a lane axis before it."""
    many = jax.tree.map(lambda leaf: np.repeat(leaf, count, 0), distribution)
    if library is jnp:
        return np.asarray(jax.jit(lambda many: many.sample(jax.random.key(2)))(many))
    actions = jax.tree.map(lambda leaf: leaf[None], many).sample(LaneGenerators([2], [0]))
    assert isinstance(actions, np.ndarray)
    return actions[0]


BOTH = pytest.mark.parametrize("library", [np, jnp], ids=["numpy", "jax"])


def test_a_categorical_is_the_softmax_of_its_logits() -> None:
    distribution = Categorical(LOGITS)
    np.testing.assert_allclose(distribution.log_probs(), log_softmax(LOGITS, -1), rtol=1e-5)
    for action in range(4):
        log_prob = LOG_PROB(distribution, np.full(6, action))
        np.testing.assert_allclose(log_prob, log_softmax(LOGITS, -1)[:, action], rtol=1e-5)
    np.testing.assert_allclose(distribution.entropy(), stats.entropy(softmax(LOGITS, -1), axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(distribution.mode(), LOGITS.argmax(-1))


def test_the_score_of_a_categorical_is_what_was_chosen_less_what_was_expected() -> None:
    score = jax.grad(lambda logits: Categorical(logits).log_prob(jnp.int32(2)))(jnp.asarray(LOGITS[0]))
    np.testing.assert_allclose(score, np.eye(4)[2] - softmax(LOGITS[0]), rtol=1e-4, atol=1e-6)


def test_a_categorical_that_is_sure_is_finite() -> None:
    logits = jnp.array([1e4, 0.0, -1e4])
    slope = jax.grad(lambda logits: Categorical(logits).entropy() + Categorical(logits).log_prob(jnp.int32(2)))(logits)
    assert Categorical(logits).entropy() == 0
    np.testing.assert_allclose(slope, [-1, 0, 1], atol=1e-6)


@BOTH
def test_a_categorical_draws_each_action_as_often_as_it_should(library: Any) -> None:
    probabilities = np.float32([[0.1, 0.2, 0.05, 0.65]])
    actions = sampled(Categorical(np.log(probabilities) + 3), library)
    assert actions.shape == (MANY,)
    assert np.issubdtype(actions.dtype, np.integer)
    assert stats.chisquare(np.bincount(actions, minlength=4), MANY * probabilities[0]).pvalue > 0.01


def several() -> MultiCategorical:
    return MultiCategorical((Categorical(LOGITS[:, :2]), Categorical(LOGITS[:, 2:]), Categorical(LOGITS[:, 1:])))


def test_several_choices_are_as_likely_as_their_product() -> None:
    parts = [softmax(part.logits, -1) for part in several().parts]
    joint = np.einsum("bi,bj,bk->bijk", *parts)
    for choices in itertools.product(range(2), range(2), range(3)):
        log_prob = LOG_PROB(several(), np.tile(choices, (6, 1)))
        np.testing.assert_allclose(np.exp(log_prob), joint[:, *choices], rtol=1e-4)
    np.testing.assert_allclose(several().entropy(), stats.entropy(joint.reshape(6, -1), axis=-1), rtol=1e-4)
    np.testing.assert_array_equal(several().mode(), np.stack([part.argmax(-1) for part in parts], -1))


@BOTH
def test_several_choices_are_drawn_independently(library: Any) -> None:
    one, other = np.array([[0.1, 0.6, 0.3]]), np.array([[0.5, 0.2, 0.3]])
    logits = [np.log(probabilities).astype(np.float32) for probabilities in (one, other)]
    actions = sampled(MultiCategorical(tuple(map(Categorical, logits))), library)
    assert actions.shape == (MANY, 2)
    assert np.issubdtype(actions.dtype, np.integer)
    counts = np.bincount(3 * actions[:, 0] + actions[:, 1], minlength=9)
    assert stats.chisquare(counts, MANY * np.outer(one, other).reshape(-1)).pvalue > 0.01


def log_prob(mean: Any, sigma: Any, action: Any) -> Any:
    """Return log-probabilities of the clipped normal for actions of a single dimension."""
    numbers = np.broadcast_arrays(*(np.asarray(part, np.float32)[..., None] for part in (mean, np.log(sigma), action)))
    return LOG_PROB(ClippedNormal(*numbers[:2]), numbers[2])


@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 0.5), (0.3, 1.0), (-1.5, 0.3), (0.9, 3.0)])
def test_the_density_inside_and_the_mass_on_the_border_are_1_together(mean: float, sigma: float) -> None:
    actions = (np.arange(1000) + 0.5) / 500 - 1
    inside = np.exp(log_prob(mean, sigma, actions)).sum() / 500
    border, normal = np.exp(log_prob(mean, sigma, [-1, 1])), stats.norm(mean, sigma)
    np.testing.assert_allclose(border, [normal.cdf(-1), normal.sf(1)], rtol=1e-4)
    np.testing.assert_allclose(inside + border.sum(), 1, atol=1e-4)


def test_the_clipped_normal_against_scipy() -> None:
    actions = np.concatenate([RNG.uniform(-1, 1, (40, 3)), RNG.choice([-1.0, 1.0, 0.5], (40, 3))]).astype(np.float32)
    normal = stats.norm(MEANS, np.exp(LOG_SIGMAS))
    parts = np.where(actions == 1, normal.logsf(1), np.where(actions == -1, normal.logcdf(-1), normal.logpdf(actions)))
    np.testing.assert_allclose(LOG_PROB(ClippedNormal(MEANS, LOG_SIGMAS), actions), parts.sum(-1), rtol=1e-4)


def test_the_tails_of_the_clipped_normal_against_scipy() -> None:
    distances = np.array([0.1, 1, 5, 10, 30, 100])  # in deviations, from the mean to the border
    for sign in (-1, 1):
        near, far = (log_prob(sign * (1 + side * 0.5 * distances), 0.5, sign) for side in (1, -1))
        np.testing.assert_allclose(near, stats.norm.logcdf(distances), rtol=1e-3, atol=1e-7)
        np.testing.assert_allclose(far, stats.norm.logcdf(-distances), rtol=1e-4)


def score(mean: Any, log_sigma: Any, action: Any) -> Any:
    """Return the gradients of the log-probability of one action by mean and log σ."""

    def of(mean: Any, log_sigma: Any) -> Any:
        return ClippedNormal(mean[None], log_sigma[None]).log_prob(action[None])

    return jax.grad(of, (0, 1))(mean, log_sigma)


SCORES = jax.jit(jax.vmap(score))


def test_the_gradient_on_the_border_is_that_of_the_tail() -> None:
    means, log_sigmas = np.float32([0.0, 0.9, 3.0, -4.0]), np.float32([0.0, -1.0, -0.5, 0.3])
    by_mean, by_sigma = SCORES(means, log_sigmas, np.ones(4, np.float32))
    # log P = log Φ(z), z = (mean - 1)/σ: by the mean φ(z)/Φ(z)/σ, by log σ -z·φ(z)/Φ(z)
    z = (means - 1.0) / np.exp(log_sigmas)
    ratio = np.exp(stats.norm.logpdf(z) - stats.norm.logcdf(z))
    np.testing.assert_allclose(by_mean, ratio / np.exp(log_sigmas), rtol=1e-3)
    np.testing.assert_allclose(by_sigma, -z * ratio, rtol=1e-3)


def test_the_gradient_inside_is_that_of_the_normal() -> None:
    by_mean, by_sigma = SCORES(np.float32([0.5]), np.float32([np.log(0.5)]), np.float32([0.0]))
    # z = (0 - 0.5)/0.5 = -1: by the mean z/σ = -2, by log σ z² - 1 = 0
    np.testing.assert_allclose([by_mean[0], by_sigma[0]], [-2, 0], atol=1e-5)


def test_gradients_are_finite_far_outside() -> None:
    means, log_sigmas, actions = np.meshgrid([-1e4, -30, 30, 1e4], [-5, 0, 2], [-1, -0.999, 0.5, 1])
    scores = SCORES(*(part.reshape(-1).astype(np.float32) for part in (means, log_sigmas, actions)))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 0.3), (0.8, 0.5), (-1.3, 1.0)])
def test_the_expected_score_is_zero(mean: float, sigma: float) -> None:
    actions = sampled(ClippedNormal(np.float32([[mean]]), np.float32([[np.log(sigma)]])), jnp)[:, 0]
    assert 0 < (np.abs(actions) == 1).mean() < 1  # some of both kinds
    for slopes in SCORES(*np.broadcast_arrays(np.float32(mean), np.float32(np.log(sigma)), actions)):
        assert abs(slopes.mean()) < 3 * slopes.std() / MANY**0.5


@BOTH
def test_the_clipped_normal_draws_a_normal_and_clips_it(library: Any) -> None:
    actions = sampled(ClippedNormal(np.float32([[0.6, -9.0]]), np.log(np.float32([[0.5, 1.0]]))), library)
    assert actions.dtype == np.float32
    assert (actions[:, 1] == -1).all()
    inside = actions[np.abs(actions[:, 0]) < 1, 0]
    normal, within = stats.norm(0.6, 0.5), stats.truncnorm(-1.6 / 0.5, 0.4 / 0.5, 0.6, 0.5)
    for bound, tail in ((1, normal.sf(1)), (-1, normal.cdf(-1))):
        np.testing.assert_allclose((actions[:, 0] == bound).mean(), tail, atol=0.011)  # 3 deviations
    assert stats.kstest(inside, within.cdf).pvalue > 0.01


def test_mode_and_entropy_of_the_clipped_normal() -> None:
    distribution = ClippedNormal(MEANS, LOG_SIGMAS)
    np.testing.assert_array_equal(distribution.mode(), np.float32([[0.3, -1.0, 0.9]]))
    np.testing.assert_allclose(distribution.entropy(), stats.norm(0, np.exp(LOG_SIGMAS)).entropy().sum(-1), rtol=1e-5)


ROWS = {
    "categorical": lambda lane: Categorical(LOGITS[lane : lane + 3]),
    "several": lambda lane: MultiCategorical((Categorical(LOGITS[lane : lane + 3]), Categorical(LOGITS[:3]))),
    "clipped": lambda lane: ClippedNormal(LOGITS[lane : lane + 3], LOGITS[:3]),
    "squashed": lambda lane: SquashedNormal(LOGITS[lane : lane + 3], LOGITS[:3]),
}


@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS.keys())
def test_a_lane_in_numpy_draws_and_chooses_as_it_would_alone(make: Any) -> None:
    lanes: list[Distribution] = [make(lane) for lane in range(3)]
    together = stack(lanes).sample(LaneGenerators([5, 6, 7], [0, 1, 2]))
    for lane, distribution in enumerate(lanes):
        alone = stack([distribution]).sample(LaneGenerators([5 + lane], [lane]))
        np.testing.assert_array_equal(together[lane], alone[0])
        mode = jax.tree.map(jnp.asarray, distribution).mode()
        np.testing.assert_allclose(take(stack(lanes).mode(), lane), mode, rtol=1e-5)
    other = stack(lanes).sample(LaneGenerators([5, 6, 8], [0, 1, 2]))
    np.testing.assert_array_equal(other[:2], together[:2])
