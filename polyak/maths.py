"""The formulas of reinforcement learning, each a function with its source and a hand-computed test."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from polyak.types import Array


def td_target(
    reward: Float[Array, "batch"],
    gamma: Array | float,
    terminated: Float[Array, "batch"],
    next_value: Float[Array, "batch"],
) -> Float[Array, "batch"]:
    """Return r + γ·(1 - terminated)·V(s'): the one-step target. Truncation does not enter: it still bootstraps.

    Source: Sutton and Barto, Reinforcement Learning (2018), section 6.1; Lillicrap et al. 2016, Algorithm 1.
    """
    return reward + gamma * (1.0 - terminated) * next_value


def huber(error: Array, delta: float = 1.0) -> Array:
    """Return e²/2 within ±delta and delta·(|e| - delta/2) beyond, elementwise.

    Source: Huber 1964, "Robust estimation of a location parameter".
    """
    size = jnp.abs(error)
    return jnp.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta))


def clip(x: Array) -> Array:
    """Clip to [-1, 1] in the array's own library."""
    # in NumPy the pair of calls costs a third of np.clip
    return np.minimum(np.maximum(x, -1.0), 1.0) if isinstance(x, np.ndarray) else jnp.clip(x, -1.0, 1.0)


def clip_inward(x: Array) -> Array:
    """Clip to [-1, 1], letting a gradient pass outside the box only where descending it leads back inside.

    Plain clipping has no gradient beyond the bound, so a saturated actor could never return. The one-sided rule
    keeps the forward pass of the clip; compare Hausknecht and Stone 2016 (arXiv 1511.04143) on bounded actions.
    """
    return clip(x) if isinstance(x, np.ndarray) else _clip_inward(x)


@jax.custom_vjp
def _clip_inward(x: jax.Array) -> jax.Array:
    return jnp.clip(x, -1.0, 1.0)


def _clip_inward_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.clip(x, -1.0, 1.0), x


def _clip_inward_backward(x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    outward = ((x > 1.0) & (gradient < 0.0)) | ((x < -1.0) & (gradient > 0.0))
    return (jnp.where(outward, 0.0, gradient),)


_clip_inward.defvjp(_clip_inward_forward, _clip_inward_backward)
