"""Encoders: what networks read observations with. They turn whatever is observed into one vector of features.

A vector is its own features, at no cost. An image goes through a small convolutional network. Named parts are each read
by an encoder and joined in their order. `create` chooses by the observation alone, so algorithms need not know which it
is. As all networks, encoders work on NumPy and JAX arrays alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from polyak.errors import UsageError
from polyak.lazy import jax
from polyak.networks.layers import MLP, PLAIN, Linear, Style, concatenate, relu
from polyak.tree import pytree, static
from polyak.types import Array, ArraySpec, Obs, Observation

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

CHANNELS, KERNEL, STRIDE = 32, 3, 2  # of every convolution
SMALL = 4  # pixels of the shorter side at which convolutions end


@pytree
class Vector:
    """Reads a vector, which is returned as it is. It has no leaves."""

    def __call__(self, obs: Float[Array, "batch obs"]) -> Float[Array, "batch obs"]:
        """Return the observations."""
        return obs


@pytree
class Convolutional:
    """Reads an image: convolutions of 32 filters, 3 × 3 with stride 2 and relu, until a side has 4 pixels or less.

    The bytes are scaled to [0, 1]. A convolution is computed as a product with the patches of its input, so that NumPy
    can compute it too.
    """

    layers: tuple[Linear, ...]  # each [KERNEL² · channels, CHANNELS], patch rows and columns first

    @classmethod
    def create(cls, key: jax.Array, image: ArraySpec) -> "Convolutional":
        """Make the convolutions for images `[height, width, channels]`."""
        layers, shape = list[Linear](), image.shape
        while min(shape[:2]) > SMALL:
            key, layer_key = jax.random.split(key)
            layers.append(Linear.create(layer_key, KERNEL**2 * shape[2], CHANNELS))
            shape = _convolved(shape)
        return cls(tuple(layers))

    @staticmethod
    def features(image: ArraySpec) -> int:
        """Count the features of an image."""
        shape = image.shape
        while min(shape[:2]) > SMALL:
            shape = _convolved(shape)
        return ArraySpec(shape).size

    def __call__(self, obs: UInt8[Array, "batch height width channels"]) -> Float[Array, "batch feature"]:
        """Return the features of a batch of images."""
        x = obs.astype(np.float32) * SCALE
        for layer in self.layers:
            patches = _patches(x)
            *lanes, batch, height, width, size = patches.shape
            x = relu(layer(patches.reshape(*lanes, batch * height * width, size)))
            x = x.reshape(*lanes, batch, height, width, CHANNELS)
        return x.reshape(*x.shape[:-3], -1)


SCALE = np.float32(1 / 255)


def _convolved(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape of what a convolution makes of an image."""
    height, width = ((side - KERNEL) // STRIDE + 1 for side in shape[:2])
    return height, width, CHANNELS


def _patches(x: Array) -> Array:
    """Return what each place of a convolution sees, `[..., height, width, KERNEL² · channels]`."""
    height, width, _ = _convolved(x.shape[-3:])
    rows, columns = _seen(height), _seen(width)
    return concatenate([x[..., row, column, :] for row in rows for column in columns])


def _seen(count: int) -> list[slice]:
    """Return which pixels each row, or column, of a kernel sees at its `count` places."""
    return [slice(i, i + STRIDE * (count - 1) + 1, STRIDE) for i in range(KERNEL)]


@pytree
class Joined:
    """Reads named parts, each by its own encoder, and joins their features."""

    encoders: tuple[Vector | Convolutional, ...]
    names: tuple[str, ...] = static()

    def __call__(self, obs: Obs) -> Array:
        """Return the features of a batch of observations, a dictionary of arrays by name."""
        return concatenate([encoder(obs[name]) for name, encoder in zip(self.names, self.encoders, strict=True)])


AnyEncoder: TypeAlias = Vector | Convolutional | Joined


def create(key: jax.Array, obs: Observation) -> AnyEncoder:
    """Make what reads these observations for a network that is made with this key.

    The other layers of the network have the same initial weights whatever it reads.
    """
    key = jax.random.fold_in(key, OF_ENCODERS)
    if isinstance(obs, ArraySpec):
        return _of_array(key, obs)
    keys = jax.random.split(key, len(obs))
    encoders = [_of_array(one, part) for one, (_, part) in zip(keys, obs, strict=True)]
    return Joined(tuple(encoders), tuple(name for name, _ in obs))


OF_ENCODERS = 2**31 - 1


def _of_array(key: jax.Array, obs: ArraySpec) -> Vector | Convolutional:
    if obs.is_image:
        return Convolutional.create(key, obs)
    if obs.is_vector:
        return Vector()
    raise UsageError(f"no network reads observations of {obs}: add what reads them to polyak/networks/encoders.py")


def features(obs: Observation) -> int:
    """Count the features that the encoder of these observations puts out."""
    if isinstance(obs, ArraySpec):
        return Convolutional.features(obs) if obs.is_image else obs.size
    return sum(features(part) for _, part in obs)


@pytree
class Trunk:
    """An encoder and hidden layers, whose features several networks share."""

    encoder: AnyEncoder
    mlp: MLP

    @classmethod
    def create(cls, key: jax.Array, obs: Observation, layers: Sequence[int], style: Style = PLAIN) -> "Trunk":
        """Make a trunk with the given hidden layers; without any, its features are the encoder's."""
        return cls(create(key, obs), MLP.create(key, (features(obs), *layers), False, style=style))

    def __call__(self, obs: Obs) -> Array:
        """Return features `[batch, feature]`."""
        return self.mlp(self.encoder(obs))
