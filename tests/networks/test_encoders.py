"""Encoders: what a vector costs, what an image becomes, how named parts are joined; NumPy, JAX and lanes alike."""

from typing import Any

import jax
import numpy as np
import pytest

from polyak.errors import UsageError
from polyak.networks import encoders
from polyak.networks.actors import Actor
from polyak.networks.encoders import Convolutional, Trunk
from polyak.tree import take
from polyak.types import ArraySpec, Box, EnvSpec, vector
from tests.fixtures.compare import assert_close, assert_identical, stack

KEY, RNG = jax.random.key(0), np.random.default_rng(0)
IMAGE = ArraySpec((12, 9, 2), "uint8")
NAMED = (("z", vector(3)), ("eye", IMAGE), ("a", vector(2)))


def observed(obs: Any, *axes: int) -> Any:
    if not isinstance(obs, ArraySpec):
        return {name: observed(part, *axes) for name, part in obs}
    if obs.dtype == "uint8":
        return RNG.integers(256, size=(*axes, *obs.shape), dtype=np.uint8)
    return RNG.normal(size=(*axes, *obs.shape)).astype(np.float32)


def test_a_vector_is_its_own_features_without_leaves() -> None:
    encoder, obs = encoders.create(KEY, vector(3)), observed(vector(3), 5)
    assert encoder(obs) is obs
    assert not jax.tree.leaves(encoder)


def test_an_image_goes_through_convolutions() -> None:
    """As XLA convolves, from 12 × 9 over 5 × 4 places; there the shorter side has no more than 4 pixels."""
    net, obs = Convolutional.create(KEY, IMAGE), observed(IMAGE, 5)
    (layer,) = net.layers
    kernel = layer.weight.reshape(3, 3, 2, 32)
    expected = jax.lax.conv_general_dilated(
        obs.astype(np.float32) / 255, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    expected = jax.nn.relu(expected + layer.bias[None, None, None]).reshape(5, -1)
    assert expected.shape == (5, encoders.features(IMAGE)) == (5, 5 * 4 * 32)
    np.testing.assert_allclose(net(obs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "features"), [((8, 8, 3), 288), ((84, 84, 4), 512), ((4, 40, 1), 160), ((9, 9, 1), 512)]
)
def test_the_number_of_features(shape: tuple[int, ...], features: int) -> None:
    image = ArraySpec(shape, "uint8")
    assert encoders.features(image) == features
    assert encoders.create(KEY, image)(observed(image, 2)).shape == (2, features)


def test_named_parts_are_joined_in_their_order() -> None:
    encoder, obs = encoders.create(KEY, NAMED), observed(NAMED, 5)
    features = np.asarray(encoder(obs))
    np.testing.assert_array_equal(features[:, :3], obs["z"])
    np.testing.assert_array_equal(features[:, -2:], obs["a"])
    assert features.shape == (5, encoders.features(NAMED)) == (5, 3 + 640 + 2)


@pytest.mark.parametrize("obs", [IMAGE, NAMED], ids=["image", "named"])
def test_lanes_in_numpy_do_what_each_does_compiled(obs: Any) -> None:
    nets = [Actor.create(jax.random.key(seed), EnvSpec(obs, Box(2)), (8,)) for seed in range(3)]
    seen = observed(obs, 3, 4)
    together = stack(nets)(seen)
    assert isinstance(together, np.ndarray)
    for i, net in enumerate(nets):
        assert_close(together[i], jax.jit(lambda net, x: net(x))(net, take(seen, i)))


def test_the_other_layers_start_as_they_do_without_an_image() -> None:
    plain = Actor.create(KEY, EnvSpec(vector(640), Box(2)), (8,))
    assert_identical(plain.mlp, Actor.create(KEY, EnvSpec(IMAGE, Box(2)), (8,)).mlp)


def test_a_trunk_without_layers_is_its_encoder() -> None:
    obs = observed(NAMED, 5)
    np.testing.assert_array_equal(Trunk.create(KEY, NAMED, ())(obs), encoders.create(KEY, NAMED)(obs))


def test_an_array_that_nothing_reads_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no network reads observations of ArraySpec\(shape=\(2, 2\)"):
        encoders.create(KEY, (("a", vector(2)), ("b", ArraySpec((2, 2)))))
