"""Critics: networks that say what a state, or an action in it, is worth."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from polyak.lazy import jax, jnp
from polyak.networks import encoders
from polyak.networks.batch_norm import NetStatistics
from polyak.networks.encoders import AnyEncoder
from polyak.networks.layers import MLP, PLAIN, Style, concatenate
from polyak.networks.simba import Simba, evaluate, network, train
from polyak.tree import pytree
from polyak.types import Array, Discrete, EnvSpec, Obs, Observation


@pytree
class Critic:
    """Q(s, a): `state_layers` see the observation, `action_layers` the action, `joint_layers` both together.

    ((), (), (256, 256)) is today's standard; ((400,), (), (300,)) the DDPG paper's; ((64,), (64,), (32,)) the
    two-stream critic of many tutorials. Batch norm covers the observation and the state layers, "all layers of the
    Q network prior to the action input" (Lillicrap et al. 2016, section 3), or with `normalize_joint` all joint layers,
    as in CrossQ.
    """

    encoder: AnyEncoder
    state: MLP
    action: MLP
    joint: MLP | Simba

    @classmethod
    def create(
        cls,
        key: jax.Array,
        spec: EnvSpec,
        layers: tuple[Sequence[int], Sequence[int], Sequence[int]],
        final_init: Array | float | None = None,
        style: Style = PLAIN,
        normalize_joint: bool = False,
    ) -> "Critic":
        """Make a critic with one output; `layers` are the state's, the action's and the joint ones."""
        state_layers, action_layers, joint_layers = layers
        keys = jax.random.split(key, 3)
        before, joint = (PLAIN, style) if normalize_joint or style.architecture == "simba" else (style, PLAIN)
        state_sizes, action_sizes = (encoders.features(spec.obs), *state_layers), (spec.action.width, *action_layers)
        state = MLP.create(keys[0], state_sizes, False, style=before, name="state.")
        action = MLP.create(keys[1], action_sizes, False)
        joint_sizes = (state_sizes[-1] + action_sizes[-1], *joint_layers, 1)
        together = network(keys[2], joint_sizes, final_init, joint, "joint.")
        return cls(encoders.create(key, spec.obs), state, action, together)

    def decayed(self) -> "Critic":
        """Say for each leaf whether L2 decay applies."""
        encoder = jax.tree.map(lambda leaf: leaf.ndim > 1, self.encoder)
        return Critic(encoder, self.state.decayed(), self.action.decayed(), self.joint.decayed())

    def __call__(self, obs: Obs, action: Array, statistics: NetStatistics | None = None) -> Array:
        """Return values `[batch]`."""
        features = concatenate((self.state(self.encoder(obs), statistics), self.action(action)))
        return evaluate(self.joint, features, statistics)[..., 0]

    def train(self, obs: Obs, action: Array, statistics: NetStatistics) -> tuple[Array, NetStatistics]:
        """Return values in training mode and the advanced statistics."""
        seen, statistics = self.state.train(self.encoder(obs), statistics)
        q, statistics = train(self.joint, concatenate((seen, self.action(action))), statistics)
        return q[..., 0], statistics


@pytree
class ActionValues:
    """Q(s, ·): a value for each of n actions; where dueling, V(s) + A(s, a) - mean A(s, ·) on a shared trunk.

    Source of dueling: Wang et al. 2016 (arXiv 1511.06581), equation 9. Each of its two streams has a hidden layer of
    the trunk's last width.
    """

    encoder: AnyEncoder
    trunk: MLP | Simba
    value: MLP | None
    advantage: MLP | None

    @classmethod
    def create(
        cls, key: jax.Array, spec: EnvSpec, layers: Sequence[int], dueling: bool = False, style: Style = PLAIN
    ) -> "ActionValues":
        """Make a network with the given hidden layers for discrete actions."""
        assert isinstance(spec.action, Discrete)
        encoder, sizes, n = encoders.create(key, spec.obs), (encoders.features(spec.obs), *layers), spec.action.n
        if not dueling:
            return cls(encoder, network(key, (*sizes, n), None, style), None, None)
        keys, width = jax.random.split(key, 3), sizes[-1]
        trunk = MLP.create(keys[0], sizes, False, style=style)
        streams = zip(keys[1:], (1, n), strict=True)
        value, advantage = (MLP.create(k, (width, width, size), True, style=style) for k, size in streams)
        return cls(encoder, trunk, value, advantage)

    def __call__(self, obs: Obs) -> Array:
        """Return values `[batch, n]`."""
        features = self.trunk(self.encoder(obs))
        if self.value is None or self.advantage is None:
            return features
        advantage = self.advantage(features)
        return self.value(features) + advantage - advantage.mean(-1, keepdims=True)


@pytree
class StateValue:
    """V(s)."""

    encoder: AnyEncoder
    mlp: MLP

    @classmethod
    def create(
        cls,
        key: jax.Array,
        obs: Observation,
        layers: Sequence[int],
        final_init: Array | float | None = None,
        style: Style = PLAIN,
    ) -> "StateValue":
        """Make a network with the given hidden layers and one output."""
        mlp = MLP.create(key, (encoders.features(obs), *layers, 1), True, final_init, style)
        return cls(encoders.create(key, obs), mlp)

    def __call__(self, obs: Obs) -> Array:
        """Return values `[batch]`."""
        return self.mlp(self.encoder(obs))[..., 0]


def ensemble_min(values: Sequence[Array]) -> Array:
    """Return the smallest of several critics' values, elementwise."""
    return functools.reduce(jnp.minimum, values)


def ensemble_sum(values: Sequence[Array]) -> Array:
    """Return the sum of several critics' values or losses, elementwise."""
    return functools.reduce(jnp.add, values)


def ensemble_keys(key: jax.Array, count: int) -> list[jax.Array]:
    """Return keys for several critics; a single one has the key itself, so that it is what it would be alone."""
    return [key] if count == 1 else list(jax.random.split(key, count))
