"""Deep Deterministic Policy Gradient (DDPG).

Lillicrap, Hunt, Pritzel, Heess, Erez, Tassa, Silver, Wierstra 2016, "Continuous control with deep reinforcement
learning", arXiv 1509.02971. An actor μ(s) climbs the value Q(s, a) that a critic learns off-policy from replayed
transitions; slowly moving copies of both make the critic's targets:

    y = r + γ·(1 - terminated)·Q'(s', μ'(s'))         L(θ) = mean (y - Q(s, a))²          (equations 4 and 5)
    J(φ) = mean Q(s, μ(s))                            θ' ← θ' + τ·(θ - θ')                (equation 6, section 3)

Differs from the paper: (1 - terminated) is written out; the defaults are today's (256-256, Gaussian noise, no weight
decay, no batch norm) and the preset `paper` has the paper's. With batch norm, the targets and the critic inside the
actor's loss use running statistics, which the targets copy whole; the paper leaves both open.
"""

from __future__ import annotations

from typing import Literal

from polyak.errors import UsageError
from polyak.fields import number
from polyak.lazy import jax, jnp, optax
from polyak.networks.actor_critic import ActorCriticSettings
from polyak.networks.actors import Actor, Bound
from polyak.networks.batch_norm import STYLES, NetStatistics, Normalization, fresh_statistics
from polyak.networks.critics import Critic
from polyak.networks.layers import Style
from polyak.numerics import maths, noise, optimize
from polyak.numerics.noise import NoiseSettings
from polyak.numerics.normalize import Normalizer
from polyak.numerics.optimize import Decay, OptimizerSettings
from polyak.replay.sampling import SamplingSettings
from polyak.tree import polyak_average, pytree, static
from polyak.types import Array, Box, Clock, EnvSpec, Metrics, Obs, Sampling, Transition

learns_from: Literal["rollout", "replay", "dataset"] = "replay"
acts_on = (Box,)
sampling = Sampling.of
init_memory, act = noise.init_memory, noise.act


@pytree
class Config(ActorCriticSettings, OptimizerSettings, SamplingSettings, NoiseSettings):
    """Hyperparameters of DDPG. Actions and noise are in units of the [-1, 1] action."""

    gamma: float = number(default=0.99, least=0, most=1)
    """Discount factor γ, from 0 to 1."""
    tau: float = number(default=0.005, above=0, most=1)
    """Share τ of the way that the targets move in each update."""
    actor_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for the actor."""
    critic_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for the critic."""
    bound: Bound = static(default="tanh")
    """How the actor's output is kept in [-1, 1]."""
    final_init: float | None = number(default=3e-3, above=0)
    """Limit of the uniform initialization of both final layers; None: as the other layers."""
    loss: maths.Loss = static(default="mse")
    """The critic's loss."""
    critic_weight_decay: float | None = number(default=None, least=0)
    """L2 decay of the critic's weights, added to the gradient; biases and weights before a norm are spared."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning. Reported returns never are."""
    batch_norm: Normalization = static(default="off")
    """Normalize the observation, the actor's layers and the critic's state layers by the batch; or renormalize."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        if self.architecture == "simba" and self.batch_norm != "off":
            raise UsageError('architecture = "simba" already normalizes its layers: leave batch_norm off')


@pytree
class Policy:
    """What acting needs."""

    actor: Actor
    statistics: NetStatistics
    normalizer: Normalizer

    def __call__(self, obs: Obs) -> Array:
        """Return μ(s) for observations `[batch, obs]`."""
        return self.actor(self.normalizer(obs), self.statistics)


@pytree
class Target:
    """The slowly moving copies μ' and Q' with their batch-norm statistics."""

    actor: Actor
    critic: Critic
    actor_statistics: NetStatistics
    critic_statistics: NetStatistics


@pytree
class State:
    """Everything learning needs."""

    policy: Policy
    critic: Critic
    critic_statistics: NetStatistics
    target: Target
    actor_opt_state: optax.OptState
    critic_opt_state: optax.OptState


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    """Make a fresh agent whose targets equal its networks."""
    actor_key, critic_key = jax.random.split(key)
    style = Style(config.architecture, norm=STYLES[config.batch_norm])
    actor = Actor.create(actor_key, spec, config.actor_layers, config.bound, config.final_init, style)
    critic = Critic.create(critic_key, spec, config.critic_layers, config.final_init, style)
    return State(
        policy=Policy(actor, fresh_statistics(actor), config.normalizer(spec.obs)),
        critic=critic,
        critic_statistics=fresh_statistics(critic),
        target=Target(actor, critic, fresh_statistics(actor), fresh_statistics(critic)),
        actor_opt_state=optimize.of(config, config.actor_learning_rate).init(actor),
        critic_opt_state=critic_optimizer(config).init(critic),
    )


def update(config: Config, state: State, batch: Transition, key: jax.Array, clock: Clock) -> tuple[State, Metrics]:
    """Improve the critic, then the actor with the improved critic, then move the targets (Algorithm 1)."""
    policy, target, y = state.policy, state.target, target_value(config, state, batch)
    obs = policy.normalizer(batch.obs)

    def critic_loss(critic: Critic) -> tuple[Array, tuple[NetStatistics, Metrics]]:
        q, statistics = critic.train(obs, batch.action, state.critic_statistics)
        loss = batch.weighted(maths.LOSSES[config.loss](q - y)).mean()
        return loss, (statistics, {"critic_loss": loss, "q": q.mean(), "td_error": jnp.abs(q - y)})

    critic, critic_opt_state, (critic_statistics, critic_metrics) = optimize.descend(
        critic_optimizer(config), critic_loss, state.critic, state.critic_opt_state
    )

    def actor_loss(actor: Actor) -> tuple[Array, tuple[NetStatistics, Metrics]]:
        action, statistics = actor.train(obs, policy.statistics)
        loss = -critic(obs, action, critic_statistics).mean()
        return loss, (statistics, {"actor_loss": loss})

    actor, actor_opt_state, (actor_statistics, actor_metrics) = optimize.descend(
        optimize.of(config, config.actor_learning_rate), actor_loss, policy.actor, state.actor_opt_state
    )

    normalizer = policy.normalizer.advance(batch.obs)
    policy = Policy(actor, actor_statistics, normalizer)
    target = Target(
        actor=polyak_average(target.actor, actor, config.tau),
        critic=polyak_average(target.critic, critic, config.tau),
        actor_statistics=actor_statistics,
        critic_statistics=critic_statistics,
    )
    state = State(policy, critic, critic_statistics, target, actor_opt_state, critic_opt_state)
    return state, {**critic_metrics, **actor_metrics}


def target_value(config: Config, state: State, batch: Transition) -> Array:
    """Return what the critic is fitted to, `[batch]`: y = r + γ·(1 - terminated)·Q'(s', μ'(s')) (Algorithm 1)."""
    next_obs, target = state.policy.normalizer(batch.next_obs), state.target
    next_action = target.actor(next_obs, target.actor_statistics)
    next_q = target.critic(next_obs, next_action, target.critic_statistics)
    return maths.td_target(config.reward_scale * batch.reward, batch.discount(config.gamma), batch.terminated, next_q)


def critic_optimizer(config: Config) -> optax.GradientTransformation:
    """Build the critic's optimizer, whose gradient may hold an L2 decay."""
    decay = Decay(config.critic_weight_decay, config.weight_decay, Critic.decayed)
    return optimize.adam(config.critic_learning_rate, config.gradient_norm, decay)
