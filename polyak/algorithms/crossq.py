"""CrossQ: soft actor-critic without target networks, made stable by batch normalization.

Bhatt, Palenicek, Belousov, Argus, Amiranashvili, Brox, Peters 2024, "CrossQ: batch normalization in deep reinforcement
learning for greater sample efficiency and simplicity", ICLR, arXiv 1902.05605. SAC (see `sac`) with three changes: the
critics' own values make the targets; their layers are batch-normalized, with (s, a) and (s', a') passing through
together as one batch, so that both are normalized by the same statistics; and they are wide.

    [q; q'] = Qᵢ([s; s'], [a; a']) in training mode, a' ~ π(s')
    y = r + γ·(1 - terminated)·(min q'ᵢ - α·log π(a'|s')), to which no gradient flows

The critics' update uses the actor in evaluation mode; the actor's update trains the actor's statistics and uses the
critics in evaluation mode. Differs from the paper: the critics have 512 units in each layer by default, not 2048,
because that is what a CPU computes in bearable time; the preset `paper` has the paper's. Without normalization it is
SAC with τ = 1.
"""

from __future__ import annotations

from typing import Literal

from polyak.fields import check, number
from polyak.lazy import jax, jnp, optax
from polyak.networks.actors import SquashedActor
from polyak.networks.batch_norm import BatchStyle, NetStatistics, Normalization, fresh_statistics
from polyak.networks.critics import Critic, ensemble_keys, ensemble_min, ensemble_sum
from polyak.networks.layers import Style
from polyak.numerics import maths, optimize
from polyak.numerics.noise import Correlated
from polyak.tree import pytree, replace, static
from polyak.types import Array, Box, Clock, EnvSpec, Key, Metrics, Obs, Sampling, Transition, Tree

learns_from: Literal["rollout", "replay", "dataset"] = "replay"
acts_on = (Box,)


@pytree
class Config:
    """Hyperparameters of CrossQ. Entropies are in nats, of actions in units of [-1, 1]."""

    gamma: float = number(default=0.99, least=0, most=1)
    """Discount factor γ, from 0 to 1."""
    actor_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for the actor."""
    critic_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for the critics."""
    alpha_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for log α."""
    adam_b1: float = number(default=0.5, least=0, below=1)
    """Adam's β₁ for actor and critics: the share of the last gradients that is kept."""
    alpha: float = number(default=1.0, above=0)
    """Temperature α: at the start, or always where it is not learned."""
    learn_alpha: bool = static(default=True)
    """Adjust the temperature so that the entropy of the policy stays near the target entropy."""
    alpha_loss: Literal["log", "paper"] = static(default="log")
    """The temperature's loss: log α·(H - H̄), or α·(H - H̄), which the authors' program has."""
    target_entropy: float | None = None
    """Target entropy H̄ in nats, of actions in [-1, 1]; None: -1 per dimension."""
    actor_layers: tuple[int, ...] = number(default=(256, 256), least=1, static=True)
    """Widths of the actor's hidden layers."""
    critic_layers: tuple[int, ...] = number(default=(512, 512), least=1, static=True)
    """Widths of each critic's hidden layers."""
    num_critics: int = number(default=2, least=1, static=True)
    """Number of critics; their minimum is used."""
    policy_delay: int = number(default=3, least=1, static=True)
    """The actor and the temperature are updated once in this many updates."""
    batch_norm: Normalization = static(default="renorm")
    """Normalize the input and each hidden layer, after its activation, by the batch; or renormalize."""
    momentum: float = number(default=0.01, above=0, most=1, static=True)
    """Share of the way that the running statistics move towards those of a batch."""
    renorm_warmup: int = number(default=100_000, least=0, static=True)
    """Updates in which batch renormalization is plain batch normalization."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning. Reported returns never are."""
    n_step: int = number(default=1, least=1, static=True)
    """Rewards that a target adds up before it bootstraps."""
    noise_correlation: float = number(default=0.0, least=0, most=1)
    """Correlation between the exploration noise of one step and of the next; 0: independent."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        check(self)


@pytree
class Policy:
    """What acting needs."""

    actor: SquashedActor
    statistics: NetStatistics


@pytree
class State:
    """Everything learning needs."""

    policy: Policy
    critics: tuple[Critic, ...]
    critic_statistics: tuple[NetStatistics, ...]
    log_alpha: Array  # []
    target_entropy: Array  # []
    actor_opt_state: optax.OptState
    critic_opt_state: optax.OptState
    alpha_opt_state: optax.OptState


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    """Make a fresh agent."""
    actor_key, critic_key = jax.random.split(key)
    renorm = config.batch_norm == "renorm"
    norm = BatchStyle(renorm, config.momentum, 1e-3, config.renorm_warmup if renorm else 0)
    style = Style(norm=None if config.batch_norm == "off" else norm, norm_after=True)
    actor = SquashedActor.create(actor_key, spec, config.actor_layers, style=style)
    layers = ((), (), config.critic_layers)
    critics = tuple(
        Critic.create(key, spec, layers, None, style, normalize_joint=True)
        for key in ensemble_keys(critic_key, config.num_critics)
    )
    log_alpha = jnp.log(jnp.asarray(config.alpha, jnp.float32))
    entropy = -float(spec.action.width) if config.target_entropy is None else config.target_entropy
    return State(
        policy=Policy(actor, fresh_statistics(actor)),
        critics=critics,
        critic_statistics=tuple(fresh_statistics(critic) for critic in critics),
        log_alpha=log_alpha,
        target_entropy=jnp.asarray(entropy, jnp.float32),
        actor_opt_state=optimizer(config, config.actor_learning_rate).init(actor),
        critic_opt_state=optimizer(config, config.critic_learning_rate).init(critics),
        alpha_opt_state=optimize.adam(config.alpha_learning_rate).init(log_alpha),
    )


def init_memory(config: Config, spec: EnvSpec) -> Tree:
    """Start the exploration noise of one environment."""
    return Correlated(config.noise_correlation).start(spec.action.width)


def act(config: Config, policy: Policy, memory: Tree, obs: Obs, key: Key, explore: bool) -> tuple[Array, Tree]:
    """Draw from the policy; when not exploring, take its mode."""
    actions = policy.actor(obs, policy.statistics)
    if not explore:
        return actions.mode(), memory
    noise, memory = Correlated(config.noise_correlation).next(memory, key, actions.mean.shape)
    return actions.squash(noise), memory


def update(config: Config, state: State, batch: Transition, key: jax.Array, clock: Clock) -> tuple[State, Metrics]:
    """Improve the critics; at every `policy_delay`-th update also the actor and the temperature."""
    target_key, actor_key = jax.random.split(key)
    alpha, n = jnp.exp(state.log_alpha), batch.reward.shape[0]
    actions = state.policy.actor(batch.next_obs, state.policy.statistics)
    next_action, next_log_prob = actions.sample_with_log_prob(target_key)
    obs = jax.tree.map(lambda *parts: jnp.concatenate(parts), batch.obs, batch.next_obs)
    action = jnp.concatenate([batch.action, next_action])

    def critic_loss(critics: tuple[Critic, ...]) -> tuple[Array, tuple[tuple[NetStatistics, ...], Metrics]]:
        pairs = zip(critics, state.critic_statistics, strict=True)
        both, statistics = zip(*(critic.train(obs, action, running) for critic, running in pairs), strict=True)
        next_value = ensemble_min([q[n:] for q in both]) - alpha * next_log_prob
        reward, discount = config.reward_scale * batch.reward, batch.discount(config.gamma)
        y = jax.lax.stop_gradient(maths.td_target(reward, discount, batch.terminated, next_value))
        loss = 0.5 * ensemble_sum([jnp.square(q[:n] - y).mean() for q in both])
        return loss, (statistics, {"critic_loss": loss, "q": both[0][:n].mean()})

    critics, critic_opt_state, (statistics, metrics) = optimize.descend(
        optimizer(config, config.critic_learning_rate), critic_loss, state.critics, state.critic_opt_state
    )
    state = replace(state, critics=critics, critic_opt_state=critic_opt_state, critic_statistics=statistics)

    def delayed(state: State) -> State:
        return _improve_policy(config, state, batch.obs, actor_key)

    metrics = {**metrics, "entropy": -next_log_prob.mean(), "alpha": alpha}
    if config.policy_delay == 1:
        return delayed(state), metrics
    return jax.lax.cond(
        clock.updates % config.policy_delay == config.policy_delay - 1, delayed, lambda s: s, state
    ), metrics


def _improve_policy(config: Config, state: State, obs: Obs, key: jax.Array) -> State:
    """Climb the minimum of the critics plus α times the entropy, then adjust α."""
    alpha = jnp.exp(state.log_alpha)

    def actor_loss(actor: SquashedActor) -> tuple[Array, tuple[NetStatistics, Array]]:
        actions, statistics = actor.train(obs, state.policy.statistics)
        action, log_prob = actions.sample_with_log_prob(key)
        pairs = zip(state.critics, state.critic_statistics, strict=True)
        q = ensemble_min([critic(obs, action, running) for critic, running in pairs])
        return (alpha * log_prob - q).mean(), (statistics, -log_prob.mean())

    actor, actor_opt_state, (statistics, entropy) = optimize.descend(
        optimizer(config, config.actor_learning_rate), actor_loss, state.policy.actor, state.actor_opt_state
    )
    state = replace(state, policy=Policy(actor, statistics), actor_opt_state=actor_opt_state)
    if not config.learn_alpha:
        return state

    def alpha_loss(log_alpha: Array) -> tuple[Array, Metrics]:
        scale = log_alpha if config.alpha_loss == "log" else jnp.exp(log_alpha)
        return scale * (entropy - state.target_entropy), {}

    adam = optimize.adam(config.alpha_learning_rate)
    log_alpha, alpha_opt_state, _ = optimize.descend(adam, alpha_loss, state.log_alpha, state.alpha_opt_state)
    return replace(state, log_alpha=log_alpha, alpha_opt_state=alpha_opt_state)


def sampling(config: Config) -> Sampling:
    """Say how minibatches are drawn."""
    return Sampling(config.gamma, config.n_step)


def optimizer(config: Config, learning_rate: Array | float) -> optax.GradientTransformation:
    """Build the optimizer of the actor or of the critics."""
    return optimize.adam(learning_rate, b1=config.adam_b1)
