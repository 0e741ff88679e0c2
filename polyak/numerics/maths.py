"""The formulas of reinforcement learning: each is a function with its source and a hand-computed test."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from polyak.lazy import jax, jnp
from polyak.tree import take
from polyak.types import Array, Transition

if TYPE_CHECKING:
    from jaxtyping import Float


def td_target(
    reward: Float[Array, "batch"],
    discount: Array | float,
    terminated: Float[Array, "batch"],
    next_value: Float[Array, "batch"],
) -> Float[Array, "batch"]:
    """Return r + discount·(1 - terminated)·V(s'). Truncation is ignored: a truncated step still bootstraps.

    The discount is γ, or for an n-step return γ to the number of its steps (`Transition.discount`).
    Source: Sutton and Barto, Reinforcement Learning (2018), sections 6.1 and 7.1; Lillicrap et al. 2016, Algorithm 1.
    """
    return reward + discount * (1.0 - terminated) * next_value


def n_step(steps: Transition, valid: Array, gamma: Array | float) -> Transition:
    """Fold n successive steps `[n, batch]` into one transition `[batch]` that is `n_steps` steps long.

    It ends at the first step that terminates or is truncated, or before the first that is not `valid` `[n, batch]`; its
    reward is Σ γ^k·r over the steps it includes. The actions after the first are used as taken, without off-policy
    correction. Source: Sutton and Barto (2018), section 7.1; Hessel et al. 2017 (arXiv 1710.02298), section 3.
    """
    n = steps.reward.shape[0]
    going = (1.0 - jnp.maximum(steps.terminated, steps.truncated)) * valid
    part = valid * jnp.concatenate([jnp.ones_like(going[:1]), jnp.cumprod(going[:-1], 0)])
    powers = gamma ** jnp.arange(n, dtype=jnp.float32)
    n_steps = part.sum(0)
    last = n_steps.astype("int32") - 1

    def of_last(values: Array) -> Array:
        index = last.reshape(1, -1, *[1] * (values.ndim - 2))
        return jnp.take_along_axis(values, index, 0)[0]

    return Transition(
        obs=take(steps.obs, 0),
        action=steps.action[0],
        reward=(part * powers[:, None] * steps.reward).sum(0),
        next_obs=jax.tree.map(of_last, steps.next_obs),
        terminated=of_last(steps.terminated),
        truncated=of_last(steps.truncated),
        n_steps=n_steps,
    )


def gae(
    rollout: Transition,
    value: Float[Array, "time env"],
    next_value: Float[Array, "time env"],
    gamma: Array | float,
    lam: Array | float,
) -> Float[Array, "time env"]:
    """Return generalized advantage estimates Â = δ + γ·λ·Â' with δ = r + γ·(1 - terminated)·V(s') - V(s).

    The sum stops where an episode ended for either reason and at the end of the rollout; unless the task terminated,
    V(s') stands for the rest. λ = 0 gives δ, λ = 1 the return to go minus V(s).
    Source: Schulman et al. 2016, "High-dimensional continuous control using generalized advantage estimation"
    (arXiv 1506.02438), equations 16 to 18.
    """
    delta = jnp.asarray(td_target(rollout.reward, gamma, rollout.terminated, next_value) - value)
    going = 1.0 - jnp.maximum(rollout.terminated, rollout.truncated)

    def step(advantage: jax.Array, x: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        advantage = x[0] + gamma * lam * x[1] * advantage
        return advantage, advantage

    return jax.lax.scan(step, jnp.zeros_like(delta[0]), (delta, going), reverse=True)[1]


def smooth_maximum(q: Float[Array, "batch action"], temperature: Array | float) -> Float[Array, "batch"]:
    """Return α·log Σ exp(q/α), which lies between the maximum of q and α·log(actions) above it.

    Source: Haarnoja et al. 2017, "Reinforcement learning with deep energy-based policies" (arXiv 1702.08165), Theorem
    1.
    """
    return temperature * jax.nn.logsumexp(q / temperature, axis=-1)


def of_action(values: Float[Array, "*batch action"], action: Array) -> Float[Array, "*batch"]:
    """Return the value of each chosen index."""
    return jnp.take_along_axis(values, action[..., None].astype("int32"), -1)[..., 0]


def linear_schedule(start: Array | float, end: Array | float, fraction: Array | float, progress: Array) -> Array:
    """Interpolate linearly from start to end over the first `fraction` of a run, then stay at end."""
    return start + (end - start) * jnp.minimum(progress / fraction, 1.0)


def huber(error: Array, delta: float = 1.0) -> Array:
    """Return e²/2 within ±delta and delta·(|e| - delta/2) beyond, elementwise.

    Source: Huber 1964, "Robust estimation of a location parameter".
    """
    size = jnp.abs(error)
    return jnp.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta))


Loss: TypeAlias = Literal["mse", "huber"]
LOSSES: dict[Loss, Callable[[Array], Array]] = {"mse": lambda error: jnp.square(error), "huber": huber}  # elementwise


def clip(x: Array) -> Array:
    """Clip to [-1, 1] in the array's own library."""
    # in NumPy these two calls take a third of the time of np.clip, and even less with arrays as bounds
    return np.minimum(np.maximum(x, LEAST), MOST) if isinstance(x, np.ndarray) else jnp.clip(x, -1.0, 1.0)


LEAST, MOST = np.array(-1.0, np.float32), np.array(1.0, np.float32)


def squash(x: Array) -> Array:
    """Return tanh(x) in the array's own library."""
    return np.tanh(x) if isinstance(x, np.ndarray) else jnp.tanh(x)


def clip_inward(x: Array) -> Array:
    """Clip to [-1, 1]; outside the bounds, pass only gradients whose descent leads back inside.

    Plain clipping has no gradient beyond the bounds, so a saturated actor could never recover. The forward pass is
    the same as for clipping; compare Hausknecht and Stone 2016 (arXiv 1511.04143) on bounded actions.
    """
    return clip(x) if isinstance(x, np.ndarray) else _clip_inward()(x)


@cache
def _clip_inward() -> Callable[[jax.Array], jax.Array]:
    clipping = jax.custom_vjp(lambda x: jnp.clip(x, -1.0, 1.0))
    clipping.defvjp(_clip_inward_forward, _clip_inward_backward)
    return clipping


def _clip_inward_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.clip(x, -1.0, 1.0), x


def _clip_inward_backward(x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    outward = ((x > 1.0) & (gradient < 0.0)) | ((x < -1.0) & (gradient > 0.0))
    return (jnp.where(outward, 0.0, gradient),)


def standardize(values: Float[Array, "batch"], counts: Array | None = None) -> Float[Array, "batch"]:
    """Shift and scale values to mean 0 and standard deviation 1, computed over those where `counts` (0 or 1) is 1."""
    counts = jnp.ones_like(values) if counts is None else counts
    number = jnp.maximum(counts.sum(), 1.0)
    centered = values - (values * counts).sum() / number
    return centered / (((centered**2) * counts).sum() / number + 1e-8) ** 0.5


def orthonormal(columns: Float[Array, "rows columns"]) -> Float[jax.Array, "rows columns"]:
    """Orthonormalize columns, at most as many as rows, by the Gram-Schmidt process, applied twice for accuracy.

    This is Q of the QR decomposition with a positive diagonal of R. LAPACK is not used because jaxlib 0.10 deadlocks
    when several CPU devices each decompose a batch of matrices, so lanes that share a device would never start.
    Source: Giraud, Langou, Rozložník, van den Eshof 2005, "Rounding error analysis of the classical Gram-Schmidt
    orthogonalization process".
    """

    def step(i: jax.Array, q: jax.Array) -> jax.Array:
        column = jnp.asarray(columns)[:, i]
        for _ in range(2):
            column = column - q @ (q.T @ column)  # columns i and later of q are still 0
        return q.at[:, i].set(column / jnp.linalg.norm(column))

    return jax.lax.fori_loop(0, columns.shape[1], step, jnp.zeros_like(columns))
