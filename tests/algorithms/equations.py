"""What the tests of algorithms against their equations share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from polyak.tree import replace
from polyak.types import Clock, Sampling, Transition
from tests.agents import Agent, as_drawn


def descended(optimizer: Any, loss: Callable[[Any], jax.Array], net: Any, opt_state: Any) -> tuple[Any, Any]:
    """Return a net and the optimizer's moments after one step down a loss."""

    @jax.jit
    def step(net: Any, opt_state: Any) -> Any:
        steps, after = optimizer.update(jax.grad(loss)(net), opt_state, net)
        return jax.tree.map(jnp.add, net, steps), after

    return step(net, opt_state)


def stepped(optimizer: Any, loss: Callable[[Any], jax.Array], net: Any, opt_state: Any) -> Any:
    """Return a net after one step of the optimizer down a loss."""
    return descended(optimizer, loss, net, opt_state)[0]


def changed(case: Agent, **changes: Any) -> Agent:
    """Return an agent with other settings, which compiles its own functions."""
    return dataclasses.replace(case, variant=f"{case.variant} changed", config=replace(case.config, **changes))


def folded(batch: Transition) -> Transition:
    """Return a batch as n-step returns and prioritized replay give it: samples reach 1, 2 or 3 n-step."""
    return as_drawn(Sampling(n_step=3, priority_alpha=0.6), batch)


def huber(error: jax.Array) -> jax.Array:
    """Huber's loss with δ = 1."""
    size = jnp.abs(error)
    return jnp.where(size < 1, size**2 / 2, size - 0.5)


def at(progress: float, step: int = 0) -> Clock:
    """Make a moment of a run."""
    return Clock(jnp.int32(step), jnp.float32(progress))


def connected(rollout: Transition) -> Transition:
    """Let each step of a random rollout see what the one before it led to, unless its episode ended there."""
    ended = jnp.maximum(rollout.terminated, rollout.truncated)[:-1, :, None]
    next_obs = jnp.where(ended, rollout.next_obs[:-1], rollout.obs[1:])
    return replace(rollout, next_obs=jnp.concatenate([next_obs, rollout.next_obs[-1:]]))


def returns_to_go(rollout: Transition, next_value: Any, gamma: float) -> np.ndarray:
    """Add up what followed each step `[time, env]`; where it was cut, the value there stands for the rest."""
    totals = np.zeros(rollout.reward.shape)
    for t, env in np.ndindex(*totals.shape):
        factor = 1.0
        for k in range(t, len(totals)):
            totals[t, env] += factor * rollout.reward[k, env]
            factor *= gamma
            if rollout.terminated[k, env]:
                break
            if rollout.truncated[k, env] or k == len(totals) - 1:
                totals[t, env] += factor * next_value[k, env]
                break
    return totals.astype(np.float32)


def advantages(rollout: Transition, value: Any, next_value: Any, gamma: float, lam: float) -> np.ndarray:
    """Add up the TD errors that followed each step of its episode, each less by γ·λ than the one before."""
    totals = np.zeros(rollout.reward.shape)
    td_error = rollout.reward + gamma * (1 - rollout.terminated) * next_value - value
    for t, env in np.ndindex(*totals.shape):
        for k in range(t, len(totals)):
            totals[t, env] += (gamma * lam) ** (k - t) * td_error[k, env]
            if rollout.terminated[k, env] or rollout.truncated[k, env]:
                break
    return totals.astype(np.float32)


def standardized(values: np.ndarray) -> np.ndarray:
    """Return values with mean 0 and deviation 1."""
    return (values - values.mean()) / values.std()
