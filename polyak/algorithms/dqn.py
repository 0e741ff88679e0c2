"""Deep Q-Network (DQN), with its usual improvements as switches.

Mnih et al. 2015, "Human-level control through deep reinforcement learning", Nature 518 (2013: arXiv 1312.5602). A
network learns the value Q(s, a) of every action from replayed transitions, towards targets that a slower copy Q' makes:

    y = r + γ·(1 - terminated)·max Q'(s', a')          L(θ) = mean ℓ(y - Q(s, a)), ℓ Huber's with δ = 1

With `double`, Q chooses the action and Q' values it: Q'(s', argmax Q(s', a')) (van Hasselt, Guez, Silver 2016, arXiv
1509.06461). With `dueling`, Q = V + A - mean A (Wang et al. 2016, arXiv 1511.06581). `n_step` sums rewards before it
bootstraps, as Rainbow does (Hessel et al. 2018, arXiv 1710.02298); `priority_alpha` draws by error (Schaul et al.
2016, arXiv 1511.05952). Differs from the paper: networks on vectors, Adam, and by default targets that follow slowly
rather than by copies from time to time (`tau`, `target_period`).
"""

from __future__ import annotations

from types import ModuleType
from typing import Literal

import numpy as np

from polyak.fields import check, number
from polyak.lazy import jax, jnp, optax
from polyak.networks.critics import ActionValues
from polyak.networks.layers import Style
from polyak.numerics import draws, maths, optimize
from polyak.replay.sampling import SamplingSettings
from polyak.tree import polyak_average, pytree, static
from polyak.types import Array, Clock, Discrete, EnvSpec, Key, Metrics, Obs, Sampling, Transition

learns_from: Literal["rollout", "replay", "dataset"] = "replay"
acts_on = (Discrete,)
sampling = Sampling.of


@pytree
class Config(SamplingSettings):
    """Hyperparameters of DQN."""

    gamma: float = number(default=0.99, least=0, most=1)
    """Discount factor γ, from 0 to 1."""
    learning_rate: float = number(default=5e-4, above=0)
    """Adam's step size."""
    layers: tuple[int, ...] = number(default=(128, 128), least=1, static=True)
    """Widths of the hidden layers."""
    layer_norm: bool = static(default=False)
    """Normalize each hidden layer over its features, before its ReLU."""
    double: bool = static(default=True)
    """Let Q choose the action that Q' values."""
    dueling: bool = static(default=False)
    """Learn V(s) and A(s, a) in two streams."""
    tau: float = number(default=0.005, above=0, most=1)
    """Share τ of the way that the target moves; 1 copies."""
    target_period: int = number(default=1, least=1, static=True)
    """Updates between two moves of the target."""
    loss: maths.Loss = static(default="huber")
    """The loss ℓ."""
    gradient_norm: float | None = number(default=10.0, above=0)
    """Largest norm of the gradient; None: unlimited."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning. Reported returns never are."""
    epsilon_start: float = number(default=1.0, least=0, most=1)
    """Share ε of random actions at the start of the run."""
    epsilon_end: float = number(default=0.05, least=0, most=1)
    """Share ε of random actions in the end."""
    epsilon_fraction: float = number(default=0.1, above=0, most=1)
    """Share of the run's steps over which ε goes from one to the other."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        check(self)


@pytree
class Policy:
    """What acting needs."""

    q: ActionValues
    epsilon: Array  # []


@pytree
class State:
    """Everything learning needs."""

    policy: Policy
    target: ActionValues
    opt_state: optax.OptState


def init(config: Config, spec: EnvSpec, key: jax.Array) -> State:
    """Make a fresh agent whose target equals its network."""
    assert isinstance(spec.action, Discrete)
    style = Style(norm="layer" if config.layer_norm else None)
    q = ActionValues.create(key, spec, config.layers, config.dueling, style)
    epsilon = jnp.asarray(config.epsilon_start, jnp.float32)
    return State(Policy(q, epsilon), q, optimizer(config).init(q))


def act(
    config: Config, policy: Policy, memory: tuple[()], obs: Obs, key: Key, explore: bool
) -> tuple[Array, tuple[()]]:
    """Take the action of the highest value, or with probability ε any."""
    values = policy.q(obs)
    best = values.argmax(-1)
    if not explore:
        return best, memory
    library: ModuleType = np if isinstance(best, np.ndarray) else jnp
    numbers = draws.uniform(key, (*best.shape, 2))
    random = (numbers[..., 1] * values.shape[-1]).astype(best.dtype)
    return library.where(numbers[..., 0] < policy.epsilon[..., None], random, best), memory


def update(config: Config, state: State, batch: Transition, key: jax.Array, clock: Clock) -> tuple[State, Metrics]:
    """Improve the network, then move its target and ε."""
    q = state.policy.q
    next_values = state.target(batch.next_obs)
    choice = (q(batch.next_obs) if config.double else next_values).argmax(-1)
    next_value = maths.of_action(next_values, choice)
    discount = batch.discount(config.gamma)
    y = maths.td_target(config.reward_scale * batch.reward, discount, batch.terminated, next_value)

    def q_loss(q: ActionValues) -> tuple[Array, Metrics]:
        value = maths.of_action(q(batch.obs), batch.action)
        loss = batch.weighted(maths.LOSSES[config.loss](value - y)).mean()
        return loss, {"q_loss": loss, "q": value.mean(), "td_error": jnp.abs(value - y)}

    q, opt_state, metrics = optimize.descend(optimizer(config), q_loss, q, state.opt_state)
    epsilon = maths.linear_schedule(config.epsilon_start, config.epsilon_end, config.epsilon_fraction, clock.progress)
    state = State(Policy(q, epsilon), move_target(config, state.target, q, clock), opt_state)
    return state, {**metrics, "epsilon": epsilon}


def move_target(config: Config, target: ActionValues, q: ActionValues, clock: Clock) -> ActionValues:
    """Move the target towards the network, where it is time to."""
    if config.target_period == 1:
        return polyak_average(target, q, config.tau)
    due = clock.updates % config.target_period == config.target_period - 1
    return jax.lax.cond(due, lambda: polyak_average(target, q, config.tau), lambda: target)


def optimizer(config: Config) -> optax.GradientTransformation:
    """Build the optimizer."""
    return optimize.adam(config.learning_rate, config.gradient_norm)
