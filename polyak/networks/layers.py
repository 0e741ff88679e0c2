"""Networks as frozen dataclasses of arrays that are called: `mlp(x)`. `actors` and `critics` are made of these.

Every network works on JAX arrays and on NumPy arrays alike: acting with a small net is faster in NumPy than through a
compiled program, and with a leading lane axis on parameters and inputs all lanes are one call. Inputs always carry a
batch axis. A network that may have batch norms takes their running statistics beside the input: `net(x, statistics)`
uses them, `net.train(x, statistics)` uses the batch's and returns new ones. `batch_norm.fresh_statistics` makes them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from polyak.lazy import jax, jnp
from polyak.networks.batch_norm import BatchNorm, BatchStyle, NetStatistics
from polyak.numerics.maths import orthonormal, squash
from polyak.tree import pytree, static
from polyak.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float

Architecture: TypeAlias = Literal["mlp", "simba"]


@dataclass(frozen=True)
class Style:
    """What the layers of a network are like; the hidden widths are given beside it."""

    architecture: Architecture = "mlp"
    activation: Literal["relu", "tanh"] = "relu"
    norm: BatchStyle | Literal["layer"] | None = None  # of the hidden layers; batch norm is put before the first too
    norm_after: bool = False  # after the activation, not before it
    orthogonal: bool = False  # initial weights: orthogonal, not uniform


PLAIN = Style()


def relu(x: Array) -> Array:
    """Return max(x, 0) in the array's own library; its gradient at 0 is 0."""
    return np.maximum(x, ZERO) if isinstance(x, np.ndarray) else jax.nn.relu(x)


ZERO = np.zeros((), np.float32)  # an array, with which NumPy computes faster than with a number


def concatenate(parts: Sequence[Array]) -> Array:
    """Join along the last axis in the arrays' own library."""
    return np.concatenate(parts, -1) if isinstance(parts[0], np.ndarray) else jnp.concatenate(parts, -1)


@pytree
class Linear:
    """x·W + b, with W stored `[in, out]` so that the product needs no transposition."""

    weight: Float[Array, "in out"]
    bias: Float[Array, "out"]

    @classmethod
    def create(cls, key: jax.Array, size_in: int, size_out: int, limit: Array | float | None = None) -> "Linear":
        """Draw weights and biases from U(±limit); the default limit is 1/√size_in.

        Source: Lillicrap et al. 2016, section 7 (which gives the final layer the limit 3e-3).
        """
        limit = size_in**-0.5 if limit is None else limit
        numbers = jax.random.uniform(key, (size_in + 1, size_out), minval=-limit, maxval=limit)
        return cls(numbers[:-1], numbers[-1])

    @classmethod
    def orthogonal(cls, key: jax.Array, size_in: int, size_out: int, gain: Array | float) -> "Linear":
        """Draw orthogonal weights, scaled by a gain, without bias. Source: Saxe et al. 2014 (arXiv 1312.6120)."""
        columns = orthonormal(jax.random.normal(key, (max(size_in, size_out), min(size_in, size_out))))
        return cls(gain * (columns.T if size_in < size_out else columns), jnp.zeros(size_out))

    @classmethod
    def he(cls, key: jax.Array, size_in: int, size_out: int) -> "Linear":
        """Draw weights from a truncated normal of variance 2/size_in, without bias. Source: He et al. 2015."""
        return cls(jax.nn.initializers.he_normal()(key, (size_in, size_out)), jnp.zeros(size_out))

    def __call__(self, x: Float[Array, "batch in"]) -> Float[Array, "batch out"]:
        """Apply to a batch."""
        weight = self.weight
        if isinstance(weight, np.ndarray) and weight.ndim == 2 and isinstance(x, np.ndarray):
            return x.dot(weight) + self.bias[None]  # the same bits, in two thirds of the time for a single sample
        return x @ self.weight + self.bias[..., None, :]


@pytree
class LayerNorm:
    """Normalize each sample over its features, then scale and shift. Source: Ba et al. 2016 (arXiv 1607.06450)."""

    scale: Float[Array, "features"]
    shift: Float[Array, "features"]

    @classmethod
    def create(cls, features: int) -> "LayerNorm":
        """Start without scaling or shifting."""
        return cls(jnp.ones(features), jnp.zeros(features))

    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch features"]:
        """Apply to a batch."""
        centered = x - x.mean(-1, keepdims=True)
        deviation = ((centered**2).mean(-1, keepdims=True) + 1e-6) ** 0.5
        return centered / deviation * self.scale[..., None, :] + self.shift[..., None, :]


@pytree
class MLP:
    """Linear layers with an activation after each but, where `linear_end`, the last; norms go before it, or after.

    `norms[0]` normalizes the input (None: not), `norms[i]` hidden layer i; the tuple is empty without norms.
    """

    layers: tuple[Linear, ...]
    norms: tuple[BatchNorm | LayerNorm | None, ...]
    linear_end: bool = static()
    style: Style = static(default=PLAIN)

    @classmethod
    def create(
        cls,
        key: jax.Array,
        sizes: Sequence[int],
        linear_end: bool,
        final_init: Array | float | None = None,
        style: Style = PLAIN,
        name: str = "",
    ) -> "MLP":
        """Make layers between consecutive `sizes`.

        `final_init` is the last layer's limit, or its gain where initial weights are orthogonal (those of the others
        then have the gain √2). `name` begins the names of the batch norms.
        """
        pairs = list(itertools.pairwise(sizes))
        keys = jax.random.split(key, max(len(pairs), 1))
        inits = [*[None] * (len(pairs) - 1), final_init]
        layers = tuple(_linear(k, *pair, init, style) for k, pair, init in zip(keys, pairs, inits, strict=False))
        return cls(layers, _norms(sizes[:-1] if linear_end else sizes, style, name), linear_end, style)

    def decayed(self) -> "MLP":
        """Say for each leaf whether L2 decay applies: to weights, unless a normalization follows.

        There their size changes nothing but how fast they turn, so decay would only make them turn faster and faster.
        Source: van Laarhoven 2017 (arXiv 1706.05350).
        """
        followed = len(self.norms) - 1  # so many layers, from the first
        layers = [
            jax.tree.map(lambda leaf, free=i >= followed: free and leaf.ndim > 1, layer)
            for i, layer in enumerate(self.layers)
        ]
        return MLP(tuple(layers), jax.tree.map(lambda leaf: False, self.norms), self.linear_end, self.style)

    def __call__(self, x: Array, statistics: NetStatistics | None = None) -> Array:
        """Apply to `[batch, in]`, normalizing by the running statistics."""
        return self._walk(x, statistics or {}, training=False)[0]

    def train(self, x: Array, statistics: NetStatistics) -> tuple[Array, NetStatistics]:
        """Apply to `[batch, in]`, normalizing by the batch's statistics; return the advanced running ones too."""
        return self._walk(x, statistics, training=True)

    def _walk(self, x: Array, statistics: NetStatistics, training: bool) -> tuple[Array, NetStatistics]:
        activation, active = ACTIVATIONS[self.style.activation], len(self.layers) - self.linear_end
        if not self.norms:  # acting feels what is spared here
            for i, layer in enumerate(self.layers):
                x = activation(layer(x)) if i < active else layer(x)
            return x, statistics
        running = dict(statistics)

        def normalized(x: Array, i: int) -> Array:
            norm = self.norms[i] if i < len(self.norms) else None
            if not isinstance(norm, BatchNorm):
                return x if norm is None else norm(x)
            if not training:
                return norm(x, statistics[norm.name])
            x, running[norm.name] = norm.train(x, statistics[norm.name])
            return x

        before, after = (self.style.norm_after == late for late in (False, True))
        x = normalized(x, 0)
        for i, layer in enumerate(self.layers, start=1):
            x = layer(x)
            if before:
                x = normalized(x, i)
            if i <= active:
                x = activation(x)
            if after:
                x = normalized(x, i)
        return x, running


def _linear(key: jax.Array, size_in: int, size_out: int, init: Array | float | None, style: Style) -> Linear:
    if style.orthogonal:
        return Linear.orthogonal(key, size_in, size_out, 2**0.5 if init is None else init)
    return Linear.create(key, size_in, size_out, init)


def _norms(sizes: Sequence[int], style: Style, name: str) -> tuple[BatchNorm | LayerNorm | None, ...]:
    if style.norm is None:
        return ()
    if style.norm == "layer":
        return (None, *(LayerNorm.create(size) for size in sizes[1:]))
    return tuple(BatchNorm.create(size, style.norm, f"{name}{i}") for i, size in enumerate(sizes))


ACTIVATIONS = {"relu": relu, "tanh": squash}
