"""Batch normalization whose statistics stand beside the parameters, never inside them.

So optimizer, weight decay and Polyak averaging cannot touch the statistics; the algorithm says when they change.
"""

import jax.numpy as jnp
from jaxtyping import Float

from polyak.tree import pytree
from polyak.types import Array


@pytree
class Statistics:
    """Running mean and variance of one layer's features."""

    mean: Float[Array, "features"]
    variance: Float[Array, "features"]


@pytree
class BatchNorm:
    """Normalize each feature, then scale and shift it. Source: Ioffe and Szegedy 2015 (arXiv 1502.03167)."""

    scale: Float[Array, "features"]
    shift: Float[Array, "features"]

    @classmethod
    def create(cls, features: int) -> "BatchNorm":
        """Start as the identity on normalized features."""
        return cls(jnp.ones(features), jnp.zeros(features))

    def statistics(self) -> Statistics:
        """Return fresh running statistics: mean 0, variance 1."""
        return Statistics(jnp.zeros_like(self.shift), jnp.ones_like(self.scale))

    def __call__(self, x: Float[Array, "batch features"], statistics: Statistics) -> Float[Array, "batch features"]:
        """Normalize by the running statistics: what acting, targets and evaluation do."""
        normalized = (x - statistics.mean[..., None, :]) / (statistics.variance[..., None, :] + EPSILON) ** 0.5
        return normalized * self.scale[..., None, :] + self.shift[..., None, :]

    def train(
        self, x: Float[Array, "batch features"], statistics: Statistics
    ) -> tuple[Float[Array, "batch features"], Statistics]:
        """Normalize by the batch's own statistics, and move the running ones a step towards them."""
        batch = Statistics(x.mean(0), x.var(0))
        unbiased = batch.variance * x.shape[0] / max(x.shape[0] - 1, 1)
        running = Statistics(
            statistics.mean + MOMENTUM * (batch.mean - statistics.mean),
            statistics.variance + MOMENTUM * (unbiased - statistics.variance),
        )
        return self(x, batch), running


EPSILON = 1e-5
MOMENTUM = 0.01  # a tenth of the usual 0.1: fast statistics move the targets of a slow critic (docs/algorithms/ddpg.md)
