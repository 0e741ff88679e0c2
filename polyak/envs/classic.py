"""Gymnasium's classic control tasks in JAX, for the device loop: the same equations, spaces and starts.

A test steps each beside Gymnasium's own over random trajectories. States and arithmetic are float32; Gymnasium computes
in float64 and rounds its observations. docs/decisions/009-compiled-environments.md says why these are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv

from polyak.envs.spaces import AnySpace
from polyak.lazy import jax, jnp
from polyak.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float

# types of state, observation, action, reward, termination; no rendering and no parameters
ClassicEnv: TypeAlias = FuncEnv["Array", "Array", "Array", "Array", "Array", None, None]


def _box(*high: float) -> spaces.Box:
    return spaces.Box(-np.array(high, np.float32), np.array(high, np.float32), dtype=np.float32)


class Pendulum(ClassicEnv):
    """Pendulum-v1: swing up a pendulum by a torque. The state is (angle from upright, angular velocity), [2]."""

    observation_space = _box(1.0, 1.0, 8.0)
    action_space = _box(2.0)

    def initial(self, rng: jax.Array, params: None = None) -> Float[Array, "2"]:
        """Draw angle and velocity uniformly."""
        high = jnp.array([jnp.pi, 1.0])
        return jax.random.uniform(rng, (2,), minval=-high, maxval=high)

    def transition(self, state: Array, action: Array, rng: jax.Array, params: None = None) -> Float[Array, "2"]:
        """Move for 0.05 s under gravity of 10 m/s²."""
        angle, velocity = state[0], state[1]
        torque = jnp.clip(action[0], -2.0, 2.0)
        velocity = jnp.clip(velocity + (15.0 * jnp.sin(angle) + 3.0 * torque) * 0.05, -8.0, 8.0)
        return jnp.stack([angle + velocity * 0.05, velocity])

    def observation(self, state: Array, rng: jax.Array, params: None = None) -> Float[Array, "3"]:
        """Return cosine and sine of the angle, and the velocity."""
        return jnp.stack([jnp.cos(state[0]), jnp.sin(state[0]), state[1]])

    def reward(
        self, state: Array, action: Array, next_state: Array, rng: jax.Array, params: None = None
    ) -> Float[Array, ""]:
        """Return minus the weighted squares of the angle from upright, the velocity and the torque."""
        angle = (state[0] + jnp.pi) % (2 * jnp.pi) - jnp.pi
        torque = jnp.clip(action[0], -2.0, 2.0)
        return -(angle**2 + 0.1 * state[1] ** 2 + 0.001 * torque**2)

    def terminal(self, state: Array, rng: jax.Array, params: None = None) -> Array:
        """Never terminate."""
        return jnp.zeros((), bool)


class CartPole(ClassicEnv):
    """CartPole-v1: balance a pole on a cart. The state is (position, velocity, angle, angular velocity), [4]."""

    observation_space = _box(4.8, np.inf, 24 * np.pi / 180, np.inf)
    action_space = spaces.Discrete(2)

    def initial(self, rng: jax.Array, params: None = None) -> Float[Array, "4"]:
        """Draw all four numbers uniformly from ±0.05."""
        return jax.random.uniform(rng, (4,), minval=-0.05, maxval=0.05)

    def transition(self, state: Array, action: Array, rng: jax.Array, params: None = None) -> Float[Array, "4"]:
        """Push for 0.02 s to the left (0) or right (1); Barto, Sutton, Anderson 1983, with Euler's method."""
        mass, pole, half = 1.1, 0.05, 0.5  # of cart and pole, of the pole times half its length, half its length
        _, velocity, angle, spin = state
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
        pushed = (20.0 * action - 10.0 + pole * spin**2 * sine) / mass
        turning = (9.8 * sine - cosine * pushed) / (half * (4.0 / 3.0 - 0.1 * cosine**2 / mass))
        moving = pushed - pole * turning * cosine / mass
        return state + 0.02 * jnp.stack([velocity, moving, spin, turning])

    def observation(self, state: Array, rng: jax.Array, params: None = None) -> Float[Array, "4"]:
        """Return the state."""
        return state

    def reward(
        self, state: Array, action: Array, next_state: Array, rng: jax.Array, params: None = None
    ) -> Float[Array, ""]:
        """Return 1 for every step."""
        return jnp.ones(())

    def terminal(self, state: Array, rng: jax.Array, params: None = None) -> Array:
        """Terminate beyond 2.4 units from the center or 12° from upright."""
        return (jnp.abs(state[0]) > 2.4) | (jnp.abs(state[2]) > 12 * np.pi / 180)


class Acrobot(ClassicEnv):
    """Acrobot-v1: swing the tip of two links up by a torque between them. The state is (θ₁, θ₂, θ₁', θ₂'), [4]."""

    observation_space = _box(1.0, 1.0, 1.0, 1.0, 4 * np.pi, 9 * np.pi)
    action_space = spaces.Discrete(3)

    def initial(self, rng: jax.Array, params: None = None) -> Float[Array, "4"]:
        """Draw all four numbers uniformly from ±0.1."""
        return jax.random.uniform(rng, (4,), minval=-0.1, maxval=0.1)

    def transition(self, state: Array, action: Array, rng: jax.Array, params: None = None) -> Float[Array, "4"]:
        """Move for 0.2 s, by one step of the classic Runge-Kutta method."""
        torque = action - 1.0
        k1 = _acrobot_slope(state, torque)
        k2 = _acrobot_slope(state + 0.1 * k1, torque)
        k3 = _acrobot_slope(state + 0.1 * k2, torque)
        k4 = _acrobot_slope(state + 0.2 * k3, torque)
        moved = state + 0.2 / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        angles = moved[:2] - 2 * jnp.pi * jnp.ceil((jnp.abs(moved[:2]) - jnp.pi) / (2 * jnp.pi)) * jnp.sign(moved[:2])
        most = jnp.array([4.0, 9.0]) * jnp.pi
        return jnp.concatenate([angles, jnp.clip(moved[2:], -most, most)])

    def observation(self, state: Array, rng: jax.Array, params: None = None) -> Float[Array, "6"]:
        """Return cosine and sine of both angles, and both velocities."""
        cosine, sine = jnp.cos(state[:2]), jnp.sin(state[:2])
        return jnp.stack([cosine[0], sine[0], cosine[1], sine[1], state[2], state[3]])

    def reward(
        self, state: Array, action: Array, next_state: Array, rng: jax.Array, params: None = None
    ) -> Float[Array, ""]:
        """Return -1 for every step except the one that reaches the goal."""
        return jnp.where(self.terminal(next_state, rng), 0.0, -1.0)

    def terminal(self, state: Array, rng: jax.Array, params: None = None) -> Array:
        """Terminate when the tip is one link length above the upper joint."""
        return -jnp.cos(state[0]) - jnp.cos(state[1] + state[0]) > 1.0


def _acrobot_slope(state: Array, torque: Array) -> Array:
    """Return the time derivative of the state: both links of 1 kg, 1 m and 1 kg m², their mass in the middle.

    Source: Sutton and Barto 2018, section 11.3 of the first edition ("the book's" equations, Gymnasium's default).
    """
    first, second, spin1, spin2 = state
    sine, cosine = jnp.sin(second), jnp.cos(second)
    d1, d2 = 3.5 + cosine, 1.25 + 0.5 * cosine
    phi2 = 4.9 * jnp.sin(first + second)
    phi1 = -0.5 * spin2**2 * sine - spin2 * spin1 * sine + 14.7 * jnp.sin(first) + phi2
    turning2 = (torque + d2 / d1 * phi1 - 0.5 * spin1**2 * sine - phi2) / (1.25 - d2**2 / d1)
    return jnp.stack([spin1, spin2, -(d2 * turning2 + phi1) / d1, turning2])


class MountainCar(ClassicEnv):
    """MountainCar-v0: rock a weak car up a hill. The state is (position, velocity), [2]."""

    observation_space = spaces.Box(np.array([-1.2, -0.07], np.float32), np.array([0.6, 0.07], np.float32))
    action_space: AnySpace = spaces.Discrete(3)

    def initial(self, rng: jax.Array, params: None = None) -> Float[Array, "2"]:
        """Draw a position in the valley, at rest."""
        return jnp.stack([jax.random.uniform(rng, (), minval=-0.6, maxval=-0.4), jnp.zeros(())])

    def transition(self, state: Array, action: Array, rng: jax.Array, params: None = None) -> Float[Array, "2"]:
        """Push left (0), not at all (1) or right (2)."""
        return _rolled(state, 0.001 * (action - 1.0))

    def observation(self, state: Array, rng: jax.Array, params: None = None) -> Float[Array, "2"]:
        """Return the state."""
        return state

    def reward(
        self, state: Array, action: Array, next_state: Array, rng: jax.Array, params: None = None
    ) -> Float[Array, ""]:
        """Return -1 for every step."""
        return -jnp.ones(())

    def terminal(self, state: Array, rng: jax.Array, params: None = None) -> Array:
        """Terminate at the goal, unless rolling back."""
        return (state[0] >= 0.5) & (state[1] >= 0.0)


class MountainCarContinuous(MountainCar):
    """MountainCarContinuous-v0: the same car with a continuous force, whose square costs reward."""

    action_space: AnySpace = _box(1.0)

    def transition(self, state: Array, action: Array, rng: jax.Array, params: None = None) -> Float[Array, "2"]:
        """Push with a force in [-1, 1]."""
        return _rolled(state, 0.0015 * jnp.clip(action[0], -1.0, 1.0))

    def reward(
        self, state: Array, action: Array, next_state: Array, rng: jax.Array, params: None = None
    ) -> Float[Array, ""]:
        """Return 100 for reaching the goal, minus a tenth of the squared force."""
        return jnp.where(self.terminal(next_state, rng), 100.0, 0.0) - 0.1 * action[0] ** 2

    def terminal(self, state: Array, rng: jax.Array, params: None = None) -> Array:
        """Terminate at the goal, unless rolling back."""
        return (state[0] >= 0.45) & (state[1] >= 0.0)


def _rolled(state: Array, push: Array) -> Array:
    """Move the car by one step; a wall on the left stops it."""
    velocity = jnp.clip(state[1] + push - 0.0025 * jnp.cos(3 * state[0]), -0.07, 0.07)
    position = jnp.clip(state[0] + velocity, -1.2, 0.6)
    return jnp.stack([position, jnp.where((position <= -1.2) & (velocity < 0), 0.0, velocity)])


TWINS: dict[str, Callable[[], ClassicEnv]] = {
    "Pendulum-v1": Pendulum,
    "CartPole-v1": CartPole,
    "Acrobot-v1": Acrobot,
    "MountainCar-v0": MountainCar,
    "MountainCarContinuous-v0": MountainCarContinuous,
}
