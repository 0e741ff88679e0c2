"""One gradient step of one learned thing."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import optax

from polyak.types import Array, Metrics

Net = TypeVar("Net")


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
    return optax.chain(*_clipped(gradient_norm), *before, scaled, *after, optax.scale_by_learning_rate(learning_rate))


def rmsprop(learning_rate: Any, gradient_norm: Any = None, epsilon: float = 1e-5) -> optax.GradientTransformation:
    """Build RMSProp with a decay of 0.99 and ε outside the root, as PyTorch's.

    Source: Tieleman and Hinton 2012; Mnih et al. 2016 (arXiv 1602.01783), section 4.
    """
    scaled = optax.scale_by_rms(decay=0.99, eps=epsilon, eps_in_sqrt=False)
    return optax.chain(*_clipped(gradient_norm), scaled, optax.scale_by_learning_rate(learning_rate))


def _clipped(gradient_norm: Any) -> list[optax.GradientTransformation]:
    return [] if gradient_norm is None else [optax.clip_by_global_norm(gradient_norm)]


def descend(
    optimizer: optax.GradientTransformation,
    loss: Callable[[Net], tuple[Array, tuple[Any, Metrics]]],
    net: Net,
    moments: Any,
) -> tuple[Net, Any, Any, Metrics]:
    """Take one step down `loss(net) -> (loss, (extra, metrics))`; return net, moments, extra and metrics."""
    (_, (extra, metrics)), gradient = jax.value_and_grad(loss, has_aux=True)(net)
    steps, moments = optimizer.update(gradient, moments, net)
    return optax.apply_updates(net, steps), moments, extra, metrics
