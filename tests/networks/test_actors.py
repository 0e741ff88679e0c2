"""Actors that answer with distributions: their parameters, their bounds, their kinds of action."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.networks.actors import SquashedActor, StochasticActor, outputs
from polyak.networks.distributions import Categorical, ClippedNormal, MultiCategorical
from polyak.networks.encoders import Vector
from polyak.networks.layers import PLAIN, Style
from polyak.tree import replace, take
from polyak.types import Box, Discrete, EnvSpec, MultiDiscrete, vector
from tests.fixtures.compare import assert_close, stack

KEY = jax.random.key(0)
BOX = EnvSpec(vector(3), Box(2))
OBS = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)  # [lane, batch, obs]
KINDS = [Box(2), Discrete(4), MultiDiscrete((2, 3))]
RAW = np.float32([[0.5, -7.0, -1e4, 0.0], [0.5, -7.0, 1e4, 1.0]])  # two means, and what becomes of two deviations


CALL = jax.jit(lambda net, obs: net(obs))


def saying(sigma: Any) -> SquashedActor:
    """Make an actor whose network puts out what it is given."""
    return SquashedActor(Vector(), lambda raw: raw, sigma)  # type: ignore[arg-type]


@pytest.mark.parametrize("library", [np, jnp], ids=["numpy", "jax"])
@pytest.mark.parametrize(
    ("sigma", "low", "high", "of_0"),
    [
        ("clamp", -20.0, 2.0, 0.0),
        ("tanh", -5.0, 2.0, -1.5),  # half-way
        ("softplus", np.log(1e-6), np.log(1e4), np.log(np.log(2))),  # σ = softplus(x): log 2 at 0
    ],
)
def test_the_bounds_of_the_deviation(sigma: str, low: float, high: float, of_0: float, library: Any) -> None:
    distribution = saying(sigma)(library.asarray(RAW))
    np.testing.assert_array_equal(distribution.mean, RAW[:, :2])
    np.testing.assert_allclose(distribution.log_sigma[:, 0], [low, high], rtol=1e-4)
    np.testing.assert_allclose(distribution.log_sigma[0, 1], of_0, atol=1e-4)
    assert isinstance(distribution.log_sigma, np.ndarray if library is np else jax.Array)


def test_the_deviation_follows_the_network_within_its_bounds() -> None:
    # clamped it is log σ itself; by tanh -5 + 3.5·(tanh 1 + 1); softplus(1) = log(1 + e) = 1.31326
    expected = {"clamp": 1.0, "tanh": -5 + 3.5 * (np.tanh(1) + 1), "softplus": np.log(1.31326)}
    for sigma, log_sigma in expected.items():
        np.testing.assert_allclose(saying(sigma)(RAW).log_sigma[1, 1], log_sigma, rtol=1e-4)


@pytest.mark.parametrize("sigma", ["clamp", "tanh", "softplus"])
def test_gradients_of_a_squashed_actor_are_finite_far_outside(sigma: str) -> None:
    gradient = jax.jit(jax.grad(lambda raw: saying(sigma)(raw).sample_with_log_prob(KEY)[1].sum()))
    assert np.isfinite(gradient(RAW)).all()


def test_a_squashed_actor_trains_as_it_acts_and_in_numpy_as_in_jax() -> None:
    nets = [in_numpy(SquashedActor.create(jax.random.key(seed), BOX, (8,))) for seed in range(4)]
    together = stack(nets)(OBS)
    assert isinstance(together.mean, np.ndarray)
    for lane, net in enumerate(nets):
        assert_close(take(together, lane), CALL(net, OBS[lane]))
        assert_close(take(together, lane), net.train(OBS[lane], ())[0])


def stochastic(kind: Any, seed: int = 0, final_init: float = 1.0) -> StochasticActor:
    return in_numpy(
        StochasticActor.create(jax.random.key(seed), EnvSpec(vector(3), kind), (8,), final_init, Style(orthogonal=True))
    )


def in_numpy(net: Any) -> Any:
    return jax.tree.map(np.asarray, net)


def test_a_box_gets_a_normal_whose_deviation_does_not_depend_on_what_is_seen() -> None:
    actor = replace(stochastic(Box(2)), log_sigma=np.float32([0.5, -1.0]))
    distribution = actor(OBS[0])
    assert isinstance(distribution, ClippedNormal)
    np.testing.assert_array_equal(distribution.mean, actor.mlp(OBS[0]))
    np.testing.assert_array_equal(distribution.log_sigma, [[0.5, -1.0]] * 5)
    np.testing.assert_array_equal(stochastic(Box(2)).log_sigma, [0, 0])


def test_indices_get_categoricals_of_the_networks_outputs() -> None:
    one, several = stochastic(Discrete(4)), stochastic(MultiDiscrete((2, 3)))
    distribution, joint = one(OBS[0]), several(OBS[0])
    assert isinstance(distribution, Categorical)
    assert isinstance(joint, MultiCategorical)
    np.testing.assert_array_equal(distribution.logits, one.mlp(OBS[0]))
    logits = several.mlp(OBS[0])
    for part, columns in zip(joint.parts, (slice(0, 2), slice(2, 5)), strict=True):
        np.testing.assert_array_equal(part.logits, logits[:, columns])
    assert one.log_sigma is several.log_sigma is None


def test_how_many_outputs_a_kind_of_action_needs() -> None:
    assert [outputs(kind) for kind in KINDS] == [2, 4, 5]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_stochastic_actor_in_numpy_equals_jax_and_lanes_equal_each_alone(kind: Any) -> None:
    nets = [stochastic(kind, seed) for seed in range(4)]
    together = stack(nets)(OBS)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(together))
    for lane, net in enumerate(nets):
        assert_close(take(together, lane), CALL(net, OBS[lane]))


@pytest.mark.parametrize("kind", KINDS[1:], ids=str)
def test_with_small_final_weights_all_choices_begin_almost_equally_likely(kind: Any) -> None:
    entropy = jax.jit(lambda net: net(OBS[0]).entropy())(stochastic(kind, final_init=0.01))
    np.testing.assert_allclose(entropy, np.log(4 if isinstance(kind, Discrete) else 6), rtol=1e-3)


def test_the_style_reaches_the_network() -> None:
    assert SquashedActor.create(KEY, BOX, (8, 8), style=Style("simba")).mlp.blocks
    assert stochastic(Box(2)).mlp.style.orthogonal
    assert SquashedActor.create(KEY, BOX, (8,)).mlp.style == PLAIN
