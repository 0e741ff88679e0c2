"""Proximal Policy Optimization (PPO), with the clipped objective.

Schulman, Wolski, Dhariwal, Radford, Klimov 2017, "Proximal policy optimization algorithms", arXiv 1707.06347. A
rollout is learned from several times over, in minibatches; the ratio of the new to the old probability of an action is
clipped, so that no step gains from moving further. With ρ = π(a|s)/π_old(a|s) and Â, R as in A2C, estimated once by
the old value:

    L = -mean min(ρ·Â, clip(ρ, 1 - ε, 1 + ε)·Â) + c_v·½·mean (V(s) - R)² - c_e·mean H(π(s))

The usual details (Huang et al. 2022, "The 37 implementation details of proximal policy optimization") are settings:
advantages normalized in each minibatch, orthogonal initialization, observations and rewards scaled by running
statistics, step size and ε that fall over the run, a clipped value loss, and an end of the epochs at a limit of the KL
divergence, estimated as mean ρ - 1 - log ρ. Differs from the paper: a time limit does not end the task but is
bootstrapped through.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from polyak.errors import UsageError, option
from polyak.fields import check, number
from polyak.lazy import jax, jnp, optax
from polyak.networks.actors import Policy, StochasticActor
from polyak.networks.critics import StateValue
from polyak.networks.distributions import sample_or_mode
from polyak.networks.layers import Style
from polyak.numerics import draws, maths, normalize, optimize
from polyak.numerics.normalize import RewardScale
from polyak.tree import pytree, replace, static, take
from polyak.types import Array, Box, Clock, Discrete, EnvSpec, Metrics, MultiDiscrete, Obs, Transition

learns_from: Literal["rollout", "replay", "dataset"] = "rollout"
acts_on = (Discrete, Box, MultiDiscrete)
act = sample_or_mode


@pytree
class Config:
    """Hyperparameters of PPO."""

    gamma: float = number(default=0.99, least=0, most=1)
    """Discount factor γ, from 0 to 1."""
    lam: float = number(default=0.95, least=0, most=1)
    """λ of the generalized advantage estimate."""
    learning_rate: float = number(default=3e-4, above=0)
    """Adam's step size."""
    lr_decay: float = number(default=0.0, least=0, most=1)
    """Share of the step size that is lost, evenly, over the run."""
    epochs: int = number(default=10, least=1, static=True)
    """Times that each rollout is learned from."""
    minibatch: int = number(default=64, least=1, static=True)
    """Transitions in each minibatch; they must divide the rollout."""
    clip: float = number(default=0.2, above=0)
    """Limit ε of the probability ratio's distance from 1."""
    anneal_clip: float = number(default=0.0, least=0, most=1)
    """Share of ε that is lost, evenly, over the run."""
    value_clip: float | None = number(default=None, above=0)
    """Limit of how far a value may move from the old one while its error still counts; None: unlimited."""
    target_kl: float | None = number(default=None, above=0)
    """KL divergence from the old policy beyond which the rest of the epochs is left out; None: never."""
    value_coefficient: float = number(default=0.5, least=0)
    """Weight c_v of the value's loss."""
    entropy_coefficient: float = number(default=0.0, least=0)
    """Weight c_e of the policy's entropy, which keeps it exploring."""
    normalize_advantages: bool = static(default=True)
    """Give the advantages of each minibatch mean 0 and deviation 1."""
    normalize_observations: bool = static(default=False)
    """Normalize observations by their running mean and deviation, clipped to ±10."""
    normalize_rewards: bool = static(default=False)
    """Scale rewards by the running deviation of the discounted return, clipped to ±10."""
    actor_layers: tuple[int, ...] = number(default=(64, 64), least=1, static=True)
    """Widths of the policy's hidden layers."""
    value_layers: tuple[int, ...] = number(default=(64, 64), least=1, static=True)
    """Widths of the value's hidden layers."""
    activation: Literal["relu", "tanh"] = static(default="tanh")
    """Activation of the hidden layers."""
    gradient_norm: float | None = number(default=0.5, above=0)
    """Largest norm of the whole gradient; None: unlimited."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        check(self)


class RolloutShape(Protocol):
    """The settings of a plan that give the size of a rollout."""

    @property
    def rollout_length(self) -> int:
        """Steps of each environment."""

    @property
    def envs(self) -> int:
        """Number of environments."""


def fit(config: Config, plan: RolloutShape) -> Config:
    """Return the config with the size of minibatches, nearest in ratio, that divides the plan's rollout."""
    return replace(config, minibatch=_minibatch_for(config, plan.rollout_length * plan.envs))


def validate(config: Config, plan: RolloutShape) -> None:
    """Raise UsageError where the minibatches do not divide the rollout."""
    size = plan.rollout_length * plan.envs
    if size % config.minibatch:
        raise UsageError(
            f"minibatch = {config.minibatch} does not divide the rollout of rollout_length × envs ="
            f" {plan.rollout_length} × {plan.envs} ="
            f" {size} transitions: use"
            f" {option('config.minibatch', _minibatch_for(config, size))}"
        )


def _minibatch_for(config: Config, size: int) -> int:
    divisors = (n for n in range(1, min(size, 10**6) + 1) if size % n == 0)
    return min((*divisors, size), key=lambda n: max(n, config.minibatch) / min(n, config.minibatch))


@pytree
class State:
    """Everything learning needs."""

    policy: Policy[StochasticActor]
    value: StateValue
    reward_scale: RewardScale | None
    opt_state: optax.OptState


@pytree
class Batch:
    """What is learned from: each `[batch]`, of the policy and the value before the first step."""

    obs: Obs
    action: Array
    log_prob: Array
    value: Array
    advantage: Array
    returns: Array


Nets: TypeAlias = tuple[StochasticActor, StateValue]
Carried: TypeAlias = "tuple[Nets, optax.OptState, jax.Array]"  # nets, optimizer, and whether the epochs were stopped


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    """Make a fresh agent."""
    actor_key, value_key = jax.random.split(key)
    style = Style(activation=config.activation, orthogonal=True)
    actor = StochasticActor.create(actor_key, spec, config.actor_layers, 0.01, style)
    value = StateValue.create(value_key, spec.obs, config.value_layers, 1.0, style)
    normalizer = normalize.make(spec.obs, config.normalize_observations)
    reward_scale = RewardScale.create() if config.normalize_rewards else None
    opt_state = optimizer(config, config.learning_rate).init((actor, value))
    return State(Policy(actor, normalizer), value, reward_scale, opt_state)


def update(config: Config, state: State, rollout: Transition, key: jax.Array, clock: Clock) -> tuple[State, Metrics]:
    """Learn from a rollout: `epochs` times all of it, in minibatches drawn anew each time."""
    reward_scale = state.reward_scale
    if reward_scale is not None:
        reward, reward_scale = reward_scale.advance(rollout, config.gamma)
        rollout = replace(rollout, reward=reward)
    batch = _estimated(config, state, rollout)
    size = batch.returns.size
    keys = jax.random.split(key, config.epochs)
    order = jax.vmap(lambda k: draws.permutation(k, size))(keys).reshape(-1, config.minibatch)

    def step(carried: Carried, minibatch: Batch) -> tuple[Carried, Metrics]:
        nets, opt_state, stopped = carried
        after, opt_state_after, metrics = _step(config, nets, opt_state, minibatch, clock)
        if config.target_kl is None:
            return (after, opt_state_after, stopped), metrics
        stopped = stopped | (metrics["kl"] > config.target_kl)
        kept = jax.tree.map(lambda new, old: jnp.where(stopped, old, new), (after, opt_state_after), (nets, opt_state))
        return (*kept, stopped), metrics

    start = ((state.policy.actor, state.value), state.opt_state, jnp.zeros((), bool))
    # all minibatches are gathered at once, which costs less than in the scan
    ((actor, value), opt_state, _), metrics = jax.lax.scan(step, start, take(batch, order))
    normalizer = state.policy.normalizer.advance(rollout.flat().obs)
    residual = (batch.returns - batch.value).var() / jnp.maximum(batch.returns.var(), 1e-8)
    metrics = {**{name: values.mean() for name, values in metrics.items()}, "explained_variance": 1.0 - residual}
    return State(Policy(actor, normalizer), value, reward_scale, opt_state), metrics


def _estimated(config: Config, state: State, rollout: Transition) -> Batch:
    """Recompute what the old policy and value said of a rollout, and estimate its advantages."""
    policy, steps, shape = state.policy, rollout.flat(), rollout.reward.shape
    obs = policy.normalizer(steps.obs)
    value, next_value = (state.value(x).reshape(shape) for x in (obs, policy.normalizer(steps.next_obs)))
    advantage = maths.gae(rollout, value, next_value, config.gamma, config.lam)
    return Batch(
        obs=obs,
        action=steps.action,
        log_prob=policy.actor(obs).log_prob(steps.action),
        value=value.reshape(-1),
        advantage=advantage.reshape(-1),
        returns=(advantage + value).reshape(-1),
    )


def _step(
    config: Config, nets: Nets, opt_state: optax.OptState, batch: Batch, clock: Clock
) -> tuple[Nets, optax.OptState, Metrics]:
    """Make one step of policy and value together."""
    advantage = maths.standardize(batch.advantage) if config.normalize_advantages else batch.advantage
    clip = config.clip * (1.0 - config.anneal_clip * clock.progress)

    def total_loss(nets: Nets) -> tuple[Array, Metrics]:
        actor, value = nets
        actions, v = actor(batch.obs), value(batch.obs)
        log_ratio = actions.log_prob(batch.action) - batch.log_prob
        ratio, entropy = jnp.exp(log_ratio), actions.entropy().mean()
        actor_loss = -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage).mean()
        error = jnp.square(v - batch.returns)
        if config.value_clip is not None:
            near = batch.value + jnp.clip(v - batch.value, -config.value_clip, config.value_clip)
            error = jnp.maximum(error, jnp.square(near - batch.returns))
        value_loss = 0.5 * error.mean()
        total = actor_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
        kl, clipped = (ratio - 1.0 - log_ratio).mean(), (jnp.abs(ratio - 1.0) > clip).mean()
        metrics = {"actor_loss": actor_loss, "value_loss": value_loss, "entropy": entropy}
        return total, {**metrics, "kl": kl, "clipped": clipped}

    rate = config.learning_rate * (1.0 - config.lr_decay * clock.progress)
    nets, opt_state, metrics = optimize.descend(optimizer(config, rate), total_loss, nets, opt_state)
    return nets, opt_state, metrics


def optimizer(config: Config, learning_rate: Array | float) -> optax.GradientTransformation:
    """Build the optimizer of both networks."""
    return optimize.adam(learning_rate, config.gradient_norm, epsilon=1e-5)
