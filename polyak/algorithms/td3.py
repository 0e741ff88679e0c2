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

from polyak.fields import check, number
from polyak.lazy import jax, jnp, optax
from polyak.networks.actors import Actor, Bound
from polyak.networks.critics import Critic, ensemble_keys, ensemble_min, ensemble_sum
from polyak.networks.layers import Architecture, Style
from polyak.networks.simba import refuse_layers
from polyak.numerics import maths, noise, normalize, optimize
from polyak.numerics.noise import NoiseType
from polyak.numerics.normalize import Normalizer
from polyak.numerics.optimize import Decay
from polyak.tree import polyak_average, pytree, replace, static
from polyak.types import Array, Box, Clock, EnvSpec, Key, Metrics, Obs, Sampling, Transition, Tree

learns_from: Literal["rollout", "replay", "dataset"] = "replay"
acts_on = (Box,)
sampling = Sampling.of


@pytree
class Config:
    """Hyperparameters of TD3. Actions and noise are in units of the [-1, 1] action."""

    gamma: float = number(default=0.99, least=0, most=1)
    """Discount factor γ, from 0 to 1."""
    tau: float = number(default=0.005, above=0, most=1)
    """Share τ of the way that the targets move, at each delayed update."""
    actor_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for the actor."""
    critic_learning_rate: float = number(default=1e-3, above=0)
    """Adam's step size for the critics."""
    architecture: Architecture = static(default="mlp")
    """`mlp`, or `simba`: residual blocks with LayerNorm as wide as the layers say, on normalized observations."""
    actor_layers: tuple[int, ...] = number(default=(256, 256), least=1, static=True)
    """Widths of the actor's hidden layers."""
    critic_state_layers: tuple[int, ...] = number(default=(), least=1, static=True)
    """Widths of each critic's layers that see the observation alone."""
    critic_action_layers: tuple[int, ...] = number(default=(), least=1, static=True)
    """Widths of each critic's layers that see the action alone."""
    critic_joint_layers: tuple[int, ...] = number(default=(256, 256), least=1, static=True)
    """Widths of each critic's layers that see both."""
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
    weight_decay: float | None = number(default=None, least=0)
    """Decoupled decay (AdamW's) of the weights of all networks."""
    gradient_norm: float | None = number(default=None, above=0)
    """Largest norm of the gradient, of the actor's and of all critics' together; None: unlimited."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning. Reported returns never are."""
    normalize_observations: bool = static(default=False)
    """Normalize observations by their running mean and deviation."""
    n_step: int = number(default=1, least=1, static=True)
    """Rewards that a target adds up before it bootstraps."""
    priority_alpha: float | None = number(default=None, least=0)
    """Exponent α of prioritized replay; None: every transition is equally likely."""
    priority_beta: float = number(default=0.4, least=0, most=1)
    """Exponent β of its importance weights at the start; it rises to 1 over the run."""
    noise: NoiseType = static(default="gaussian")
    """Process that the exploration noise comes from."""
    noise_sigma: float = number(default=0.1, least=0)
    """Deviation of the noise: σ of the Gaussian, or of the Ornstein-Uhlenbeck process."""
    noise_theta: float = number(default=0.15, least=0)
    """Pull θ of the Ornstein-Uhlenbeck process towards 0."""
    noise_dt: float = number(default=1.0, above=0)
    """Time step Δt of the Ornstein-Uhlenbeck process: small steps make slow, at first almost silent noise."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        check(self)
        refuse_layers(self.architecture, actor_layers=self.actor_layers, critic_joint_layers=self.critic_joint_layers)


@pytree
class Policy:
    """What acting needs."""

    actor: Actor
    normalizer: Normalizer

    def __call__(self, obs: Obs) -> Array:
        """Return μ(s) for observations `[batch, obs]`."""
        return self.actor(self.normalizer(obs))


@pytree
class Target:
    """The slowly moving copies μ' and Q'ᵢ."""

    actor: Actor
    critics: tuple[Critic, ...]


@pytree
class State:
    """Everything learning needs."""

    policy: Policy
    critics: tuple[Critic, ...]
    target: Target
    actor_opt_state: optax.OptState
    critic_opt_state: optax.OptState


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    """Make a fresh agent whose targets equal its networks."""
    style = Style(config.architecture)
    actor_key, critic_key = jax.random.split(key)
    actor = Actor.create(actor_key, spec, config.actor_layers, config.bound, config.final_init, style)
    layers = (config.critic_state_layers, config.critic_action_layers, config.critic_joint_layers)
    critics = tuple(
        Critic.create(key, spec, layers, config.final_init, style)
        for key in ensemble_keys(critic_key, config.num_critics)
    )
    normalizer = normalize.make(spec.obs, config.normalize_observations, config.architecture)
    return State(
        policy=Policy(actor, normalizer),
        critics=critics,
        target=Target(actor, critics),
        actor_opt_state=optimizer(config, config.actor_learning_rate).init(actor),
        critic_opt_state=optimizer(config, config.critic_learning_rate).init(critics),
    )


def init_memory(config: Config, spec: EnvSpec) -> Tree:
    """Start the exploration noise of one environment."""
    return noise.of(config).start(spec.action.width)


def act(config: Config, policy: Policy, memory: Tree, obs: Obs, key: Key, explore: bool) -> tuple[Array, Tree]:
    """Return a = μ(s) + noise, clipped to [-1, 1]; without noise when not exploring."""
    action = policy(obs)
    if explore:
        drawn, memory = noise.of(config).next(memory, key, action.shape)
        action = maths.clip(action + drawn)
    return action, memory


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
        optimizer(config, config.critic_learning_rate), critic_loss, state.critics, state.critic_opt_state
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
        optimizer(config, config.actor_learning_rate), actor_loss, state.policy.actor, state.actor_opt_state
    )
    target = Target(
        polyak_average(state.target.actor, actor, config.tau),
        polyak_average(state.target.critics, state.critics, config.tau),
    )
    return replace(state, policy=replace(state.policy, actor=actor), target=target, actor_opt_state=opt_state)


def optimizer(config: Config, learning_rate: Array | float) -> optax.GradientTransformation:
    """Build the optimizer of the actor, or of all critics together."""
    return optimize.adam(learning_rate, config.gradient_norm, Decay(decoupled=config.weight_decay))
