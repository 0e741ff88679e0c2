"""Soft Q-learning for discrete actions.

Haarnoja, Tang, Abbeel, Levine 2017, "Reinforcement learning with deep energy-based policies", arXiv 1702.08165. The
maximum of Q-learning is replaced by the smooth maximum, and the policy is Boltzmann's: every action is tried, the
better the more.

    V'(s') = α·log Σ exp(Q'(s', a')/α)            π(a|s) = exp((Q(s, a) - V(s))/α)                     (Theorem 1)
    y = r + γ·(1 - terminated)·V'(s')             L(θ) = ½·Σᵢ mean (y - Qᵢ(s, a))²

As α → 0 it becomes Q-learning. The entropy is worth up to α·log n/(1 - γ) in all: keep α small beside the rewards, or
let it fall (`alpha_end`). Differs from the paper: the actions are discrete, so nothing has to be sampled to compute V;
targets use the minimum of two networks, against overestimation; acting uses their mean.
"""

from __future__ import annotations

from typing import Literal

from polyak.fields import check, number
from polyak.lazy import jax, jnp, optax
from polyak.networks.critics import ActionValues, ensemble_keys, ensemble_min, ensemble_sum
from polyak.networks.distributions import Categorical, sample_or_mode
from polyak.networks.layers import Style
from polyak.numerics import maths, optimize
from polyak.replay.sampling import SamplingSettings
from polyak.tree import polyak_average, pytree, static
from polyak.types import Array, Clock, Discrete, EnvSpec, Metrics, Obs, Sampling, Transition

learns_from: Literal["rollout", "replay", "dataset"] = "replay"
acts_on = (Discrete,)
act = sample_or_mode
sampling = Sampling.of


@pytree
class Config(SamplingSettings):
    """Hyperparameters of soft Q-learning."""

    gamma: float = number(default=0.99, least=0, most=1)
    """Discount factor γ, from 0 to 1."""
    learning_rate: float = number(default=5e-4, above=0)
    """Adam's step size."""
    alpha: float = number(default=0.1, above=0)
    """Temperature α at the start of the run, in units of the scaled reward."""
    alpha_end: float | None = number(default=None, above=0)
    """Temperature in the end; None: it stays as it is."""
    alpha_fraction: float = number(default=0.5, above=0, most=1)
    """Share of the run's steps over which the temperature goes from one to the other."""
    layers: tuple[int, ...] = number(default=(128, 128), least=1, static=True)
    """Widths of the hidden layers."""
    layer_norm: bool = static(default=False)
    """Normalize each hidden layer over its features, before its ReLU."""
    num_critics: int = number(default=2, least=1, static=True)
    """Number of networks; the target takes their minimum."""
    tau: float = number(default=0.005, above=0, most=1)
    """Share τ of the way that the targets move in each update."""
    loss: maths.Loss = static(default="mse")
    """The loss."""
    gradient_norm: float | None = number(default=10.0, above=0)
    """Largest norm of the gradient; None: unlimited."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning. Reported returns never are."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        check(self)


@pytree
class Policy:
    """What acting needs."""

    critics: tuple[ActionValues, ...]
    alpha: Array  # []

    def __call__(self, obs: Obs) -> Categorical:
        """Return Boltzmann's distribution for observations `[batch, obs]`."""
        values = [critic(obs) for critic in self.critics]
        q = values[0] if len(values) == 1 else sum(values[1:], values[0]) / len(values)
        return Categorical(q / self.alpha[..., None, None])


@pytree
class State:
    """Everything learning needs."""

    policy: Policy
    target: tuple[ActionValues, ...]
    opt_state: optax.OptState


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    """Make a fresh agent whose targets equal its networks."""
    assert isinstance(spec.action, Discrete)
    style = Style(norm="layer" if config.layer_norm else None)
    keys = ensemble_keys(key, config.num_critics)
    critics = tuple(ActionValues.create(k, spec, config.layers, style=style) for k in keys)
    return State(Policy(critics, jnp.asarray(config.alpha, jnp.float32)), critics, optimizer(config).init(critics))


def update(config: Config, state: State, batch: Transition, key: jax.Array, clock: Clock) -> tuple[State, Metrics]:
    """Improve the networks, then move their targets and the temperature."""
    critics, alpha = state.policy.critics, state.policy.alpha
    next_value = maths.smooth_maximum(ensemble_min([critic(batch.next_obs) for critic in state.target]), alpha)
    discount = batch.discount(config.gamma)
    y = maths.td_target(config.reward_scale * batch.reward, discount, batch.terminated, next_value)

    def q_loss(critics: tuple[ActionValues, ...]) -> tuple[Array, Metrics]:
        qs = [maths.of_action(critic(batch.obs), batch.action) for critic in critics]
        loss = 0.5 * ensemble_sum([batch.weighted(maths.LOSSES[config.loss](q - y)).mean() for q in qs])
        return loss, {"q_loss": loss, "q": qs[0].mean(), "td_error": jnp.abs(qs[0] - y)}

    critics, opt_state, metrics = optimize.descend(optimizer(config), q_loss, critics, state.opt_state)
    end = config.alpha if config.alpha_end is None else config.alpha_end
    alpha = jnp.asarray(maths.linear_schedule(config.alpha, end, config.alpha_fraction, clock.progress), jnp.float32)
    target = polyak_average(state.target, critics, config.tau)
    return State(Policy(critics, alpha), target, opt_state), {**metrics, "alpha": alpha}


def optimizer(config: Config) -> optax.GradientTransformation:
    """Build the optimizer."""
    return optimize.adam(config.learning_rate, config.gradient_norm)
