"""Running mean and variance of observations, stored in the policy, and the running scale of rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from polyak.lazy import jax, jnp
from polyak.tree import pytree
from polyak.types import Array, ArraySpec, Obs, Observation, Transition

if TYPE_CHECKING:
    from jaxtyping import Float


@pytree
class RunningStats:
    """Mean and variance of everything seen so far; calling it normalizes, then clips to ±10."""

    count: Float[Array, ""]
    mean: Float[Array, "obs"]
    variance: Float[Array, "obs"]

    @classmethod
    def create(cls, size: int) -> "RunningStats":
        """Start with mean 0 and variance 1, weighted like a single observation."""
        return cls(jnp.ones(()), jnp.zeros(size), jnp.ones(size))

    def __call__(self, obs: Float[Array, "batch obs"]) -> Float[Array, "batch obs"]:
        """Return (obs - mean) / standard deviation, clipped to [-10, 10]."""
        return ((obs - self.mean[..., None, :]) / (self.variance[..., None, :] + 1e-8) ** 0.5).clip(-10.0, 10.0)

    def advance(self, obs: Float[Array, "batch obs"]) -> "RunningStats":
        """Update with a batch. Source: Chan, Golub and LeVeque 1979, the parallel variance formula."""
        added = float(obs.shape[0])
        count = self.count + added
        delta = obs.mean(0) - self.mean
        spread = self.variance * self.count + obs.var(0) * added + delta**2 * self.count * added / count
        return RunningStats(count, self.mean + delta * added / count, spread / count)


@pytree
class Identity:
    """A normalizer without leaves that returns observations unchanged."""

    def __call__(self, obs: Obs) -> Obs:
        """Return the observations."""
        return obs

    def advance(self, obs: Obs) -> "Identity":
        """Return it unchanged."""
        return self


@pytree
class Named:
    """Normalizes named parts, each by its own statistics."""

    parts: dict[str, RunningStats | Identity]

    def __call__(self, obs: dict[str, Array]) -> dict[str, Array]:
        """Return the normalized observations."""
        return {name: part(obs[name]) for name, part in self.parts.items()}

    def advance(self, obs: dict[str, Array]) -> "Named":
        """Take in a batch."""
        return Named({name: part.advance(obs[name]) for name, part in self.parts.items()})


Normalizer: TypeAlias = RunningStats | Identity | Named


def make(obs: Observation, wanted: bool, architecture: str = "mlp") -> Normalizer:
    """Make the normalizer of observations. Images stay as they are: their encoder scales them.

    SimBa always reads normalized observations. Source: Lee et al. 2025 (arXiv 2410.09754).
    """
    if not wanted and architecture != "simba":
        return Identity()
    return _of_array(obs) if isinstance(obs, ArraySpec) else Named({name: _of_array(part) for name, part in obs})


def _of_array(array: ArraySpec) -> RunningStats | Identity:
    return RunningStats.create(array.size) if array.is_vector else Identity()


@pytree
class RewardScale:
    """Divides rewards by the running deviation of the discounted sum of past rewards, and clips them to ±10.

    The sums continue from rollout to rollout, as their mean over the environments, since an algorithm does not know how
    many there will be. Source: Engstrom et al. 2020, "Implementation matters in deep
    policy gradients" (arXiv 2005.12729), section 3.
    """

    sums: RunningStats  # of one number
    last: Float[Array, ""]

    @classmethod
    def create(cls) -> "RewardScale":
        """Start with a deviation of 1."""
        return cls(RunningStats.create(1), jnp.zeros(()))

    def advance(self, rollout: Transition, gamma: Array | float) -> tuple[Float[Array, "time env"], "RewardScale"]:
        """Update with a rollout; return its scaled rewards and the new scale."""
        going = 1.0 - jnp.maximum(rollout.terminated, rollout.truncated)

        def step(total: jax.Array, x: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            reward, goes_on = x
            total = reward + gamma * total
            return total * goes_on, total

        start = jnp.broadcast_to(self.last, rollout.reward.shape[1:])
        last, totals = jax.lax.scan(step, start, (jnp.asarray(rollout.reward), going))
        sums = self.sums.advance(totals.reshape(-1, 1))
        scaled = rollout.reward / (sums.variance[0] + 1e-8) ** 0.5
        return scaled.clip(-10.0, 10.0), RewardScale(sums, last.mean())
