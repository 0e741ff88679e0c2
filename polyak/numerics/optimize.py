"""One gradient step of one learned thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from polyak.lazy import jax, jnp, optax
from polyak.types import Array

Net = TypeVar("Net")
Aux = TypeVar("Aux")


def matrices(net: Net) -> Net:
    """Say for each leaf whether it is a matrix, as weights are and biases are not."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, net)


def adam(
    learning_rate: Any,
    gradient_norm: Any = None,
    weight_decay: Any = None,
    decoupled_decay: Any = None,
    decayed: Callable[[Any], Any] = matrices,
    b1: Any = 0.9,
    epsilon: float = 1e-8,
) -> optax.GradientTransformation:
    """Build Adam; the gradient's norm is clipped first, then L2 decay is added to the gradient.

    `weight_decay` is coupled (part of the gradient, as in PyTorch's Adam), `decoupled_decay` that of AdamW (Loshchilov
    and Hutter 2019, arXiv 1711.05101); `decayed(net)` says for each leaf whether they apply.
    Source: Kingma and Ba 2015 (arXiv 1412.6980).
    """
    before = [] if weight_decay is None else [optax.add_decayed_weights(weight_decay, mask=decayed)]
    after = [] if decoupled_decay is None else [optax.add_decayed_weights(decoupled_decay, mask=decayed)]
    scaled = optax.scale_by_adam(b1=b1, eps=epsilon)
    chain = optax.chain(*_clipped(gradient_norm), *before, scaled, *after, optax.scale_by_learning_rate(learning_rate))
    return chain if before or after else packed(chain)  # which leaves are decayed is said of the net's own leaves


def rmsprop(learning_rate: Any, gradient_norm: Any = None, epsilon: float = 1e-5) -> optax.GradientTransformation:
    """Build RMSProp with a decay of 0.99 and ε outside the root, as PyTorch's.

    Source: Tieleman and Hinton 2012; Mnih et al. 2016 (arXiv 1602.01783), section 4.
    """
    scaled = optax.scale_by_rms(decay=0.99, eps=epsilon, eps_in_sqrt=False)
    return packed(optax.chain(*_clipped(gradient_norm), scaled, optax.scale_by_learning_rate(learning_rate)))


SMALL = 16_384  # numbers in a leaf below which an operation costs more to start than to do


def packed(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Apply an elementwise transformation to all small leaves of a net as one vector, and to large ones as they are.

    A small network's optimizer is a hundred operations on a few numbers each; as one vector it is a handful.
    """

    def pack(net: Any) -> list[jax.Array]:
        leaves = jax.tree.leaves(net)
        small = [leaf.reshape(-1) for leaf in leaves if leaf.size <= SMALL]
        return [jnp.concatenate(small) if small else jnp.zeros(0), *(leaf for leaf in leaves if leaf.size > SMALL)]

    def unpack(parts: list[jax.Array], like: Any) -> Any:
        leaves, tree = jax.tree.flatten(like)
        ends = np.cumsum([leaf.size for leaf in leaves if leaf.size <= SMALL])
        small, large = iter(jnp.split(parts[0], ends[:-1])), iter(parts[1:])
        split = [next(small).reshape(leaf.shape) if leaf.size <= SMALL else next(large) for leaf in leaves]
        return jax.tree.unflatten(tree, split)

    def update(gradient: Any, opt_state: Any, net: Any = None) -> tuple[Any, Any]:
        steps, opt_state = inner.update(pack(gradient), opt_state, None if net is None else pack(net))
        return unpack(steps, gradient), opt_state

    return optax.GradientTransformation(lambda net: inner.init(pack(net)), update)


def _clipped(gradient_norm: Any) -> list[optax.GradientTransformation]:
    return [] if gradient_norm is None else [optax.clip_by_global_norm(gradient_norm)]


def descend(
    optimizer: optax.GradientTransformation, loss: Callable[[Net], tuple[Array, Aux]], net: Net, opt_state: Any
) -> tuple[Net, Any, Aux]:
    """Take one gradient step down `loss(net) -> (loss, aux)`; return the net, the optimizer's state and `aux`.

    `aux` is whatever the loss gives back besides: its metrics, or advanced batch-norm statistics and metrics.
    """
    (_, aux), gradient = jax.value_and_grad(loss, has_aux=True)(net)
    steps, opt_state = optimizer.update(gradient, opt_state, net)
    return optax.apply_updates(net, steps), opt_state, aux
