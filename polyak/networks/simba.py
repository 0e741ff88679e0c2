"""SimBa's residual network, and the choice between it and an MLP."""

from __future__ import annotations

from collections.abc import Sequence

from polyak.lazy import jax
from polyak.networks.batch_norm import NetStatistics
from polyak.networks.layers import MLP, PLAIN, LayerNorm, Linear, Style, relu
from polyak.tree import pytree
from polyak.types import Array


@pytree
class Block:
    """A residual block of SimBa: x + W₂·relu(W₁·LayerNorm(x)), four times as wide inside."""

    norm: LayerNorm
    widen: Linear
    narrow: Linear

    def __call__(self, x: Array) -> Array:
        """Apply to a batch."""
        return x + self.narrow(relu(self.widen(self.norm(x))))


@pytree
class Simba:
    """SimBa: a linear embedding, residual blocks, a LayerNorm, a linear output. It has no batch norms.

    Source: Lee et al. 2025, "SimBa: simplicity bias for scaling up parameters in deep reinforcement learning"
    (arXiv 2410.09754); initial weights as in the authors' program (github.com/SonyResearch/simba, 4e83770). The input
    is to be normalized by running statistics, which the algorithm keeps.
    """

    embedding: Linear
    blocks: tuple[Block, ...]
    norm: LayerNorm
    output: Linear

    @classmethod
    def create(cls, key: jax.Array, sizes: Sequence[int], final_init: Array | float | None = None) -> "Simba":
        """Make a block for each hidden size; they are all alike. `final_init` is the limit of the output's weights."""
        width, count = sizes[1], len(sizes) - 2
        keys = jax.random.split(key, 2 * count + 2)
        blocks = tuple(
            Block(
                LayerNorm.create(width),
                Linear.he(keys[2 * i + 2], width, 4 * width),
                Linear.he(keys[2 * i + 3], 4 * width, width),
            )
            for i in range(count)
        )
        if final_init is None:
            output = Linear.orthogonal(keys[1], width, sizes[-1], 1.0)
        else:
            output = Linear.create(keys[1], width, sizes[-1], final_init)
        return cls(Linear.orthogonal(keys[0], sizes[0], width, 1.0), blocks, LayerNorm.create(width), output)

    def decayed(self) -> "Simba":
        """Say for each leaf whether decay applies: to all weights."""
        return jax.tree.map(lambda leaf: leaf.ndim > 1, self)

    def __call__(self, x: Array) -> Array:
        """Apply to `[batch, in]`."""
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x))


def network(
    key: jax.Array, sizes: Sequence[int], final_init: Array | float | None = None, style: Style = PLAIN, name: str = ""
) -> MLP | Simba:
    """Make a network with a linear output in the architecture asked for; `name` begins the names of its batch norms."""
    if style.architecture == "simba":
        return Simba.create(key, sizes, final_init)
    return MLP.create(key, sizes, True, final_init, style, name)


def evaluate(net: MLP | Simba, x: Array, statistics: NetStatistics | None) -> Array:
    """Apply a network to `[batch, in]`, normalizing by the running statistics where it has batch norms."""
    return net(x, statistics) if isinstance(net, MLP) else net(x)


def train(net: MLP | Simba, x: Array, statistics: NetStatistics) -> tuple[Array, NetStatistics]:
    """Apply a network to `[batch, in]` in training mode; return the advanced statistics too."""
    return net.train(x, statistics) if isinstance(net, MLP) else (net(x), statistics)
