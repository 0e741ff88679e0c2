"""Distributions over actions: each can be sampled, and knows log-probability, entropy and mode.

Sampling and modes work on NumPy arrays too, with a leading lane axis, because they act.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from polyak.lazy import jax, jnp
from polyak.numerics import draws, maths
from polyak.tree import pytree
from polyak.types import Array, Key

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Memory = TypeVar("Memory")

LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)


class Distribution(Protocol):
    """What an on-policy algorithm needs."""

    def sample(self, key: Key) -> Array:
        """Draw an action for each observation."""

    def mode(self) -> Array:
        """Return the action to take without exploration."""

    def log_prob(self, action: Array) -> Float[Array, "*batch"]:
        """Return the logarithm of the action's probability, or of its density."""

    def entropy(self) -> Float[Array, "*batch"]:
        """Return the entropy in nats."""


@pytree
class Categorical:
    """One of n actions with probabilities softmax(logits)."""

    logits: Float[Array, "*batch n"]

    def sample(self, key: Key) -> Int[Array, "*batch"]:
        """Draw by the Gumbel-max trick (Gumbel 1954): the argmax of logits plus Gumbel noise."""
        return (self.logits + draws.gumbel(key, self.logits.shape)).argmax(-1)

    def mode(self) -> Int[Array, "*batch"]:
        """Return the likeliest action."""
        return self.logits.argmax(-1)

    def log_probs(self) -> Float[Array, "*batch n"]:
        """Return the logarithms of all probabilities."""
        return jax.nn.log_softmax(self.logits)

    def log_prob(self, action: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
        """Return the logarithm of the action's probability."""
        return maths.of_action(self.log_probs(), action)

    def entropy(self) -> Float[Array, "*batch"]:
        """Return the entropy in nats."""
        log_probs = self.log_probs()
        return -(jnp.exp(log_probs) * log_probs).sum(-1)


@pytree
class MultiCategorical:
    """Several independent choices at once; an action is `[..., choices]` of indices."""

    parts: tuple[Categorical, ...]

    def sample(self, key: Key) -> Int[Array, "*batch choices"]:
        """Draw each choice."""
        keys = jax.random.split(key, len(self.parts)) if not isinstance(key, draws.LaneGenerators) else None
        chosen = [part.sample(key if keys is None else keys[i]) for i, part in enumerate(self.parts)]
        return _stack(chosen)

    def mode(self) -> Int[Array, "*batch choices"]:
        """Return the likeliest of each choice."""
        return _stack([part.mode() for part in self.parts])

    def log_prob(self, action: Int[Array, "*batch choices"]) -> Float[Array, "*batch"]:
        """Return the sum over the choices."""
        return sum((part.log_prob(action[..., i]) for i, part in enumerate(self.parts)), jnp.float32(0))

    def entropy(self) -> Float[Array, "*batch"]:
        """Return the sum over the choices."""
        return sum((part.entropy() for part in self.parts), jnp.float32(0))


def _stack(parts: list[Array]) -> Array:
    return np.stack(parts, -1) if isinstance(parts[0], np.ndarray) else jnp.stack(parts, -1)


@pytree
class ClippedNormal:
    """A normal distribution whose samples are clipped to [-1, 1], as the environment would clip them.

    All that lies beyond a bound is one action, the bound, with the probability of the whole tail. So the policy
    gradient is that of what was really done: unbiased, and of less variance than the density of the action before it
    was clipped. Source: Fujita and Maeda 2018, "Clipped action policy gradient" (arXiv 1802.07564).
    """

    mean: Float[Array, "*batch action"]
    log_sigma: Float[Array, "*batch action"]

    def sample(self, key: Key) -> Float[Array, "*batch action"]:
        """Draw and clip."""
        return maths.clip(self.mean + _exp(self.log_sigma) * draws.normal(key, self.mean.shape))

    def mode(self) -> Float[Array, "*batch action"]:
        """Return the mean, clipped."""
        return maths.clip(self.mean)

    def log_prob(self, action: Float[Array, "*batch action"]) -> Float[Array, "*batch"]:
        """Return the log-density inside the box, the log-probability of the tail on its border, summed."""
        z = (action - self.mean) / jnp.exp(self.log_sigma)
        inside = -0.5 * z**2 - self.log_sigma - LOG_ROOT_2_PI
        tail = jax.scipy.special.log_ndtr(jnp.where(action > 0, -z, z))
        return jnp.where(jnp.abs(action) < 1, inside, tail).sum(-1)

    def entropy(self) -> Float[Array, "*batch"]:
        """Return the entropy of the normal distribution before it is clipped, which has a closed form."""
        return (self.log_sigma + 0.5 + LOG_ROOT_2_PI).sum(-1)


@pytree
class SquashedNormal:
    """tanh(u) of a normal u. Source: Haarnoja et al. 2018 (arXiv 1812.05905), appendix C."""

    mean: Float[Array, "*batch action"]
    log_sigma: Float[Array, "*batch action"]

    def squash(self, noise: Float[Array, "*batch action"]) -> Float[Array, "*batch action"]:
        """Return the action that standard normal noise stands for."""
        return maths.squash(self.mean + _exp(self.log_sigma) * noise)

    def sample(self, key: Key) -> Float[Array, "*batch action"]:
        """Draw an action."""
        return self.squash(draws.normal(key, self.mean.shape))

    def sample_with_log_prob(self, key: jax.Array) -> tuple[Float[Array, "*batch action"], Float[Array, "*batch"]]:
        """Draw an action through which gradients flow, and its log-density."""
        noise = jax.random.normal(key, self.mean.shape)
        u = self.mean + jnp.exp(self.log_sigma) * noise
        log_density = -0.5 * noise**2 - self.log_sigma - LOG_ROOT_2_PI - log_slope_of_tanh(u)
        return jnp.tanh(u), log_density.sum(-1)

    def log_prob(self, action: Float[Array, "*batch action"]) -> Float[Array, "*batch"]:
        """Return the log-density of an action, which is first moved off the border of the box by 1e-6."""
        u = jnp.arctanh(jnp.clip(action, -1 + 1e-6, 1 - 1e-6))
        z = (u - self.mean) / jnp.exp(self.log_sigma)
        return (-0.5 * z**2 - self.log_sigma - LOG_ROOT_2_PI - log_slope_of_tanh(u)).sum(-1)

    def mode(self) -> Float[Array, "*batch action"]:
        """Return the action of the mean."""
        return maths.squash(self.mean)


def log_slope_of_tanh(u: Array) -> Array:
    """Return log(1 - tanh² u) = 2·(log 2 - u - softplus(-2u)), which is exact where the plain form is log 0."""
    return 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))


def _exp(x: Array) -> Array:
    return np.exp(x) if isinstance(x, np.ndarray) else jnp.exp(x)


class StochasticPolicy(Protocol):
    """A policy that returns a distribution over actions for a batch of observations."""

    def __call__(self, obs: Array, /) -> Distribution:
        """Return the distribution."""


def sample_or_mode(
    config: object, policy: StochasticPolicy, memory: Memory, obs: Array, key: Key, explore: bool
) -> tuple[Array, Memory]:
    """Act for an algorithm whose policy returns a distribution: sample to explore, else take the mode."""
    actions = policy(obs)
    return (actions.sample(key) if explore else actions.mode()), memory
