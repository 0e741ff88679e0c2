"""Networks as frozen dataclasses of arrays that are called: `critic(obs, action)`.

Every network works on JAX arrays and on NumPy arrays alike: acting with a small net is faster in NumPy than through a
compiled program, and with a leading lane axis on parameters and inputs all lanes are one call. Inputs always carry a
batch axis. A network with batch normalization takes its running statistics
beside the input: `net(x, statistics)` uses them, `net.train(x, statistics)` uses the batch's and returns new ones.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from polyak import maths
from polyak.batch_norm import BatchNorm, Normalization, Statistics
from polyak.tree import pytree, static
from polyak.types import Array

Bound: TypeAlias = Literal["tanh", "clip"]


def relu(x: Array) -> Array:
    """Return max(x, 0) in the array's own library; its gradient at 0 is 0."""
    return np.maximum(x, 0.0) if isinstance(x, np.ndarray) else jax.nn.relu(x)


def tanh(x: Array) -> Array:
    """Return tanh(x) in the array's own library."""
    return np.tanh(x) if isinstance(x, np.ndarray) else jnp.tanh(x)


def concatenate(parts: Sequence[Array]) -> Array:
    """Join along the last axis in the arrays' own library."""
    return np.concatenate(parts, -1) if isinstance(parts[0], np.ndarray) else jnp.concatenate(parts, -1)


@pytree
class Linear:
    """x·W + b, with W stored `[in, out]` so that the product needs no transposition."""

    weight: Float[Array, "in out"]
    bias: Float[Array, "out"]

    @classmethod
    def create(cls, key: jax.Array, size_in: int, size_out: int, limit: Any = None) -> "Linear":
        """Draw weights and biases from U(±limit); the default limit is 1/√size_in.

        Source: Lillicrap et al. 2016, section 7 (which gives the final layer the limit 3e-3).
        """
        limit = size_in**-0.5 if limit is None else limit
        numbers = jax.random.uniform(key, (size_in + 1, size_out), minval=-limit, maxval=limit)
        return cls(numbers[:-1], numbers[-1])

    def __call__(self, x: Float[Array, "batch in"]) -> Float[Array, "batch out"]:
        """Apply to a batch."""
        return x @ self.weight + self.bias[..., None, :]


@pytree
class MLP:
    """Linear layers with ReLU after each but, where `linear_end`, the last; batch norm goes before the ReLU.

    `norms[0]` normalizes the input, `norms[i]` the output of hidden layer i; the tuple is empty without batch norm.
    """

    layers: tuple[Linear, ...]
    norms: tuple[BatchNorm, ...]
    linear_end: bool = static()

    @classmethod
    def create(
        cls,
        key: jax.Array,
        sizes: Sequence[int],
        linear_end: bool,
        final_init: Any = None,
        batch_norm: Normalization = "off",
    ) -> "MLP":
        """Make layers between consecutive `sizes`; `final_init` is the limit of the last layer's numbers."""
        pairs = list(itertools.pairwise(sizes))
        keys = jax.random.split(key, max(len(pairs), 1))
        limits = [None] * (len(pairs) - 1) + [final_init]
        layers = tuple(Linear.create(k, a, b, limit) for k, (a, b), limit in zip(keys, pairs, limits, strict=False))
        normalized = () if batch_norm == "off" else sizes[:-1] if linear_end else sizes
        return cls(layers, tuple(BatchNorm.create(size, batch_norm == "renorm") for size in normalized), linear_end)

    def statistics(self) -> tuple[Statistics, ...]:
        """Return fresh batch-norm statistics: an empty tuple without batch norm."""
        return tuple(norm.statistics() for norm in self.norms)

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
        return MLP(tuple(layers), jax.tree.map(lambda leaf: False, self.norms), self.linear_end)

    def __call__(self, x: Array, statistics: tuple[Statistics, ...] = ()) -> Array:
        """Apply to `[batch, in]`, normalizing by the running statistics."""
        if self.norms:
            x = self.norms[0](x, statistics[0])
        for i, layer in enumerate(self.layers, start=1):
            x = layer(x)
            if i < len(self.norms):
                x = self.norms[i](x, statistics[i])
            if i < len(self.layers) or not self.linear_end:
                x = relu(x)
        return x

    def train(self, x: Array, statistics: tuple[Statistics, ...]) -> tuple[Array, tuple[Statistics, ...]]:
        """Apply to `[batch, in]`, normalizing by the batch's statistics; return the advanced running ones too."""
        running = list(statistics)
        if self.norms:
            x, running[0] = self.norms[0].train(x, statistics[0])
        for i, layer in enumerate(self.layers, start=1):
            x = layer(x)
            if i < len(self.norms):
                x, running[i] = self.norms[i].train(x, statistics[i])
            if i < len(self.layers) or not self.linear_end:
                x = relu(x)
        return x, tuple(running)


@pytree
class Actor:
    """The deterministic policy μ(s): an MLP whose output is bounded to [-1, 1] by tanh or by clipping."""

    mlp: MLP
    bound: Bound = static()

    @classmethod
    def create(
        cls,
        key: jax.Array,
        obs_size: int,
        action_size: int,
        layers: Sequence[int],
        bound: Bound = "tanh",
        final_init: Any = None,
        batch_norm: Normalization = "off",
    ) -> "Actor":
        """Make an actor with the given hidden layers."""
        mlp = MLP.create(key, (obs_size, *layers, action_size), True, final_init, batch_norm)
        return cls(mlp, bound)

    def statistics(self) -> tuple[Statistics, ...]:
        """Return fresh batch-norm statistics."""
        return self.mlp.statistics()

    def __call__(self, obs: Array, statistics: tuple[Statistics, ...] = ()) -> Array:
        """Return actions `[batch, action]` for observations `[batch, obs]`."""
        return self._bounded(self.mlp(obs, statistics))

    def train(self, obs: Array, statistics: tuple[Statistics, ...]) -> tuple[Array, tuple[Statistics, ...]]:
        """Return actions in training mode and the advanced statistics."""
        raw, statistics = self.mlp.train(obs, statistics)
        return self._bounded(raw), statistics

    def _bounded(self, raw: Array) -> Array:
        return tanh(raw) if self.bound == "tanh" else maths.clip_inward(raw)


@pytree
class Critic:
    """Q(s, a): `state_layers` see the observation, `action_layers` the action, `joint_layers` both together.

    ((), (), (256, 256)) is today's standard; ((400,), (), (300,)) the DDPG paper's; ((64,), (64,), (32,)) the
    two-stream critic of many tutorials. Batch norm covers the observation and the state layers: "all layers of the
    Q network prior to the action input" (Lillicrap et al. 2016, section 3).
    """

    state: MLP
    action: MLP
    joint: MLP

    @classmethod
    def create(
        cls,
        key: jax.Array,
        obs_size: int,
        action_size: int,
        state_layers: Sequence[int],
        action_layers: Sequence[int],
        joint_layers: Sequence[int],
        final_init: Any = None,
        batch_norm: Normalization = "off",
    ) -> "Critic":
        """Make a critic with one output."""
        keys = jax.random.split(key, 3)
        state = MLP.create(keys[0], (obs_size, *state_layers), False, batch_norm=batch_norm)
        action = MLP.create(keys[1], (action_size, *action_layers), False)
        joint_size = (state_layers or (obs_size,))[-1] + (action_layers or (action_size,))[-1]
        return cls(state, action, MLP.create(keys[2], (joint_size, *joint_layers, 1), True, final_init))

    def statistics(self) -> tuple[Statistics, ...]:
        """Return fresh batch-norm statistics."""
        return self.state.statistics()

    def decayed(self) -> "Critic":
        """Say for each leaf whether L2 decay applies."""
        return Critic(self.state.decayed(), self.action.decayed(), self.joint.decayed())

    def __call__(self, obs: Array, action: Array, statistics: tuple[Statistics, ...] = ()) -> Array:
        """Return values `[batch]`."""
        return self.joint(concatenate((self.state(obs, statistics), self.action(action))))[..., 0]

    def train(
        self, obs: Array, action: Array, statistics: tuple[Statistics, ...]
    ) -> tuple[Array, tuple[Statistics, ...]]:
        """Return values in training mode and the advanced statistics."""
        features, statistics = self.state.train(obs, statistics)
        return self.joint(concatenate((features, self.action(action))))[..., 0], statistics
