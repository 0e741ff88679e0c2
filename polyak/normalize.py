"""Running mean and variance of observations, part of the policy that reads them."""

import jax.numpy as jnp
from jaxtyping import Float

from polyak.tree import pytree
from polyak.types import Array


@pytree
class RunningStats:
    """Mean and variance of everything seen so far; calling it normalizes and clips to ±10."""

    count: Float[Array, ""]
    mean: Float[Array, "obs"]
    variance: Float[Array, "obs"]

    @classmethod
    def create(cls, size: int) -> "RunningStats":
        """Start with mean 0 and variance 1, held with the weight of a single observation."""
        return cls(jnp.ones(()), jnp.zeros(size), jnp.ones(size))

    def __call__(self, obs: Float[Array, "batch obs"]) -> Float[Array, "batch obs"]:
        """Return (obs - mean) / standard deviation, clipped to [-10, 10]."""
        return ((obs - self.mean[..., None, :]) / (self.variance[..., None, :] + 1e-8) ** 0.5).clip(-10.0, 10.0)

    def advance(self, obs: Float[Array, "batch obs"]) -> "RunningStats":
        """Take in a batch. Source: Chan, Golub and LeVeque 1979, the parallel variance formula."""
        added = float(obs.shape[0])
        count = self.count + added
        delta = obs.mean(0) - self.mean
        spread = self.variance * self.count + obs.var(0) * added + delta**2 * self.count * added / count
        return RunningStats(count, self.mean + delta * added / count, spread / count)
