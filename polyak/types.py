"""The words that every layer shares: a transition, what an environment looks like, what an algorithm is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, Union

import numpy as np

from polyak.lazy import jax
from polyak.tree import map_leaves, named_leaves, pytree, static

Array: TypeAlias = Union["jax.Array", np.ndarray]
Key: TypeAlias = Any  # a JAX key, or `draws.LaneGenerators` when acting in NumPy
Obs: TypeAlias = Any  # an array, or a dictionary of arrays by name: what `EnvSpec.obs` describes
Tree: TypeAlias = Any  # a pytree of arrays whose structure its maker alone knows: a config, a state, a policy, a memory
Metrics: TypeAlias = dict[str, Array]  # arrays: scalars, or one number for each sample
Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None  # what a JSON file holds


@pytree
class Transition:
    """One step, or many with leading axes: `[batch]` from a replay buffer, `[time, env]` in a rollout.

    `next_obs` is the true successor, never the first observation after a reset. `terminated` ends the task (no
    bootstrap); `truncated` only cuts the episode (bootstrap from `next_obs`). Both are 0 or 1 in float32.
    """

    obs: Obs  # [..., obs], or the named parts of it
    action: Array  # [..., action] in [-1, 1], or [...] an index
    reward: Array  # [...]
    next_obs: Obs  # as obs
    terminated: Array  # [...]
    truncated: Array  # [...]
    n_steps: Array | None = None  # [batch] steps from obs to next_obs; None: one, as always without n-step returns
    weight: Array | None = None  # [batch] importance weights of prioritized replay; None: all count alike

    def discount(self, gamma: Array | float) -> Array | float:
        """Return γ to the power of the steps between obs and next_obs: what a bootstrapped value is multiplied by."""
        return gamma if self.n_steps is None else gamma**self.n_steps

    def flat(self) -> "Transition":
        """Join the axes of time and of environments `[time, env, ...]` of a rollout into one `[time·env, ...]`."""
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), self)

    def weighted(self, losses: Array) -> Array:
        """Multiply each sample's loss `[batch]` by its importance weight."""
        return losses if self.weight is None else losses * self.weight


@dataclass(frozen=True)
class ArraySpec:
    """The shape and type of an array, without its leading axes."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """Numbers in one such array."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that one such array takes."""
        return self.size * np.dtype(self.dtype).itemsize

    @property
    def is_vector(self) -> bool:
        """Whether this is a vector of float32 numbers."""
        return self.dtype == "float32" and len(self.shape) == 1

    @property
    def is_image(self) -> bool:
        """Whether this is an image: bytes `[height, width, channels]`."""
        return self.dtype == "uint8" and len(self.shape) == 3

    def zeros(self, *axes: int) -> np.ndarray:
        """Make such arrays of zeros, `[*axes, ...]`."""
        return np.zeros((*axes, *self.shape), self.dtype)


Observation: TypeAlias = ArraySpec | tuple[tuple[str, ArraySpec], ...]
"""What is observed: one array, or several with names, in the order in which networks join them."""


def vector(size: int) -> ArraySpec:
    """Describe a vector of float32 numbers."""
    return ArraySpec((size,))


def in_words(obs: Observation) -> str:
    """Describe what is stored of an observation."""
    if not isinstance(obs, ArraySpec):
        return ", ".join(f"{name}: {in_words(part)}" for name, part in obs)
    if not obs.is_image:
        return f"{obs.size:,} number{'s' * (obs.size != 1)}"
    height, width, channels = obs.shape
    return f"an image of {height} × {width} pixels with {channels} channel{'s' * (channels != 1)}"


@dataclass(frozen=True)
class Box:
    """Continuous actions: `size` numbers, each in [-1, 1]; the environment adapter rescales them."""

    size: int

    @property
    def array(self) -> ArraySpec:
        """What an action is stored as."""
        return ArraySpec((self.size,))

    @property
    def width(self) -> int:
        """Numbers in an action."""
        return self.size


@dataclass(frozen=True)
class Discrete:
    """One of `n` actions, 0 to n - 1."""

    n: int

    @property
    def array(self) -> ArraySpec:
        """What an action is stored as."""
        return ArraySpec((), "int32")

    @property
    def width(self) -> int:
        """Numbers in an action."""
        return 1


@dataclass(frozen=True)
class MultiDiscrete:
    """Several choices at once: number i is one of `sizes[i]`. Switches (MultiBinary) are choices of 2."""

    sizes: tuple[int, ...]

    @property
    def array(self) -> ArraySpec:
        """What an action is stored as."""
        return ArraySpec((len(self.sizes),), "int32")

    @property
    def width(self) -> int:
        """Numbers in an action."""
        return len(self.sizes)


ActionSpace: TypeAlias = Box | Discrete | MultiDiscrete


@dataclass(frozen=True)
class EnvSpec:
    """All that an algorithm may know of an environment: what is observed, and the action space."""

    obs: Observation
    action: ActionSpace

    def __str__(self) -> str:
        return f"observations of {in_words(self.obs)} and actions {self.action}"

    def observation(self) -> Tree:
        """Describe an observation: an `ArraySpec`, or a dictionary of them by name."""
        return self.obs if isinstance(self.obs, ArraySpec) else dict(self.obs)

    def zeros(self, *axes: int) -> Obs:
        """Make observations of zeros, `[*axes, ...]`."""
        return map_leaves(lambda array: array.zeros(*axes), self.observation())

    def batch_of(self, obs: Obs) -> Obs:
        """Make a batch `[1, ...]` of a single observation, in the types in which it is stored."""
        return map_leaves(lambda array, leaf: np.asarray(leaf, array.dtype)[None], self.observation(), obs)

    def transition(self) -> Transition:
        """Say how a step is stored: a transition of `ArraySpec`. Nothing else knows."""
        obs, number = self.observation(), ArraySpec(())
        parts: Any = (obs, self.action.array, number, obs, number, number)
        return Transition(*parts)

    @property
    def transition_bytes(self) -> int:
        """Bytes that a stored step takes."""
        return sum(array.nbytes for array in named_leaves(self.transition()).values())


@dataclass
class Episode:
    """One finished episode of training: exploring return, not discounted, not scaled."""

    lane: int
    env: int
    total: float
    length: int


@pytree
class Clock:
    """When an update is made: what schedules and periodic work depend on.

    All lanes that still train share `updates`, so a branch on it stays a branch under `vmap`. Each lane has its own
    `progress`.
    """

    updates: Array  # [] updates made before
    progress: Array  # [] share of the lane's run behind it when the rollout, or its episode, began


@pytree
class Sampling:
    """How minibatches are drawn from the replay: n-step returns and prioritized replay (`priority_alpha` not None)."""

    gamma: Array | float = 1.0  # discount within an n-step return
    n_step: int = static(default=1)
    priority_alpha: Array | float | None = None
    priority_beta: Array | float = 0.4  # at the start of the run; it rises to 1

    @classmethod
    def of(cls, config: Tree) -> "Sampling":
        """Read the settings that bear these names; an algorithm that has all four says `sampling = Sampling.of`."""
        return cls(config.gamma, config.n_step, config.priority_alpha, config.priority_beta)


class Algorithm(Protocol):
    """The whole contract between an algorithm and the rest of the library. A Python module satisfies it.

    `act` sees only the policy, so that it can run on another device, one iteration behind, or without the learner.
    It is written for one lane on JAX arrays. Where it also gives right answers on NumPy arrays, both such and with one
    more leading axis, the lane, on everything (which `x @ w + b[..., None, :]` and `numerics.draws` do), the host loop
    uses that: for small networks it is several times faster. The loop finds out by trying; nothing is to be declared.

    Four more functions may be there. `init_memory(config, spec)` makes one environment's acting memory at an episode's
    start; without it there is none, `()`. `sampling(config) -> Sampling` says how minibatches are drawn: uniformly, one
    step each, if it is missing. With prioritized replay, the metric `td_error` `[batch]` of `update` becomes the new
    priorities. `validate(config, plan)` raises UsageError where the two do not fit together. `fit(config, plan)`
    returns a config that fits; of its changes only those to settings that the user left open are used.
    """

    @property
    def Config(self) -> type[Tree]:  # noqa: N802 (a class)
        """The hyperparameters: a frozen pytree dataclass."""

    @property
    def learns_from(self) -> Literal["rollout", "replay", "dataset"]:
        """What `update` is given: a whole rollout, or minibatches."""

    @property
    def acts_on(self) -> tuple[type[ActionSpace], ...]:
        """The action spaces that it can take."""

    def init(self, config: Tree, spec: EnvSpec, key: jax.Array, /) -> Tree:
        """Make the state of a fresh agent; it has a field `policy`."""

    def act(self, config: Tree, policy: Tree, memory: Tree, obs: Obs, key: Key, explore: bool, /) -> tuple[Array, Tree]:
        """Choose actions in [-1, 1] (or indices) for observations `[env, obs]`; return the next memory too."""

    def update(
        self, config: Tree, state: Tree, data: Transition, key: jax.Array, clock: Clock, /
    ) -> tuple[Tree, Metrics]:
        """Learn once from a batch or a rollout; the state keeps its structure, shapes and dtypes.

        A metric is a scalar, or has one number for each sample, whose mean is logged.
        """


def init_memory(algorithm: Algorithm, config: Tree, spec: EnvSpec) -> Tree:
    """Make one environment's acting memory at an episode's start: `()` where the algorithm keeps none."""
    made = getattr(algorithm, "init_memory", None)
    return () if made is None else made(config, spec)
