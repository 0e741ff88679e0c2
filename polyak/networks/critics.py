"""Critics: networks that say what a state, or an action in it, is worth."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from polyak.lazy import jax, jnp
from polyak.networks.layers import MLP, PLAIN, Style, concatenate
from polyak.networks.simba import Simba, network
from polyak.tree import pytree
from polyak.types import Array


@pytree
class Critic:
    """Q(s, a): `state_layers` see the observation, `action_layers` the action, `joint_layers` both together.

    ((), (), (256, 256)) is today's standard; ((400,), (), (300,)) the DDPG paper's; ((64,), (64,), (32,)) the
    two-stream critic of many tutorials. Batch norm covers the observation and the state layers, "all layers of the
    Q network prior to the action input" (Lillicrap et al. 2016, section 3), or with `normalize_joint` all joint layers,
    as in CrossQ.
    """

    state: MLP
    action: MLP
    joint: MLP | Simba

    @classmethod
    def create(
        cls,
        key: jax.Array,
        obs_size: int,
        action_size: int,
        layers: tuple[Sequence[int], Sequence[int], Sequence[int]],
        final_init: Any = None,
        style: Style = PLAIN,
        normalize_joint: bool = False,
    ) -> "Critic":
        """Make a critic with one output; `layers` are the state's, the action's and the joint ones."""
        state_layers, action_layers, joint_layers = layers
        keys = jax.random.split(key, 3)
        before, joint = (PLAIN, style) if normalize_joint or style.architecture == "simba" else (style, PLAIN)
        state = MLP.create(keys[0], (obs_size, *state_layers), False, style=before)
        action = MLP.create(keys[1], (action_size, *action_layers), False)
        joint_size = (state_layers or (obs_size,))[-1] + (action_layers or (action_size,))[-1]
        return cls(state, action, network(keys[2], (joint_size, *joint_layers, 1), final_init, joint))

    def statistics(self) -> tuple[Any, ...]:
        """Return fresh batch-norm statistics."""
        return (*self.state.statistics(), *self.joint.statistics())

    def decayed(self) -> "Critic":
        """Say for each leaf whether L2 decay applies."""
        return Critic(self.state.decayed(), self.action.decayed(), self.joint.decayed())

    def __call__(self, obs: Array, action: Array, statistics: tuple[Any, ...] = ()) -> Array:
        """Return values `[batch]`."""
        split = len(self.state.norms)
        features = concatenate((self.state(obs, statistics[:split]), self.action(action)))
        return self.joint(features, statistics[split:])[..., 0]

    def train(self, obs: Array, action: Array, statistics: tuple[Any, ...]) -> tuple[Array, tuple[Any, ...]]:
        """Return values in training mode and the advanced statistics."""
        split = len(self.state.norms)
        seen, of_state = self.state.train(obs, statistics[:split])
        q, of_joint = self.joint.train(concatenate((seen, self.action(action))), statistics[split:])
        return q[..., 0], (*of_state, *of_joint)


@pytree
class ActionValues:
    """Q(s, ·): a value for each of n actions; where dueling, V(s) + A(s, a) - mean A(s, ·) on a shared trunk.

    Source of dueling: Wang et al. 2016 (arXiv 1511.06581), equation 9. Each of its two streams has a hidden layer of
    the trunk's last width.
    """

    trunk: MLP | Simba
    value: MLP | None
    advantage: MLP | None

    @classmethod
    def create(
        cls, key: jax.Array, obs_size: int, n: int, layers: Sequence[int], dueling: bool = False, style: Style = PLAIN
    ) -> "ActionValues":
        """Make a network with the given hidden layers."""
        if not dueling:
            return cls(network(key, (obs_size, *layers, n), None, style), None, None)
        keys, width = jax.random.split(key, 3), (layers or (obs_size,))[-1]
        trunk = MLP.create(keys[0], (obs_size, *layers), False, style=style)
        streams = zip(keys[1:], (1, n), strict=True)
        value, advantage = (MLP.create(k, (width, width, size), True, style=style) for k, size in streams)
        return cls(trunk, value, advantage)

    def __call__(self, obs: Array) -> Array:
        """Return values `[batch, n]`."""
        features = self.trunk(obs)
        if self.value is None or self.advantage is None:
            return features
        advantage = self.advantage(features)
        return self.value(features) + advantage - advantage.mean(-1, keepdims=True)


def ensemble_min(values: Sequence[Array]) -> Array:
    """Return the smallest of several critics' values, elementwise."""
    return functools.reduce(jnp.minimum, values)


def ensemble_keys(key: jax.Array, count: int) -> list[jax.Array]:
    """Return keys for several critics; a single one has the key itself, so that it is what it would be alone."""
    return [key] if count == 1 else list(jax.random.split(key, count))
