"""Actors: networks that say what to do, with a single action or with a distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

import numpy as np

from polyak.lazy import jax, jnp
from polyak.networks import encoders
from polyak.networks.batch_norm import NetStatistics
from polyak.networks.distributions import Categorical, ClippedNormal, Distribution, MultiCategorical, SquashedNormal
from polyak.networks.encoders import AnyEncoder
from polyak.networks.layers import MLP, PLAIN, Style
from polyak.networks.simba import Simba, evaluate, network, train
from polyak.numerics import maths
from polyak.numerics.normalize import Normalizer
from polyak.tree import pytree, static
from polyak.types import ActionSpace, Array, Box, Discrete, EnvSpec, Obs

if TYPE_CHECKING:
    from jaxtyping import Float

Bound: TypeAlias = Literal["tanh", "clip"]
SigmaBound: TypeAlias = Literal["clamp", "tanh", "softplus"]
AnyActor = TypeVar("AnyActor", bound=Callable[[Obs], object], covariant=True)
Output = TypeVar("Output")


@pytree
class Policy(Generic[AnyActor]):
    """What acting needs: an actor, and the normalizer of the observations that it reads."""

    actor: AnyActor
    normalizer: Normalizer

    def __call__(self: Policy[Callable[[Obs], Output]], obs: Obs) -> Output:
        """Return what the actor says of observations `[batch, obs]`: actions, or their distribution."""
        return self.actor(self.normalizer(obs))


@pytree
class Actor:
    """The deterministic policy μ(s): a network whose output is bounded to [-1, 1] by tanh or by clipping."""

    encoder: AnyEncoder
    mlp: MLP | Simba
    bound: Bound = static()

    @classmethod
    def create(
        cls,
        key: jax.Array,
        spec: EnvSpec,
        layers: Sequence[int],
        bound: Bound = "tanh",
        final_init: Array | float | None = None,
        style: Style = PLAIN,
    ) -> "Actor":
        """Make an actor with the given hidden layers."""
        sizes = (encoders.features(spec.obs), *layers, outputs(spec.action))
        return cls(encoders.create(key, spec.obs), network(key, sizes, final_init, style), bound)

    def __call__(self, obs: Obs, statistics: NetStatistics | None = None) -> Array:
        """Return actions `[batch, action]` for observations `[batch, obs]`."""
        return self._bounded(evaluate(self.mlp, self.encoder(obs), statistics))

    def train(self, obs: Obs, statistics: NetStatistics) -> tuple[Array, NetStatistics]:
        """Return actions in training mode and the advanced statistics."""
        raw, statistics = train(self.mlp, self.encoder(obs), statistics)
        return self._bounded(raw), statistics

    def _bounded(self, raw: Array) -> Array:
        return maths.squash(raw) if self.bound == "tanh" else maths.clip_inward(raw)


@pytree
class SquashedActor:
    """A normal distribution squashed into [-1, 1] by tanh, whose mean and deviation both depend on what is seen.

    `sigma_bound` says how the deviation is kept in bounds: log σ clamped to [-20, 2] (Haarnoja et al. 2018, arXiv
    1812.05905), log σ by tanh in [-5, 2], or σ = softplus(x) as small teaching programs have it.
    """

    encoder: AnyEncoder
    mlp: MLP | Simba
    sigma_bound: SigmaBound = static()

    @classmethod
    def create(
        cls,
        key: jax.Array,
        spec: EnvSpec,
        layers: Sequence[int],
        sigma_bound: SigmaBound = "clamp",
        style: Style = PLAIN,
    ) -> "SquashedActor":
        """Make an actor with the given hidden layers."""
        sizes = (encoders.features(spec.obs), *layers, 2 * outputs(spec.action))
        return cls(encoders.create(key, spec.obs), network(key, sizes, None, style), sigma_bound)

    def __call__(self, obs: Obs, statistics: NetStatistics | None = None) -> SquashedNormal:
        """Return the distribution of actions for observations `[batch, obs]`."""
        return self._distribution(evaluate(self.mlp, self.encoder(obs), statistics))

    def train(self, obs: Obs, statistics: NetStatistics) -> tuple[SquashedNormal, NetStatistics]:
        """Return the distribution in training mode and the advanced statistics."""
        raw, statistics = train(self.mlp, self.encoder(obs), statistics)
        return self._distribution(raw), statistics

    def _distribution(self, raw: Array) -> SquashedNormal:
        half = raw.shape[-1] // 2
        mean, rest = raw[..., :half], raw[..., half:]
        if self.sigma_bound == "clamp":
            return SquashedNormal(mean, rest.clip(-20.0, 2.0))
        if self.sigma_bound == "tanh":
            return SquashedNormal(mean, -5.0 + 3.5 * (maths.squash(rest) + 1.0))
        library: ModuleType = np if isinstance(rest, np.ndarray) else jnp
        return SquashedNormal(mean, library.log(library.logaddexp(rest, 0.0) + 1e-6))


@pytree
class StochasticActor:
    """A distribution over any action space: categorical, several categoricals, or a normal clipped to [-1, 1].

    The deviation of the normal does not depend on what is seen (Schulman et al. 2017, arXiv 1707.06347, section 6.1).
    """

    encoder: AnyEncoder
    mlp: MLP | Simba
    log_sigma: Float[Array, "action"] | None
    action: ActionSpace = static()

    @classmethod
    def create(
        cls,
        key: jax.Array,
        spec: EnvSpec,
        layers: Sequence[int],
        final_init: Array | float | None = None,
        style: Style = PLAIN,
    ) -> "StochasticActor":
        """Make an actor with the given hidden layers and log σ = 0."""
        action = spec.action
        log_sigma = jnp.zeros(action.size) if isinstance(action, Box) else None
        sizes = (encoders.features(spec.obs), *layers, outputs(action))
        return cls(encoders.create(key, spec.obs), network(key, sizes, final_init, style), log_sigma, action)

    def __call__(self, obs: Obs) -> Distribution:
        """Return the distribution of actions for observations `[batch, obs]`."""
        raw = self.mlp(self.encoder(obs))
        if isinstance(self.action, Box):
            assert self.log_sigma is not None
            return ClippedNormal(raw, self.log_sigma[..., None, :] + 0.0 * raw)
        if isinstance(self.action, Discrete):
            return Categorical(raw)
        ends = np.cumsum(self.action.sizes)
        parts = zip(ends - np.array(self.action.sizes), ends, strict=True)
        return MultiCategorical(tuple(Categorical(raw[..., start:end]) for start, end in parts))


def outputs(action: ActionSpace) -> int:
    """Return how many numbers a network puts out for an action space."""
    if isinstance(action, Box):
        return action.size
    return action.n if isinstance(action, Discrete) else sum(action.sizes)
