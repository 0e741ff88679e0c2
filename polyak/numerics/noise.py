"""Exploration noise: each process defines its initial memory for one environment, and draws the next noise from it."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from polyak.fields import number
from polyak.numerics import draws, maths
from polyak.tree import pytree, static
from polyak.types import Array, EnvSpec, Key, Obs, Tree

NoiseType: TypeAlias = Literal["gaussian", "ornstein-uhlenbeck"]


@pytree
class Gaussian:
    """Independent normal noise with standard deviation `sigma`, in units of the [-1, 1] action."""

    sigma: Array | float

    def start(self, size: int) -> tuple[()]:
        """Return the memory at an episode's start: none."""
        return ()

    def next(self, memory: tuple[()], key: Key, shape: tuple[int, ...]) -> tuple[Array, tuple[()]]:
        """Draw noise of shape `[env, action]`."""
        return self.sigma * draws.normal(key, shape), memory


@pytree
class OrnsteinUhlenbeck:
    """Correlated noise: x ← x - θ·x·Δt + σ·√Δt·ξ, starting from 0 at each episode.

    Its stationary deviation is about σ/√(2θ) and its correlation time 1/(θ·Δt) steps, so Δt matters: with θ = 0.15 the
    correlation time is about 6 steps for Δt = 1 and 670 for Δt = 0.01, where the noise starts close to 0 (its
    deviation after t steps is about σ·√(Δt·t)).
    Source: Uhlenbeck and Ornstein 1930; Lillicrap et al. 2016, section 7, which gives θ = 0.15, σ = 0.2 and no Δt.
    """

    theta: Array | float
    sigma: Array | float
    dt: Array | float

    def start(self, size: int) -> np.ndarray:
        """Return the memory at an episode's start: `[action]` zeros."""
        return np.zeros(size, np.float32)

    def next(self, memory: Array, key: Key, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Advance the process by one step for every environment; memory and noise are `[env, action]`."""
        x = memory - self.theta * self.dt * memory + self.sigma * self.dt**0.5 * draws.normal(key, shape)
        return x, x


@pytree
class Correlated:
    """Standard normal noise whose neighboring steps have correlation `rho`; 0 gives white noise.

    A stochastic policy that samples its actions with it explores in long swings, but at any single step its actions
    have the same distribution as before. Compare Eberhard et al. 2023, "Pink noise is all you need".
    """

    rho: Array | float

    def start(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the memory at an episode's start: the last noise, and whether there was any (0 or 1)."""
        return np.zeros(size, np.float32), np.zeros(size, np.float32)

    def next(self, memory: tuple[Array, Array], key: Key, shape: tuple[int, ...]) -> tuple[Array, tuple[Array, Array]]:
        """Draw noise of shape `[env, action]`; the first of an episode has the same variance as the others."""
        last, begun = memory
        kept = self.rho * begun
        x = kept * last + (1.0 - kept**2) ** 0.5 * draws.normal(key, shape)
        return x, (x, 0.0 * begun + 1.0)


@pytree
class NoiseSettings:
    """The exploration noise of a deterministic policy, in units of the [-1, 1] action."""

    noise: NoiseType = static(default="gaussian")
    """Process that the exploration noise comes from."""
    noise_sigma: float = number(default=0.1, least=0)
    """Deviation of the noise: σ of the Gaussian, or of the Ornstein-Uhlenbeck process."""
    noise_theta: float = number(default=0.15, least=0)
    """Pull θ of the Ornstein-Uhlenbeck process towards 0."""
    noise_dt: float = number(default=1.0, above=0)
    """Time step Δt of the Ornstein-Uhlenbeck process: small steps make slow, at first almost silent noise."""


def of(config: NoiseSettings) -> Gaussian | OrnsteinUhlenbeck:
    """Build the exploration noise that a config asks for."""
    if config.noise == "gaussian":
        return Gaussian(config.noise_sigma)
    return OrnsteinUhlenbeck(config.noise_theta, config.noise_sigma, config.noise_dt)


def init_memory(config: NoiseSettings, spec: EnvSpec) -> Tree:
    """Start the exploration noise of one environment."""
    return of(config).start(spec.action.width)


def act(
    config: NoiseSettings, policy: Callable[[Obs], Array], memory: Tree, obs: Obs, key: Key, explore: bool
) -> tuple[Array, Tree]:
    """Return a = μ(s) + noise, clipped to [-1, 1], for the policy μ; without noise when not exploring."""
    action = policy(obs)
    if explore:
        drawn, memory = of(config).next(memory, key, action.shape)
        action = maths.clip(action + drawn)
    return action, memory
