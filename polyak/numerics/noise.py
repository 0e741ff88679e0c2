"""Exploration noise: each process defines its initial memory for one environment, and draws the next noise from it."""

from typing import Literal, Protocol, TypeAlias

import numpy as np

from polyak.numerics import draws
from polyak.tree import pytree
from polyak.types import Array, Key

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


class Settings(Protocol):
    """The settings of a config that describe its exploration noise."""

    @property
    def noise(self) -> NoiseType:
        """The process."""

    @property
    def noise_sigma(self) -> Array | float:
        """σ."""

    @property
    def noise_theta(self) -> Array | float:
        """θ of an Ornstein-Uhlenbeck process."""

    @property
    def noise_dt(self) -> Array | float:
        """Δt of an Ornstein-Uhlenbeck process."""


def of(config: Settings) -> Gaussian | OrnsteinUhlenbeck:
    """Build the exploration noise of a deterministic policy from the `noise` settings of its config."""
    if config.noise == "gaussian":
        return Gaussian(config.noise_sigma)
    return OrnsteinUhlenbeck(config.noise_theta, config.noise_sigma, config.noise_dt)
