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
    learning_rate: Any, gradient_norm: Any = None, weight_decay: Any = None, decayed: Callable[[Any], Any] = matrices
) -> optax.GradientTransformation:
    """Build Adam; the gradient's norm is clipped first, then L2 decay is added to the gradient.

    The decay is coupled (part of the gradient, as `weight_decay` in PyTorch's Adam), not that of AdamW;
    `decayed(net)` says for each leaf whether it applies. Source: Kingma and Ba 2015 (arXiv 1412.6980).
    """
    parts = []
    if gradient_norm is not None:
        parts.append(optax.clip_by_global_norm(gradient_norm))
    if weight_decay is not None:
        parts.append(optax.add_decayed_weights(weight_decay, mask=decayed))
    return optax.chain(*parts, optax.adam(learning_rate))


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
