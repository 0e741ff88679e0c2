"""Advantage Actor-Critic (A2C): synchronous, n-step, one gradient step for each rollout.

Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning", arXiv 1602.01783 (A3C), made synchronous: all
environments take n steps with the same policy, then one step is made down

    L = -mean Â·log π(a|s) + c_v·mean (V(s) - R)² - c_e·mean H(π(s)),        R = Â + V(s), without gradient through Â

where Â is the generalized advantage estimate (Schulman et al. 2016, arXiv 1506.02438) with λ: λ = 1 is the paper's
n-step advantage, n the length of the rollout, and λ = 0 the one-step TD error of the classic actor-critic, which the
preset `tutorial` uses. Differs from the paper: no asynchronous workers, gradients clipped at a norm of 0.5.
"""

from __future__ import annotations

from typing import Literal

from polyak.fields import check, number
from polyak.lazy import jax, optax
from polyak.networks import encoders
from polyak.networks.actors import StochasticActor
from polyak.networks.critics import StateValue
from polyak.networks.distributions import Distribution, sample_or_mode
from polyak.networks.encoders import Trunk
from polyak.networks.layers import Style
from polyak.numerics import maths, normalize, optimize
from polyak.numerics.normalize import Normalizer
from polyak.tree import pytree, replace, static
from polyak.types import Array, Box, Clock, Discrete, EnvSpec, Metrics, MultiDiscrete, Obs, Transition, vector

learns_from: Literal["rollout", "replay", "dataset"] = "rollout"
acts_on = (Discrete, Box, MultiDiscrete)
act = sample_or_mode


@pytree
class Config:
    """Hyperparameters of A2C."""

    gamma: float = number(default=0.99, least=0, most=1)
    """Discount factor γ, from 0 to 1."""
    lam: float = number(default=1.0, least=0, most=1)
    """λ of the generalized advantage estimate: 1 is the n-step return, 0 the one-step TD error."""
    learning_rate: float = number(default=7e-4, above=0)
    """The optimizer's step size."""
    optimizer: Literal["rmsprop", "adam"] = static(default="rmsprop")
    """The optimizer."""
    lr_decay: float = number(default=0.0, least=0, most=1)
    """Share of the step size that is lost, evenly, over the run."""
    value_coefficient: float = number(default=0.5, least=0)
    """Weight c_v of the value's loss."""
    entropy_coefficient: float = number(default=0.0, least=0)
    """Weight c_e of the policy's entropy, which keeps it exploring."""
    value_loss: maths.Loss = static(default="mse")
    """Loss of the value."""
    normalize_advantages: bool = static(default=False)
    """Give the advantages of a rollout mean 0 and deviation 1."""
    shared_layers: tuple[int, ...] = number(default=(), least=1, static=True)
    """Widths of the hidden layers that policy and value share; none: each has its own."""
    actor_layers: tuple[int, ...] = number(default=(64, 64), least=1, static=True)
    """Widths of the policy's own hidden layers."""
    value_layers: tuple[int, ...] = number(default=(64, 64), least=1, static=True)
    """Widths of the value's own hidden layers."""
    activation: Literal["relu", "tanh"] = static(default="tanh")
    """Activation of the hidden layers."""
    gradient_norm: float | None = number(default=0.5, above=0)
    """Largest norm of the whole gradient; None: unlimited."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning. Reported returns never are."""
    normalize_observations: bool = static(default=False)
    """Normalize observations by their running mean and deviation."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        check(self)


@pytree
class Policy:
    """What acting needs."""

    trunk: Trunk  # without layers where nothing is shared
    actor: StochasticActor
    normalizer: Normalizer

    def __call__(self, obs: Obs) -> Distribution:
        """Return the distribution of actions for observations `[batch, obs]`."""
        return self.actor(self.trunk(self.normalizer(obs)))


@pytree
class State:
    """Everything learning needs."""

    policy: Policy
    value: StateValue
    opt_state: optax.OptState


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    """Make a fresh agent."""
    keys, style = jax.random.split(key, 3), Style(activation=config.activation, orthogonal=True)
    trunk = Trunk.create(keys[0], spec.obs, config.shared_layers, style)
    seen = vector((encoders.features(spec.obs), *config.shared_layers)[-1])  # by the two heads
    actor = StochasticActor.create(keys[1], EnvSpec(seen, spec.action), config.actor_layers, 0.01, style)
    value = StateValue.create(keys[2], seen, config.value_layers, 1.0, style)
    normalizer = normalize.make(spec.obs, config.normalize_observations)
    opt_state = optimizer(config, config.learning_rate).init((trunk, actor, value))
    return State(Policy(trunk, actor, normalizer), value, opt_state)


def update(config: Config, state: State, rollout: Transition, key: jax.Array, clock: Clock) -> tuple[State, Metrics]:
    """Make one step of policy and value together."""
    policy, steps, shape = state.policy, rollout.flat(), rollout.reward.shape
    obs = policy.normalizer(steps.obs)
    rollout = replace(rollout, reward=config.reward_scale * rollout.reward)
    value, next_value = (state.value(policy.trunk(x)).reshape(shape) for x in (obs, policy.normalizer(steps.next_obs)))
    advantage = maths.gae(rollout, value, next_value, config.gamma, config.lam)
    returns, advantage = (advantage + value).reshape(-1), advantage.reshape(-1)
    if config.normalize_advantages:
        advantage = maths.standardize(advantage)

    def total_loss(nets: tuple[Trunk, StochasticActor, StateValue]) -> tuple[Array, Metrics]:
        trunk, actor, value = nets
        features = trunk(obs)
        actions, error = actor(features), value(features) - returns
        actor_loss, entropy = -(advantage * actions.log_prob(steps.action)).mean(), actions.entropy().mean()
        value_loss = maths.LOSSES[config.value_loss](error).mean()
        total = actor_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
        return total, {"actor_loss": actor_loss, "value_loss": value_loss, "entropy": entropy}

    rate = config.learning_rate * (1.0 - config.lr_decay * clock.progress)
    nets = (policy.trunk, policy.actor, state.value)
    (trunk, actor, critic), opt_state, metrics = optimize.descend(
        optimizer(config, rate), total_loss, nets, state.opt_state
    )
    normalizer = policy.normalizer.advance(steps.obs)
    return State(Policy(trunk, actor, normalizer), critic, opt_state), {**metrics, "value": value.mean()}


def optimizer(config: Config, learning_rate: Array | float) -> optax.GradientTransformation:
    """Build the optimizer of all networks."""
    make = optimize.rmsprop if config.optimizer == "rmsprop" else optimize.adam
    return make(learning_rate, config.gradient_norm)
