"""Optimizers, and one gradient step of one network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from polyak.fields import number
from polyak.lazy import jax, jnp, optax
from polyak.tree import pytree
from polyak.types import Array, Tree

Net = TypeVar("Net")
Aux = TypeVar("Aux")


def matrices(net: Net) -> Net:
    """Return a tree of booleans: whether each leaf is a matrix (weights are, biases are not)."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, net)


class Decay(NamedTuple):
    """How weights decay; None: not at all.

    `coupled` decay is part of the gradient, as in PyTorch's Adam; `decoupled` decay is that of AdamW (Loshchilov and
    Hutter 2019, arXiv 1711.05101). `leaves(net)` returns a tree of booleans, the leaves that decay.
    """

    coupled: Array | float | None = None
    decoupled: Array | float | None = None
    leaves: Callable[[Tree], Tree] = matrices


NO_DECAY = Decay()


@pytree
class OptimizerSettings:
    """What Adam does besides its step, the same for actor and critics."""

    weight_decay: float | None = number(default=None, least=0)
    """Decoupled decay (AdamW's) of the weights of all networks."""
    gradient_norm: float | None = number(default=None, above=0)
    """Largest norm of the gradient, of the actor's and of all critics' together; None: unlimited."""


def of(config: OptimizerSettings, learning_rate: Array | float) -> optax.GradientTransformation:
    """Build the optimizer that a config asks for: of the actor, or of all critics together."""
    return adam(learning_rate, config.gradient_norm, Decay(decoupled=config.weight_decay))


def adam(
    learning_rate: Array | float,
    gradient_norm: Array | float | None = None,
    decay: Decay = NO_DECAY,
    b1: Array | float = 0.9,
    epsilon: float = 1e-8,
) -> optax.GradientTransformation:
    """Build Adam; the gradient's norm is clipped first, then coupled decay is added to the gradient.

    Source: Kingma and Ba 2015 (arXiv 1412.6980).
    """
    before = [] if decay.coupled is None else [optax.add_decayed_weights(decay.coupled, mask=decay.leaves)]
    after = [] if decay.decoupled is None else [optax.add_decayed_weights(decay.decoupled, mask=decay.leaves)]
    scaled = optax.scale_by_adam(b1=b1, eps=epsilon)
    chain = optax.chain(*_clipped(gradient_norm), *before, scaled, *after, optax.scale_by_learning_rate(learning_rate))
    return chain if before or after else packed(chain)  # `leaves` needs the net's own leaves


def rmsprop(
    learning_rate: Array | float, gradient_norm: Array | float | None = None, epsilon: float = 1e-5
) -> optax.GradientTransformation:
    """Build RMSProp with a decay of 0.99 and ε outside the root, as PyTorch's.

    Source: Tieleman and Hinton 2012; Mnih et al. 2016 (arXiv 1602.01783), section 4.
    """
    scaled = optax.scale_by_rms(decay=0.99, eps=epsilon, eps_in_sqrt=False)
    return packed(optax.chain(*_clipped(gradient_norm), scaled, optax.scale_by_learning_rate(learning_rate)))


SMALL = 16_384  # elements; for smaller leaves, starting an operation costs more than the operation


def packed(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Apply an elementwise transformation to all small leaves of a network as one vector, and to each large leaf.

    The optimizer of a small network would be a hundred operations on a few numbers each; on one vector it is a handful.
    """

    def pack(net: Tree) -> list[jax.Array]:
        leaves = jax.tree.leaves(net)
        small = [leaf.reshape(-1) for leaf in leaves if leaf.size <= SMALL]
        return [jnp.concatenate(small) if small else jnp.zeros(0), *(leaf for leaf in leaves if leaf.size > SMALL)]

    def unpack(parts: list[jax.Array], like: Net) -> Net:
        leaves, tree = jax.tree.flatten(like)
        ends = np.cumsum([leaf.size for leaf in leaves if leaf.size <= SMALL])
        small, large = iter(jnp.split(parts[0], ends[:-1])), iter(parts[1:])
        split = [next(small).reshape(leaf.shape) if leaf.size <= SMALL else next(large) for leaf in leaves]
        return jax.tree.unflatten(tree, split)

    def update(gradient: Net, opt_state: optax.OptState, net: Net | None = None) -> tuple[Net, optax.OptState]:
        steps, opt_state = inner.update(pack(gradient), opt_state, None if net is None else pack(net))
        return unpack(steps, gradient), opt_state

    return optax.GradientTransformation(lambda net: inner.init(pack(net)), update)


def _clipped(gradient_norm: Array | float | None) -> list[optax.GradientTransformation]:
    return [] if gradient_norm is None else [optax.clip_by_global_norm(gradient_norm)]


def descend(
    optimizer: optax.GradientTransformation,
    loss: Callable[[Net], tuple[Array, Aux]],
    net: Net,
    opt_state: optax.OptState,
) -> tuple[Net, optax.OptState, Aux]:
    """Take one gradient step down `loss(net) -> (loss, aux)`; return the net, the optimizer's state and `aux`.

    `aux` is whatever else the loss returns: its metrics, or the advanced batch-norm statistics and the metrics.
    """
    (_, aux), gradient = jax.value_and_grad(loss, has_aux=True)(net)
    steps, opt_state = optimizer.update(gradient, opt_state, net)
    return optax.apply_updates(net, steps), opt_state, aux
