"""What layers can be like: LayerNorm, activations, orthogonal weights, norms before or after, SimBa."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.networks.batch_norm import BatchStyle, fresh_statistics
from polyak.networks.layers import MLP, LayerNorm, Linear, Style
from polyak.networks.simba import Block, Simba, network, train
from polyak.tree import named_leaves, replace, take
from tests.fixtures.compare import assert_close, differs, stack

SIZES = (3, 8, 8, 2)
X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)  # [lane, batch, in]
KEY = jax.random.key(0)
LAYER = Style(norm="layer")


def shaken(net: Any, seed: int = 1) -> Any:
    """Return a network in NumPy as it is after some training: no scale is 1, no shift or bias 0."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: np.asarray(leaf) + rng.normal(0, 0.3, leaf.shape).astype(np.float32), net)


def normalized(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def test_layer_norm_by_hand() -> None:
    norm = LayerNorm(jnp.array([2.0, 1.0, 1.0]), jnp.array([0.0, 0.0, 5.0]))
    # of (1, 3, 5) the mean is 3, the deviation √(8/3) = 1.63299: (-1.22474, 0, 1.22474), scaled and shifted
    found = norm(jnp.array([[1.0, 3.0, 5.0], [7.0, 7.0, 7.0]]))
    np.testing.assert_allclose(found, [[-2.44949, 0, 6.22474], [0, 0, 5]], rtol=1e-5)


def test_a_fresh_layer_norm_gives_every_sample_mean_0_and_deviation_1_whatever_the_others_are() -> None:
    norm = jax.tree.map(np.asarray, LayerNorm.create(3))
    out = norm(100 * X[0] + 7)
    np.testing.assert_allclose([out.mean(-1), out.std(-1)], [np.zeros(5), np.ones(5)], atol=1e-5)
    np.testing.assert_allclose(norm(100 * X[0, :1] + 7), out[:1], rtol=1e-5)


def test_layer_norm_stands_before_the_activation_of_hidden_layers_alone() -> None:
    net = shaken(MLP.create(KEY, SIZES, True, style=LAYER))
    assert net.norms[0] is None
    assert len(net.norms) == 3
    hidden = X[0]
    for layer, norm in zip(net.layers[:2], net.norms[1:], strict=True):
        hidden = np.maximum(normalized(hidden @ layer.weight + layer.bias) * norm.scale + norm.shift, 0)
    assert_close(net(X[0]), hidden @ net.layers[2].weight + net.layers[2].bias)


def test_norms_after_the_activation() -> None:
    net = shaken(MLP.create(KEY, SIZES, True, style=Style(norm=BatchStyle(), norm_after=True)))

    def norm(x: Any, i: int) -> Any:
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * net.norms[i].scale + net.norms[i].shift

    hidden = norm(X[0], 0)
    for i, layer in enumerate(net.layers[:2], start=1):
        hidden = norm(np.maximum(hidden @ layer.weight + layer.bias, 0), i)
    statistics = jax.tree.map(np.asarray, fresh_statistics(net))
    out, _ = net.train(X[0], statistics)
    assert_close(out, hidden @ net.layers[2].weight + net.layers[2].bias)
    before = replace(net, style=replace_style(net.style, norm_after=False))
    assert differs(out, before.train(X[0], statistics)[0])


def replace_style(style: Style, **changes: Any) -> Style:
    return Style(**{**vars(style), **changes})


def test_tanh_stands_between_the_layers_and_where_the_end_is_not_linear() -> None:
    net = shaken(MLP.create(KEY, SIZES, False, style=Style(activation="tanh")))
    hidden = X[0]
    for layer in net.layers:
        hidden = np.tanh(hidden @ layer.weight + layer.bias)
    assert_close(net(X[0]), hidden)


@pytest.mark.parametrize("sizes", [(3, 8), (8, 8), (8, 2)], ids=["wide", "square", "tall"])
def test_orthogonal_weights_keep_lengths_but_for_their_gain(sizes: tuple[int, int]) -> None:
    linear = jax.tree.map(np.asarray, Linear.orthogonal(KEY, *sizes, 2.0))
    product = linear.weight @ linear.weight.T if sizes[0] <= sizes[1] else linear.weight.T @ linear.weight
    np.testing.assert_allclose(product, 4 * np.eye(min(sizes)), atol=1e-5)
    np.testing.assert_array_equal(linear.bias, np.zeros(sizes[1]))


def test_the_hidden_layers_have_the_gain_root_2_and_the_last_its_own() -> None:
    net = MLP.create(KEY, SIZES, True, 0.01, Style(orthogonal=True))
    gains = [np.linalg.norm(layer.weight, 2) for layer in net.layers]  # the largest singular value
    np.testing.assert_allclose(gains, [2**0.5, 2**0.5, 0.01], rtol=1e-4)
    usual = MLP.create(KEY, SIZES, True, None, Style(orthogonal=True))
    np.testing.assert_allclose(np.linalg.norm(usual.layers[-1].weight, 2), 2**0.5, rtol=1e-4)


NETS = {
    "layer norm": lambda key: MLP.create(key, SIZES, True, style=LAYER),
    "tanh": lambda key: MLP.create(key, SIZES, True, style=Style(activation="tanh", orthogonal=True)),
    "simba": lambda key: Simba.create(key, SIZES),
}


@pytest.mark.parametrize("make", NETS.values(), ids=NETS.keys())
def test_in_numpy_equals_jax_and_lanes_equal_each_alone(make: Any) -> None:
    nets = [shaken(make(jax.random.key(seed)), seed) for seed in range(4)]
    together = stack(nets)(X)
    assert isinstance(together, np.ndarray)
    for lane, net in enumerate(nets):
        assert_close(take(together, lane), CALL(net, X[lane]))


CALL = jax.jit(lambda net, x: net(x))


@pytest.mark.parametrize("make", NETS.values(), ids=NETS.keys())
def test_without_batch_norm_training_gives_what_evaluation_gives(make: Any) -> None:
    net = shaken(make(KEY))
    out, statistics = train(net, X[0], fresh_statistics(net))
    np.testing.assert_array_equal(out, net(X[0]))
    assert jax.tree.leaves(statistics) == []


def test_simba_by_its_formula() -> None:
    net = shaken(Simba.create(KEY, SIZES))
    assert [block.widen.weight.shape for block in net.blocks] == [(8, 32), (8, 32)]

    def linear(x: Any, layer: Linear) -> Any:
        return x @ layer.weight + layer.bias

    def norm(x: Any, layer: LayerNorm) -> Any:
        return normalized(x) * layer.scale + layer.shift

    x = linear(X[0], net.embedding)
    for block in net.blocks:
        x = x + linear(np.maximum(linear(norm(x, block.norm), block.widen), 0), block.narrow)
    assert_close(net(X[0]), linear(norm(x, net.norm), net.output))


def test_a_block_that_puts_out_nothing_is_the_identity() -> None:
    block, x = shaken(Simba.create(KEY, SIZES)).blocks[0], np.ones((2, 8))
    silent = Block(block.norm, block.widen, jax.tree.map(np.zeros_like, block.narrow))
    np.testing.assert_array_equal(silent(x), x)
    assert differs(block(x), x)


def test_the_blocks_of_simba_start_different_and_its_output_within_its_limit() -> None:
    net = Simba.create(KEY, SIZES, 1e-3)
    assert differs(net.blocks[0].widen, net.blocks[1].widen)
    assert 0 < np.abs(net.output.weight).max() <= 1e-3
    widen = net.blocks[0].widen
    np.testing.assert_allclose(widen.weight.std(), (2 / 8) ** 0.5, rtol=0.15)
    assert not widen.bias.any()
    for layer, name in ((net.embedding, "embedding"), (Simba.create(KEY, SIZES).output, "output")):
        weight = np.asarray(layer.weight)
        columns = weight if weight.shape[0] >= weight.shape[1] else weight.T
        np.testing.assert_allclose(columns.T @ columns, np.eye(columns.shape[1]), atol=1e-5, err_msg=name)


def test_decay_applies_to_all_weights_of_simba_and_spares_those_before_a_layer_norm() -> None:
    simba = named_leaves(Simba.create(KEY, SIZES).decayed())
    assert all(decays == name.endswith("weight") for name, decays in simba.items())
    assert sum(simba.values()) == 6
    layer = named_leaves(MLP.create(KEY, SIZES, True, style=LAYER).decayed())
    assert [name for name, decays in layer.items() if decays] == ["layers.2.weight"]


def test_the_architecture_asked_for_is_made() -> None:
    assert isinstance(network(KEY, SIZES, style=Style("simba")), Simba)
    mlp = network(KEY, SIZES, 1e-3, LAYER)
    assert isinstance(mlp, MLP)
    assert (mlp.linear_end, mlp.style) == (True, LAYER)
    assert np.abs(mlp.layers[-1].weight).max() <= 1e-3
