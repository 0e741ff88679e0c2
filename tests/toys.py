"""Algorithms small enough to compile at once, for tests of the loops, which do not care how well an agent learns."""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from polyak.draws import normal
from polyak.maths import clip
from polyak.noise import OrnsteinUhlenbeck
from polyak.tree import pytree, replace
from polyak.types import Array, Box, Clock, EnvSpec, Sampling, Transition


@pytree
class Config:
    rate: float = 0.1
    sigma: float = 0.3


@pytree
class Policy:
    weight: Array  # [obs, action]
    updates: Array  # []: how many made this policy


@pytree
class State:
    policy: Policy


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    return State(Policy(jax.random.normal(key, (spec.obs_size, spec.action_size)), jnp.int32(0)))


def init_memory(config: Config, spec: EnvSpec) -> Any:
    return drift(config).start(spec.action_size)


def act(config: Config, policy: Policy, memory: Any, obs: Array, key: Any, explore: bool) -> tuple[Array, Any]:
    action = obs @ policy.weight
    if explore:
        noise, memory = drift(config).next(memory, key, action.shape)
        action = action + noise
    return clip(action), memory


def update(config: Config, state: State, batch: Transition, key: Any, clock: Clock) -> tuple[State, dict[str, Any]]:
    """Move the weights by what was rewarded: a rule that depends on all that it is given."""
    value = batch.reward + (1 - batch.terminated) * batch.next_obs.sum(-1)
    push = jnp.einsum("no,na->oa", batch.obs, batch.action * value[:, None]) / len(value)
    weight = 0.9 * state.policy.weight + config.rate * (push + 0.1 * jax.random.normal(key, push.shape))
    metrics = {"value": value.mean(), "step": jnp.float32(clock.updates), "draw": jax.random.uniform(key)}
    return State(Policy(weight, state.policy.updates + 1)), metrics


def drift(config: Config) -> OrnsteinUhlenbeck:
    return OrnsteinUhlenbeck(0.15, config.sigma, 1.0)


def finish(training: Any) -> Any:
    """Train to the end."""
    while not training.done:
        training.advance()
    return training


def module(**parts: Any) -> Any:
    """Make an algorithm of its parts."""
    made = ModuleType("polyak.toys")  # as if it were polyak's own: what is compiled of it is kept
    vars(made).update(parts)
    return made


def variant(algorithm: Any, **parts: Any) -> Any:
    """Make another algorithm that differs in some parts."""
    return module(**{**vars(algorithm), **parts})


linear = module(
    Config=Config, learns_from="replay", acts_on=(Box,), init=init, init_memory=init_memory, act=act, update=update
)


def act_in_jax(config: Config, policy: Policy, memory: Any, obs: Array, key: Any, explore: bool) -> tuple[Any, Any]:
    """Act as `act` does, by operations that NumPy does not have."""
    x = (1 - 0.15) * memory + config.sigma * jax.random.normal(key, memory.shape) * explore
    return jnp.clip(jax.lax.dot(obs, policy.weight) + x * explore, -1, 1), x


linear_in_jax = variant(linear, act=act_in_jax)


def sampling(config: Config) -> Sampling:
    return Sampling(gamma=0.9, n_step=3, priority_alpha=0.6, priority_beta=0.4)


def update_by_error(config: Config, state: State, batch: Transition, key: Any, clock: Clock) -> Any:
    """Update with importance weights and the discounts of n-step returns; tell errors, which become priorities."""
    factor = batch.discount(0.9) * batch.weight
    state, metrics = update(config, state, replace(batch, next_obs=factor[:, None] * batch.next_obs), key, clock)
    return state, {**metrics, "td_error": batch.reward - state.policy.weight.sum()}


by_priority = variant(linear, update=update_by_error, sampling=sampling)


def init_at_zero(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    return State(Policy(jnp.zeros((spec.obs_size, spec.action_size)), jnp.int32(0)))


def recall_nothing(config: Config, spec: EnvSpec) -> tuple[()]:
    return ()


def act_around_mean(
    config: Config, policy: Policy, memory: Any, obs: Array, key: Any, explore: bool
) -> tuple[Array, Any]:
    """Act without regard to what is seen: the bias is row 0 of the weights."""
    action = 0.0 * obs[..., :1] + policy.weight[..., :1, :]
    if explore:
        action = action + config.sigma * normal(key, action.shape)
    return clip(action), memory


def update_on_policy(
    config: Config, state: State, rollout: Transition, key: Any, clock: Clock
) -> tuple[State, dict[str, Any]]:
    """Follow the score function: Williams 1992, REINFORCE for one normal action, with the mean reward as baseline."""
    mean = state.policy.weight[None, :1]
    advantage = (rollout.reward - rollout.reward.mean())[..., None]
    score = (rollout.action - mean) / config.sigma**2
    weight = state.policy.weight + config.rate * (advantage * score).mean((0, 1), keepdims=True)[0]
    metrics = {"reward": rollout.reward.mean(), "distance": jnp.abs(rollout.action - mean).mean()}
    return replace(state, policy=Policy(weight, state.policy.updates + 1)), metrics


on_policy = variant(
    linear,
    learns_from="rollout",
    init=init_at_zero,
    init_memory=recall_nothing,
    act=act_around_mean,
    update=update_on_policy,
)
