"""Batch normalization whose statistics stand beside the parameters, never inside them.

So optimizer, weight decay and Polyak averaging cannot touch the statistics; the algorithm says when they change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from polyak.lazy import jax, jnp
from polyak.tree import pytree, static
from polyak.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Normalization: TypeAlias = Literal["off", "batch", "renorm"]


@dataclass(frozen=True)
class BatchStyle:
    """How a batch is normalized."""

    renorm: bool = False
    momentum: float = 0.001  # as slow as the targets of DDPG's preset that normalizes: faster ones would move them
    epsilon: float = 1e-5
    warmup: int = 0  # updates before renormalization corrects anything


STYLES: dict[str, BatchStyle | None] = {"off": None, "batch": BatchStyle(), "renorm": BatchStyle(renorm=True)}


@pytree
class Statistics:
    """Running mean and variance of one layer's features."""

    mean: Float[Array, "features"]
    variance: Float[Array, "features"]
    updates: Int[Array, ""]  # how often they were moved


NetStatistics: TypeAlias = dict[str, Statistics]  # of a network, by the names of its batch norms; without any, empty


@pytree
class BatchNorm:
    """Normalize each feature, then scale and shift it. Source: Ioffe and Szegedy 2015 (arXiv 1502.03167).

    With `renorm`, training gives the values that the running statistics give, but for the limits of the correction,
    while gradients still flow through the batch's statistics: what a small batch happens to hold then no longer shakes
    the output. Source: Ioffe 2017, "Batch renormalization" (arXiv 1702.03275), algorithm 1.
    """

    scale: Float[Array, "features"]
    shift: Float[Array, "features"]
    style: BatchStyle = static(default=BatchStyle())
    name: str = static(default="")  # of its statistics, unique in the network

    @classmethod
    def create(cls, features: int, style: BatchStyle = BatchStyle(), name: str = "") -> "BatchNorm":
        """Start as the identity on normalized features."""
        return cls(jnp.ones(features), jnp.zeros(features), style, name)

    def statistics(self) -> Statistics:
        """Return fresh running statistics: mean 0, variance 1."""
        return Statistics(jnp.zeros_like(self.shift), jnp.ones_like(self.scale), jnp.zeros((), jnp.int32))

    def __call__(self, x: Float[Array, "batch features"], statistics: Statistics) -> Float[Array, "batch features"]:
        """Normalize by the running statistics: what acting, targets and evaluation do."""
        normalized = (x - statistics.mean[..., None, :]) / self._deviation(statistics.variance)[..., None, :]
        return normalized * self.scale[..., None, :] + self.shift[..., None, :]

    def train(
        self, x: Float[Array, "batch features"], statistics: Statistics
    ) -> tuple[Float[Array, "batch features"], Statistics]:
        """Normalize by the batch's own statistics, and move the running ones a step towards them."""
        batch, style = Statistics(x.mean(0), x.var(0), statistics.updates), self.style
        unbiased = batch.variance * x.shape[0] / max(x.shape[0] - 1, 1)
        running = Statistics(
            statistics.mean + style.momentum * (batch.mean - statistics.mean),
            statistics.variance + style.momentum * (unbiased - statistics.variance),
            statistics.updates + 1,
        )
        if not style.renorm:
            return self(x, batch), running
        wanted, deviation = self._deviation(statistics.variance), self._deviation(batch.variance)
        r = jnp.clip(deviation / wanted, 1 / R_MAX, R_MAX)
        d = jnp.clip((batch.mean - statistics.mean) / wanted, -D_MAX, D_MAX)
        if style.warmup:
            warm = statistics.updates >= style.warmup
            r, d = jnp.where(warm, r, 1.0), jnp.where(warm, d, 0.0)
        r, d = jax.lax.stop_gradient((r, d))
        normalized = (x - batch.mean[None]) / deviation[None] * r[None] + d[None]
        return normalized * self.scale[None] + self.shift[None], running

    def _deviation(self, variance: Array) -> Array:
        return (variance + self.style.epsilon) ** 0.5


def fresh_statistics(net: object) -> NetStatistics:
    """Return fresh running statistics of every batch norm in a network."""
    parts = jax.tree.leaves(net, is_leaf=lambda part: isinstance(part, BatchNorm))
    return {norm.name: norm.statistics() for norm in parts if isinstance(norm, BatchNorm)}


R_MAX, D_MAX = 3.0, 5.0  # limits of the correction, those the paper ends with
