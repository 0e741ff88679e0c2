"""Soft Actor-Critic (SAC), with a learned temperature, for continuous and for discrete actions.

Haarnoja et al. 2018, "Soft actor-critic algorithms and applications", arXiv 1812.05905; for discrete actions
Christodoulou 2019, "Soft actor-critic for discrete action settings", arXiv 1910.07207. A stochastic policy maximizes
reward plus α times its entropy; α keeps the entropy near a target H̄. With V'(s) = E[min Q'ᵢ(s, a) - α·log π(a|s)]:

    y = r + γ·(1 - terminated)·V'(s')             L(θ) = ½·Σᵢ mean (y - Qᵢ(s, a))²              (equations 5 and 6)
    J(φ) = mean E[min Qᵢ(s, a) - α·log π(a|s)]    J(α) = mean E[-α·(log π(a|s) + H̄)]            (equations 7 and 18)

E over actions is one sample of a squashed normal, through which the gradient flows; of discrete actions it is exact.
Differs from the papers: the temperature's loss is by default log α·(entropy - H̄), whose speed does not depend on α;
H̄ of discrete actions is half, not 0.98, of the largest; noise may be correlated in time. N-step returns leave out
the entropy of the steps between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from polyak.fields import number, refuse_changed
from polyak.lazy import jax, jnp, optax
from polyak.networks.actor_critic import ActorCriticSettings, create_critics
from polyak.networks.actors import Policy, SigmaBound, SquashedActor, StochasticActor
from polyak.networks.critics import ActionValues, Critic, ensemble_keys, ensemble_min, ensemble_sum
from polyak.networks.distributions import Categorical, Distribution, SquashedNormal
from polyak.networks.layers import Style
from polyak.numerics import maths, optimize
from polyak.numerics.noise import Correlated
from polyak.numerics.optimize import OptimizerSettings
from polyak.replay.sampling import SamplingSettings
from polyak.tree import polyak_average, pytree, static
from polyak.types import Array, Box, Clock, Discrete, EnvSpec, Key, Metrics, Obs, Sampling, Transition, Tree

learns_from: Literal["rollout", "replay", "dataset"] = "replay"
acts_on = (Box, Discrete)
sampling = Sampling.of


@pytree
class Config(ActorCriticSettings, OptimizerSettings, SamplingSettings):
    """Hyperparameters of SAC. Entropies are in nats, of actions in units of [-1, 1]."""

    gamma: float = number(default=0.99, least=0, most=1)
    """Discount factor γ, from 0 to 1."""
    tau: float = number(default=0.005, above=0, most=1)
    """Share τ of the way that the target critics move in each update."""
    actor_learning_rate: float = number(default=3e-4, above=0)
    """Adam's step size for the actor."""
    critic_learning_rate: float = number(default=3e-4, above=0)
    """Adam's step size for the critics."""
    alpha_learning_rate: float = number(default=3e-4, above=0)
    """Adam's step size for log α."""
    alpha: float = number(default=1.0, above=0)
    """Temperature α: at the start, or always where it is not learned."""
    learn_alpha: bool = static(default=True)
    """Adjust the temperature so that the entropy of the policy stays near the target entropy."""
    alpha_loss: Literal["log", "paper"] = static(default="log")
    """Loss of the temperature: log α·(entropy - H̄), or the paper's α·(entropy - H̄)."""
    target_entropy: float | None = None
    """Target entropy H̄ in nats, of actions in [-1, 1]; None: by one of the next two."""
    target_per_dimension: float = -1.0
    """Target entropy for each dimension of a continuous action."""
    target_share: float = number(default=0.5, above=0, most=1)
    """Share of the largest entropy of discrete actions, log n, that is their target entropy."""
    num_critics: int = number(default=2, least=1, static=True)
    """Number of critics; their minimum is used."""
    sigma_bound: SigmaBound = static(default="clamp")
    """How σ of continuous actions is bounded: log σ clamped to [-20, 2], or by tanh in [-5, 2], or σ by softplus."""
    loss: maths.Loss = static(default="mse")
    """The critics' loss."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning. Reported returns never are."""
    noise_correlation: float = number(default=0.0, least=0, most=1)
    """Correlation between the exploration noise of one step and of the next; 0: independent."""


CONTINUOUS_ONLY = (
    "target_per_dimension",
    "critic_state_layers",
    "critic_action_layers",
    "sigma_bound",
    "noise_correlation",
)


Actions: TypeAlias = SquashedNormal | Distribution
AnyActor: TypeAlias = Callable[[Obs], Actions]
AnyCritic: TypeAlias = Critic | ActionValues


@pytree
class State:
    """Everything learning needs."""

    policy: Policy[AnyActor]
    critics: tuple[AnyCritic, ...]
    target: tuple[AnyCritic, ...]  # the slowly moving copies of the critics
    log_alpha: Array  # []
    target_entropy: Array  # []
    actor_opt_state: optax.OptState
    critic_opt_state: optax.OptState
    alpha_opt_state: optax.OptState


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    """Make a fresh agent whose target critics equal its critics."""
    actor_key, critic_key = jax.random.split(key)
    count, style = config.num_critics, Style(config.architecture)
    actor: AnyActor
    critics: tuple[AnyCritic, ...]
    if isinstance(spec.action, Discrete):
        refuse_changed(config, CONTINUOUS_ONLY, "continuous actions")
        actor = StochasticActor.create(actor_key, spec, config.actor_layers, None, style)
        keys, widths = ensemble_keys(critic_key, count), config.critic_joint_layers
        critics = tuple(ActionValues.create(k, spec, widths, style=style) for k in keys)
        entropy = config.target_share * np.log(spec.action.n)
    else:
        refuse_changed(config, ("target_share",), "discrete actions")
        actor = SquashedActor.create(actor_key, spec, config.actor_layers, config.sigma_bound, style)
        critics = create_critics(critic_key, spec, config, count)
        entropy = config.target_per_dimension * spec.action.width
    log_alpha = jnp.log(jnp.asarray(config.alpha, jnp.float32))
    return State(
        policy=Policy(actor, config.normalizer(spec.obs)),
        critics=critics,
        target=critics,
        log_alpha=log_alpha,
        target_entropy=jnp.asarray(entropy if config.target_entropy is None else config.target_entropy, jnp.float32),
        actor_opt_state=optimize.of(config, config.actor_learning_rate).init(actor),
        critic_opt_state=optimize.of(config, config.critic_learning_rate).init(critics),
        alpha_opt_state=optimize.adam(config.alpha_learning_rate).init(log_alpha),
    )


def init_memory(config: Config, spec: EnvSpec) -> Tree:
    """Start the exploration noise of one environment; discrete actions are drawn without."""
    return Correlated(config.noise_correlation).start(spec.action.width) if isinstance(spec.action, Box) else ()


def act(
    config: Config, policy: Policy[AnyActor], memory: Tree, obs: Obs, key: Key, explore: bool
) -> tuple[Array, Tree]:
    """Draw from the policy; when not exploring, take its mode."""
    actions = policy(obs)
    if not explore:
        return actions.mode(), memory
    if not isinstance(actions, SquashedNormal):
        return actions.sample(key), memory
    noise, memory = Correlated(config.noise_correlation).next(memory, key, actions.mean.shape)
    return actions.squash(noise), memory


def update(config: Config, state: State, batch: Transition, key: jax.Array, clock: Clock) -> tuple[State, Metrics]:
    """Improve the critics, then the actor, then the temperature; move the target critics (Algorithm 1)."""
    policy, alpha = state.policy, jnp.exp(state.log_alpha)
    target_key, actor_key = jax.random.split(key)
    obs, y = policy.normalizer(batch.obs), target_value(config, state, batch, target_key)

    def critic_loss(critics: tuple[AnyCritic, ...]) -> tuple[Array, Metrics]:
        qs = [value(critic, obs, batch.action) for critic in critics]
        loss = 0.5 * ensemble_sum([batch.weighted(maths.LOSSES[config.loss](q - y)).mean() for q in qs])
        return loss, {"critic_loss": loss, "q": qs[0].mean(), "td_error": jnp.abs(qs[0] - y)}

    critics, critic_opt_state, critic_metrics = optimize.descend(
        optimize.of(config, config.critic_learning_rate), critic_loss, state.critics, state.critic_opt_state
    )

    def actor_loss(actor: AnyActor) -> tuple[Array, Metrics]:
        q, entropy = average_over_actions(actor(obs), critics, obs, actor_key)
        loss = -(q + alpha * entropy).mean()
        return loss, {"actor_loss": loss, "entropy": entropy.mean()}

    actor, actor_opt_state, actor_metrics = optimize.descend(
        optimize.of(config, config.actor_learning_rate), actor_loss, policy.actor, state.actor_opt_state
    )
    log_alpha, alpha_opt_state = _temperature(config, state, actor_metrics["entropy"])
    policy = Policy(actor, policy.normalizer.advance(batch.obs))
    target = polyak_average(state.target, critics, config.tau)
    state = State(
        policy, critics, target, log_alpha, state.target_entropy, actor_opt_state, critic_opt_state, alpha_opt_state
    )
    return state, {**critic_metrics, **actor_metrics, "alpha": alpha}


def target_value(config: Config, state: State, batch: Transition, key: jax.Array) -> Array:
    """Return what the critics are fitted to, `[batch]`: r + γ·(least target critic + α·entropy), up to the end."""
    next_obs = state.policy.normalizer(batch.next_obs)
    q, entropy = average_over_actions(state.policy.actor(next_obs), state.target, next_obs, key)
    soft, discount = q + jnp.exp(state.log_alpha) * entropy, batch.discount(config.gamma)
    return maths.td_target(config.reward_scale * batch.reward, discount, batch.terminated, soft)


def average_over_actions(
    actions: Actions, critics: tuple[AnyCritic, ...], obs: Obs, key: jax.Array
) -> tuple[Array, Array]:
    """Return E[min Qᵢ(s, a)] and the entropy E[-log π(a|s)], each `[batch]`: exact, or from one sample."""
    if isinstance(actions, Categorical):
        log_probs = actions.log_probs()
        probs, q = jnp.exp(log_probs), ensemble_min([values(critic, obs) for critic in critics])
        return (probs * q).sum(-1), -(probs * log_probs).sum(-1)
    assert isinstance(actions, SquashedNormal)
    action, log_prob = actions.sample_with_log_prob(key)
    return ensemble_min([value(critic, obs, action) for critic in critics]), -log_prob


def values(critic: AnyCritic, obs: Obs) -> Array:
    """Return Q(s, ·) `[batch, n]` of all discrete actions."""
    assert isinstance(critic, ActionValues)
    return critic(obs)


def value(critic: AnyCritic, obs: Obs, action: Array) -> Array:
    """Return Q(s, a) `[batch]` of the actions that were taken."""
    return maths.of_action(critic(obs), action) if isinstance(critic, ActionValues) else critic(obs, action)


def _temperature(config: Config, state: State, entropy: Array) -> tuple[Array, optax.OptState]:
    """Raise the temperature where the entropy is below its target, lower it where above (equation 18)."""
    if not config.learn_alpha:
        return state.log_alpha, state.alpha_opt_state

    def alpha_loss(log_alpha: Array) -> tuple[Array, Metrics]:
        scale = log_alpha if config.alpha_loss == "log" else jnp.exp(log_alpha)
        return scale * (entropy - state.target_entropy), {}

    adam = optimize.adam(config.alpha_learning_rate)
    return optimize.descend(adam, alpha_loss, state.log_alpha, state.alpha_opt_state)[:2]
