"""Exploration noise: each process says how one environment's memory starts, and makes the next noise from it."""

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
    """Noise that drifts: x ← x - θ·x·Δt + σ·√Δt·ξ, started from 0 at each episode.

    Its stationary deviation is about σ/√(2θ) and its correlation time 1/(θ·Δt) steps, so Δt decides how it looks:
    with θ = 0.15, Δt = 1 forgets within 6 steps, Δt = 0.01 within 670, and starts almost silent (about σ·√(Δt·t)).
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
    """Standard normal noise in which neighboring steps have the correlation `rho`: 0 is white noise.

    A stochastic policy that draws its actions from it explores in long swings, while at every single step its actions
    are distributed as before. Compare Eberhard et al. 2023, "Pink noise is all you need".
    """

    rho: Array | float

    def start(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the memory at an episode's start: the last noise, and that there was none."""
        return np.zeros(size, np.float32), np.zeros(size, np.float32)

    def next(self, memory: tuple[Array, Array], key: Key, shape: tuple[int, ...]) -> tuple[Array, tuple[Array, Array]]:
        """Draw noise of shape `[env, action]`; the first of an episode is as loud as any."""
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
