"""Networks: shapes, initial limits, NumPy and lanes, batch-norm modes, bounds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.networks.actors import Actor
from polyak.networks.batch_norm import STYLES, BatchStyle, Normalization, fresh_statistics
from polyak.networks.critics import Critic
from polyak.networks.layers import MLP, Linear, Style, relu
from polyak.tree import named_leaves, replace, take
from polyak.types import Box, EnvSpec, vector
from tests.fixtures.compare import assert_close, differs, stack

OBS, ACTION, BATCH, LANES = 3, 2, 5, 4
SPEC = EnvSpec(vector(OBS), Box(ACTION))
RNG = np.random.default_rng(0)
OBSERVATIONS = RNG.normal(size=(LANES, BATCH, OBS)).astype(np.float32)
ACTIONS = RNG.uniform(-1, 1, size=(LANES, BATCH, ACTION)).astype(np.float32)

CRITICS = {
    "standard": ((), (), (16, 16)),
    "paper": ((16,), (), (8,)),
    "two streams": ((8,), (8,), (4,)),
    "linear": ((), (), ()),
}


def critic(shape: str = "standard", seed: int = 0, batch_norm: Normalization = "off") -> Critic:
    return Critic.create(jax.random.key(seed), SPEC, CRITICS[shape], style=Style(norm=STYLES[batch_norm]))


def actor(bound: Any = "tanh", seed: int = 0, batch_norm: Normalization = "off") -> Actor:
    return Actor.create(jax.random.key(seed), SPEC, (16, 8), bound, style=Style(norm=STYLES[batch_norm]))


def used(net: Any) -> Any:
    """Return batch-norm statistics as they are after some training."""
    shift = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: leaf + shift.uniform(0, 1, leaf.shape).astype(leaf.dtype), fresh_statistics(net))


def test_linear() -> None:
    linear = Linear(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([10.0, 20.0]))
    # 1·1 + 1·3 + 10 = 14, 1·2 + 1·4 + 20 = 26;  2·1 + 10 = 12, 2·2 + 20 = 24
    np.testing.assert_array_equal(linear(jnp.array([[1.0, 1.0], [2.0, 0.0]])), [[14, 26], [12, 24]])


@pytest.mark.parametrize(("limit", "expected"), [(None, 1 / 10), (3e-3, 3e-3)])
def test_linear_starts_uniform_within_its_limit(limit: float | None, expected: float) -> None:
    linear = Linear.create(jax.random.key(0), 100, 50, limit)
    for numbers in (linear.weight, linear.bias):
        assert 0.9 * expected < jnp.abs(numbers).max() <= expected
        np.testing.assert_allclose(numbers.mean(), 0, atol=0.2 * expected)


def test_only_the_final_layer_starts_small() -> None:
    mlp = MLP.create(jax.random.key(0), (OBS, 16, 16, 1), linear_end=True, final_init=1e-3)
    largest = [float(jnp.abs(layer.weight).max()) for layer in mlp.layers]
    assert largest[-1] <= 1e-3
    assert all(0.8 * size**-0.5 < limit <= size**-0.5 for limit, size in zip(largest, (OBS, 16), strict=False))


def test_mlp_is_linear_layers_with_relu_between() -> None:
    mlp = MLP.create(jax.random.key(0), (OBS, 8, 2), linear_end=True)
    x = OBSERVATIONS[0]
    assert_close(mlp(x), np.maximum(x @ mlp.layers[0].weight + mlp.layers[0].bias[None], 0) @ mlp.layers[1].weight
                 + mlp.layers[1].bias[None])  # fmt: skip
    assert (mlp(x) < 0).any()
    assert (replace(mlp, linear_end=False)(x) >= 0).all()


def test_gradients_are_taken_on_numpy_batches_too() -> None:
    net = actor()

    def loss(net: Actor, obs: Any) -> Any:
        return net(obs).sum()

    assert_close(jax.grad(loss)(net, OBSERVATIONS[0]), jax.grad(loss)(net, jnp.asarray(OBSERVATIONS[0])))


def test_no_layers_are_the_identity() -> None:
    mlp = MLP.create(jax.random.key(0), (OBS,), linear_end=False)
    np.testing.assert_array_equal(mlp(OBSERVATIONS[0]), OBSERVATIONS[0])


@pytest.mark.parametrize("shape", CRITICS)
def test_critics_of_all_shapes(shape: str) -> None:
    net = critic(shape)
    values = net(OBSERVATIONS[0], ACTIONS[0])
    assert values.shape == (BATCH,)
    assert differs(values, net(OBSERVATIONS[1], ACTIONS[0]))
    assert differs(values, net(OBSERVATIONS[0], ACTIONS[1]))
    widths = [[layer.bias.shape[0] for layer in part.layers] for part in (net.state, net.action, net.joint)]
    assert widths == [list(CRITICS[shape][0]), list(CRITICS[shape][1]), [*CRITICS[shape][2], 1]]


def test_the_joint_layers_see_features_of_state_and_action() -> None:
    assert critic("two streams").joint.layers[0].weight.shape == (8 + 8, 4)
    assert critic("paper").joint.layers[0].weight.shape == (16 + ACTION, 8)


@pytest.mark.parametrize("batch_norm", ["off", "batch"])
@pytest.mark.parametrize("bound", ["tanh", "clip"])
def test_actor_in_numpy_equals_jax_and_lanes_equal_each_alone(bound: Any, batch_norm: Normalization) -> None:
    nets = [actor(bound, seed, batch_norm) for seed in range(LANES)]
    together = stack(nets)(OBSERVATIONS, stack([used(net) for net in nets]))
    assert isinstance(together, np.ndarray)
    assert together.shape == (LANES, BATCH, ACTION)
    for lane, net in enumerate(nets):
        assert_close(take(together, lane), net(jnp.asarray(OBSERVATIONS[lane]), used(net)))


@pytest.mark.parametrize("batch_norm", ["off", "batch"])
@pytest.mark.parametrize("shape", CRITICS)
def test_critic_in_numpy_equals_jax_and_lanes_equal_each_alone(shape: str, batch_norm: Normalization) -> None:
    nets = [critic(shape, seed, batch_norm) for seed in range(LANES)]
    together = stack(nets)(OBSERVATIONS, ACTIONS, stack([used(net) for net in nets]))
    assert isinstance(together, np.ndarray)
    for lane, net in enumerate(nets):
        alone = net(jnp.asarray(OBSERVATIONS[lane]), jnp.asarray(ACTIONS[lane]), used(net))
        assert_close(take(together, lane), alone)


def test_the_bounds() -> None:
    for bound, expected in (("tanh", np.tanh([[3.0, -0.5]])), ("clip", [[1.0, -0.5]])):
        net = replace(actor(bound), mlp=lambda obs: obs)
        np.testing.assert_allclose(net(np.float32([[3.0, -0.5]])), expected, rtol=1e-6)


def test_a_saturated_actor_learns_its_way_back() -> None:
    net = actor("clip")
    outside = replace(net, mlp=replace(net.mlp, layers=(*net.mlp.layers[:-1], Linear(
        jnp.zeros((8, ACTION)), jnp.array([3.0, -3.0])))))  # fmt: skip
    gradient = jax.grad(lambda net: (net(jnp.asarray(OBSERVATIONS[0])) ** 2).sum())(outside)
    assert (jnp.sign(gradient.mlp.layers[-1].bias) == jnp.array([1, -1])).all()


def test_batch_norm_covers_the_observation_the_actor_and_the_critic_before_the_action() -> None:
    assert [norm.scale.shape[0] for norm in actor(batch_norm="batch").mlp.norms] == [OBS, 16, 8]
    paper = critic("paper", batch_norm="batch")
    assert [norm.scale.shape[0] for norm in paper.state.norms] == [OBS, 16]
    assert paper.action.norms == paper.joint.norms == ()
    assert [norm.scale.shape[0] for norm in critic("standard", batch_norm="batch").state.norms] == [OBS]
    assert fresh_statistics(actor()) == fresh_statistics(critic()) == {}


def test_batch_norm_comes_before_the_relu() -> None:
    net = MLP.create(jax.random.key(0), (OBS, 16, 1), linear_end=True, style=Style(norm=BatchStyle()))
    x = jnp.asarray(OBSERVATIONS[0])
    normalized = (x - x.mean(0)[None]) / jnp.sqrt(x.var(0) + 1e-5)[None]
    hidden = net.layers[0](normalized)
    hidden = relu((hidden - hidden.mean(0)[None]) / jnp.sqrt(hidden.var(0) + 1e-5)[None])
    assert_close(net.train(x, fresh_statistics(net))[0], net.layers[1](hidden))


@pytest.mark.parametrize(
    "net", [actor(batch_norm="batch"), critic("paper", batch_norm="batch")], ids=["actor", "critic"]
)
def test_training_moves_every_statistic_and_evaluation_none(net: Any) -> None:
    inputs = [jnp.asarray(OBSERVATIONS[0])] + ([jnp.asarray(ACTIONS[0])] if isinstance(net, Critic) else [])
    out, statistics = net.train(*inputs, fresh_statistics(net))
    assert differs(out, net(*inputs, fresh_statistics(net)))
    for name, before in fresh_statistics(net).items():
        assert differs(before.mean, statistics[name].mean)
        assert differs(before.variance, statistics[name].variance)


def test_without_batch_norm_training_and_evaluation_agree() -> None:
    net, obs = actor(), jnp.asarray(OBSERVATIONS[0])
    out, statistics = net.train(obs, {})
    assert statistics == {}
    np.testing.assert_array_equal(out, net(obs))


def test_decay_spares_biases_norms_and_the_weights_before_a_norm() -> None:
    plain = named_leaves(critic("paper").decayed())
    assert {name for name, decays in plain.items() if decays} == {
        *("state.layers.0.weight", "joint.layers.0.weight", "joint.layers.1.weight"),
    }
    normalized = named_leaves(critic("paper", batch_norm="batch").decayed())
    assert {name for name, decays in normalized.items() if decays} == {"joint.layers.0.weight", "joint.layers.1.weight"}
    assert len(normalized) == len(jax.tree.leaves(critic("paper", batch_norm="batch")))
    two_streams = named_leaves(critic("two streams", batch_norm="batch").decayed())
    assert two_streams["action.layers.0.weight"]
    assert not two_streams["state.layers.0.weight"]
