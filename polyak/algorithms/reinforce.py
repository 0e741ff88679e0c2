"""REINFORCE: the Monte-Carlo policy gradient, with returns to go and a learned baseline.

Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine
Learning 8; the baseline and the returns to go: Sutton, McAllester, Singh, Mansour 1999, "Policy gradient methods for
reinforcement learning with function approximation". Actions that were followed by more than was expected become
likelier:

    G_t = Σ γ^k·r_(t+k)        ∇J(φ) = mean (G_t - b(s_t))·∇log π(a_t|s_t)        L(ψ) = ½·mean (b(s_t) - G_t)²

Differs from the paper: the factor γ^t before each term is left out, as everywhere in practice; advantages are
normalized over the rollout. An episode that goes on where the rollout ends, or that a time limit cuts, is completed by
the baseline's value of its last state; without a baseline, steps of unfinished episodes are left out.
"""

from __future__ import annotations

from typing import Literal

from polyak.fields import check, number
from polyak.lazy import jax, jnp, optax
from polyak.networks.actors import Policy, StochasticActor
from polyak.networks.critics import StateValue
from polyak.networks.distributions import sample_or_mode
from polyak.networks.layers import Style
from polyak.numerics import maths, normalize, optimize
from polyak.tree import pytree, replace, static
from polyak.types import Array, Box, Clock, Discrete, EnvSpec, Metrics, MultiDiscrete, Obs, Transition

learns_from: Literal["rollout", "replay", "dataset"] = "rollout"
acts_on = (Discrete, Box, MultiDiscrete)
act = sample_or_mode


@pytree
class Config:
    """Hyperparameters of REINFORCE."""

    gamma: float = number(default=0.99, least=0, most=1)
    """Discount factor γ, from 0 to 1."""
    actor_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for the actor."""
    baseline_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for the baseline."""
    baseline: bool = static(default=True)
    """Learn the value of states, and subtract it from the returns."""
    normalize_advantages: bool = static(default=True)
    """Give the advantages of a rollout mean 0 and deviation 1."""
    entropy_coefficient: float = number(default=0.0, least=0)
    """Weight of the policy's entropy, which keeps it exploring."""
    actor_layers: tuple[int, ...] = number(default=(64, 64), least=1, static=True)
    """Widths of the actor's hidden layers."""
    baseline_layers: tuple[int, ...] = number(default=(64, 64), least=1, static=True)
    """Widths of the baseline's hidden layers."""
    activation: Literal["relu", "tanh"] = static(default="tanh")
    """Activation of the hidden layers."""
    gradient_norm: float | None = number(default=0.5, above=0)
    """Largest norm of each network's gradient; None: unlimited."""
    lr_decay: float = number(default=0.0, least=0, most=1)
    """Share of the step sizes that is lost, evenly, over the run."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning. Reported returns never are."""
    normalize_observations: bool = static(default=False)
    """Normalize observations by their running mean and deviation."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        check(self)


@pytree
class State:
    """Everything learning needs."""

    policy: Policy[StochasticActor]
    baseline: StateValue | None
    actor_opt_state: optax.OptState
    baseline_opt_state: optax.OptState


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    """Make a fresh agent."""
    actor_key, baseline_key = jax.random.split(key)
    style = Style(activation=config.activation, orthogonal=True)
    actor = StochasticActor.create(actor_key, spec, config.actor_layers, 0.01, style)
    baseline = StateValue.create(baseline_key, spec.obs, config.baseline_layers, 1.0, style)
    rates = config.actor_learning_rate, config.baseline_learning_rate
    return State(
        policy=Policy(actor, normalize.make(spec.obs, config.normalize_observations)),
        baseline=baseline if config.baseline else None,
        actor_opt_state=optimizer(config, rates[0]).init(actor),
        baseline_opt_state=optimizer(config, rates[1]).init(baseline) if config.baseline else None,
    )


def update(config: Config, state: State, rollout: Transition, key: jax.Array, clock: Clock) -> tuple[State, Metrics]:
    """Make what did well likelier, then fit the baseline to the returns."""
    policy, rates, steps = state.policy, 1.0 - config.lr_decay * clock.progress, rollout.flat()
    obs = policy.normalizer(steps.obs)
    returns, advantage, counts = estimate_advantages(config, state, rollout, obs)

    def actor_loss(actor: StochasticActor) -> tuple[Array, Metrics]:
        actions = actor(obs)
        entropy = mean(actions.entropy(), counts)
        loss = -mean(advantage * actions.log_prob(steps.action), counts) - config.entropy_coefficient * entropy
        return loss, {"actor_loss": loss, "entropy": entropy}

    actor, actor_opt_state, metrics = optimize.descend(
        optimizer(config, rates * config.actor_learning_rate), actor_loss, policy.actor, state.actor_opt_state
    )
    normalizer = policy.normalizer.advance(steps.obs)
    state = replace(state, policy=Policy(actor, normalizer), actor_opt_state=actor_opt_state)
    metrics = {**metrics, "return_to_go": mean(returns, counts)}
    if state.baseline is None:
        return state, metrics

    def baseline_loss(baseline: StateValue) -> tuple[Array, Metrics]:
        loss = 0.5 * jnp.square(baseline(obs) - returns).mean()
        return loss, {"baseline_loss": loss}

    baseline, baseline_opt_state, of_baseline = optimize.descend(
        optimizer(config, rates * config.baseline_learning_rate),
        baseline_loss,
        state.baseline,
        state.baseline_opt_state,
    )
    return replace(state, baseline=baseline, baseline_opt_state=baseline_opt_state), {**metrics, **of_baseline}


def estimate_advantages(config: Config, state: State, rollout: Transition, obs: Obs) -> tuple[Array, Array, Array]:
    """Return for each step its return to go, what it is above the baseline, and whether the step counts, 0 or 1."""
    shape, rollout = rollout.reward.shape, replace(rollout, reward=config.reward_scale * rollout.reward)
    if state.baseline is None:
        value: Array = jnp.zeros(shape)
        next_value: Array = value
        counts = mark_finished(rollout).reshape(-1)
    else:
        next_obs = state.policy.normalizer(rollout.flat().next_obs)
        value, next_value = (state.baseline(x).reshape(shape) for x in (obs, next_obs))
        counts = jnp.ones(value.size)
    advantage = maths.gae(rollout, value, next_value, config.gamma, 1.0)
    returns, advantage = (advantage + value).reshape(-1), advantage.reshape(-1)
    if config.normalize_advantages:
        advantage = maths.standardize(advantage, counts)
    return returns, advantage, counts


def mark_finished(rollout: Transition) -> Array:
    """Say for each step `[time, env]` whether its episode ends within the rollout, 0 or 1."""
    ended = jnp.maximum(rollout.terminated, rollout.truncated)
    return jax.lax.cummax(ended, axis=0, reverse=True)


def mean(values: Array, counts: Array) -> Array:
    """Average the values that count."""
    return (values * counts).sum() / jnp.maximum(counts.sum(), 1.0)


def optimizer(config: Config, learning_rate: Array | float) -> optax.GradientTransformation:
    """Build the optimizer of a network."""
    return optimize.adam(learning_rate, config.gradient_norm)
