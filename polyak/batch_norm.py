"""Batch normalization whose statistics stand beside the parameters, never inside them.

So optimizer, weight decay and Polyak averaging cannot touch the statistics; the algorithm says when they change.
"""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Float

from polyak.tree import pytree, static
from polyak.types import Array

Normalization: TypeAlias = Literal["off", "batch", "renorm"]


@pytree
class Statistics:
    """Running mean and variance of one layer's features."""

    mean: Float[Array, "features"]
    variance: Float[Array, "features"]


@pytree
class BatchNorm:
    """Normalize each feature, then scale and shift it. Source: Ioffe and Szegedy 2015 (arXiv 1502.03167).

    With `renorm`, training gives the values that the running statistics give, but for the limits of the correction,
    while gradients still flow through the batch's statistics: what a small batch happens to hold then no longer shakes
    the output. Source: Ioffe 2017, "Batch renormalization" (arXiv 1702.03275), algorithm 1.
    """

    scale: Float[Array, "features"]
    shift: Float[Array, "features"]
    renorm: bool = static(default=False)

    @classmethod
    def create(cls, features: int, renorm: bool = False) -> "BatchNorm":
        """Start as the identity on normalized features."""
        return cls(jnp.ones(features), jnp.zeros(features), renorm)

    def statistics(self) -> Statistics:
        """Return fresh running statistics: mean 0, variance 1."""
        return Statistics(jnp.zeros_like(self.shift), jnp.ones_like(self.scale))

    def __call__(self, x: Float[Array, "batch features"], statistics: Statistics) -> Float[Array, "batch features"]:
        """Normalize by the running statistics: what acting, targets and evaluation do."""
        normalized = (x - statistics.mean[..., None, :]) / _deviation(statistics)[..., None, :]
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
        if not self.renorm:
            return self(x, batch), running
        wanted = _deviation(statistics)
        r = jnp.clip(_deviation(batch) / wanted, 1 / R_MAX, R_MAX)
        d = jnp.clip((batch.mean - statistics.mean) / wanted, -D_MAX, D_MAX)
        r, d = jax.lax.stop_gradient((r, d))
        normalized = (x - batch.mean[None]) / _deviation(batch)[None] * r[None] + d[None]
        return normalized * self.scale[None] + self.shift[None], running


def _deviation(statistics: Statistics) -> Array:
    return (statistics.variance + EPSILON) ** 0.5


EPSILON = 1e-5
R_MAX, D_MAX = 3.0, 5.0  # limits of the correction, those the paper ends with
MOMENTUM = 0.001  # as slow as the targets of the preset that normalizes: faster statistics would move them
