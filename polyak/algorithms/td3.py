"""Twin Delayed Deep Deterministic policy gradient (TD3).

Fujimoto, van Hoof, Meger 2018, "Addressing function approximation error in actor-critic methods", arXiv 1802.09477.
DDPG with three cures for values that are overestimated: the target takes the minimum of two critics, is smoothed over
actions near the target actor's, and the actor and all targets move only after every d-th step of the critics:

    a' = clip(μ'(s') + clip(σ̃·ξ, -c, c), -1, 1)                                                (equation 14)
    y = r + γ·(1 - terminated)·min(Q'₁(s', a'), Q'₂(s', a'))                                   (equation 15)
    L(θ) = Σᵢ mean (y - Qᵢ(s, a))²        every d-th step: J(φ) = mean Q₁(s, μ(s)), then all targets (Algorithm 1)

Differs from the paper: (1 - terminated) is written out; the networks are 256-256, as in the authors' later code. With
one critic, no smoothing and delay 1 it is DDPG.
"""

from __future__ import annotations

from typing import Literal

from polyak.fields import number
from polyak.lazy import jax, jnp, optax
from polyak.networks.actor_critic import ActorCriticSettings, create_critics
from polyak.networks.actors import Actor, Bound, Policy
from polyak.networks.critics import Critic, ensemble_min, ensemble_sum
from polyak.networks.layers import Style
from polyak.numerics import maths, noise, optimize
from polyak.numerics.noise import NoiseSettings
from polyak.numerics.optimize import OptimizerSettings
from polyak.replay.sampling import SamplingSettings
from polyak.tree import polyak_average, pytree, replace, static
from polyak.types import Array, Box, Clock, EnvSpec, Metrics, Obs, Sampling, Transition

learns_from: Literal["rollout", "replay", "dataset"] = "replay"
acts_on = (Box,)
sampling = Sampling.of
init_memory, act = noise.init_memory, noise.act


@pytree
class Config(ActorCriticSettings, OptimizerSettings, SamplingSettings, NoiseSettings):
    """Hyperparameters of TD3. Actions and noise are in units of the [-1, 1] action."""

    gamma: float = number(default=0.99, least=0, most=1)
    """Discount factor γ, from 0 to 1."""
    tau: float = number(default=0.005, above=0, most=1)
    """Share τ of the way that the targets move, at each delayed update."""
    actor_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for the actor."""
    critic_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for the critics."""
    num_critics: int = number(default=2, least=1, static=True)
    """Number of critics; the target takes their minimum."""
    policy_delay: int = number(default=2, least=1, static=True)
    """The actor and the targets are updated once in this many updates."""
    smoothing_sigma: float = number(default=0.2, least=0)
    """Deviation σ̃ of the noise on the target actor's actions."""
    smoothing_clip: float = number(default=0.5, least=0)
    """Limit c of that noise."""
    bound: Bound = static(default="tanh")
    """How the actor's output is kept in [-1, 1]."""
    final_init: float | None = number(default=None, above=0)
    """Limit of the uniform initialization of all final layers; None: as the other layers."""
    loss: maths.Loss = static(default="mse")
    """The critics' loss."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning. Reported returns never are."""


@pytree
class Target:
    """The slowly moving copies μ' and Q'ᵢ."""

    actor: Actor
    critics: tuple[Critic, ...]


@pytree
class State:
    """Everything learning needs."""

    policy: Policy[Actor]
    critics: tuple[Critic, ...]
    target: Target
    actor_opt_state: optax.OptState
    critic_opt_state: optax.OptState


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    """Make a fresh agent whose targets equal its networks."""
    keys, style = jax.random.split(key), Style(config.architecture)
    actor = Actor.create(keys[0], spec, config.actor_layers, config.bound, config.final_init, style)
    critics = create_critics(keys[1], spec, config, config.num_critics, config.final_init)
    return State(
        policy=Policy(actor, config.normalizer(spec.obs)),
        critics=critics,
        target=Target(actor, critics),
        actor_opt_state=optimize.of(config, config.actor_learning_rate).init(actor),
        critic_opt_state=optimize.of(config, config.critic_learning_rate).init(critics),
    )


def update(config: Config, state: State, batch: Transition, key: jax.Array, clock: Clock) -> tuple[State, Metrics]:
    """Improve the critics; at every `policy_delay`-th update also the actor, and move the targets (Algorithm 1)."""
    policy, target = state.policy, state.target
    obs, next_obs = policy.normalizer(batch.obs), policy.normalizer(batch.next_obs)
    smoothing = config.smoothing_sigma * jax.random.normal(key, batch.action.shape)
    smoothing = jnp.clip(smoothing, -config.smoothing_clip, config.smoothing_clip)
    next_action = maths.clip(target.actor(next_obs) + smoothing)
    next_q = ensemble_min([critic(next_obs, next_action) for critic in target.critics])
    discount = batch.discount(config.gamma)
    y = maths.td_target(config.reward_scale * batch.reward, discount, batch.terminated, next_q)

    def critic_loss(critics: tuple[Critic, ...]) -> tuple[Array, Metrics]:
        qs = [critic(obs, batch.action) for critic in critics]
        loss = ensemble_sum([batch.weighted(maths.LOSSES[config.loss](q - y)).mean() for q in qs])
        return loss, {"critic_loss": loss, "q": qs[0].mean(), "td_error": jnp.abs(qs[0] - y)}

    critics, critic_opt_state, metrics = optimize.descend(
        optimize.of(config, config.critic_learning_rate), critic_loss, state.critics, state.critic_opt_state
    )
    normalizer = policy.normalizer.advance(batch.obs)
    state = replace(
        state, policy=replace(policy, normalizer=normalizer), critics=critics, critic_opt_state=critic_opt_state
    )

    def delayed(state: State) -> State:
        return _improve_actor(config, state, obs)

    if config.policy_delay == 1:
        return delayed(state), metrics
    return jax.lax.cond(
        clock.updates % config.policy_delay == config.policy_delay - 1, delayed, lambda s: s, state
    ), metrics


def _improve_actor(config: Config, state: State, obs: Obs) -> State:
    """Climb the first critic, then move all targets."""

    def actor_loss(actor: Actor) -> tuple[Array, Metrics]:
        return -state.critics[0](obs, actor(obs)).mean(), {}

    actor, opt_state, _ = optimize.descend(
        optimize.of(config, config.actor_learning_rate), actor_loss, state.policy.actor, state.actor_opt_state
    )
    target = Target(
        polyak_average(state.target.actor, actor, config.tau),
        polyak_average(state.target.critics, state.critics, config.tau),
    )
    return replace(state, policy=replace(state.policy, actor=actor), target=target, actor_opt_state=opt_state)
