"""A Gymnasium `FuncEnv` written in JAX, to be compiled: time limit, true successor, next episode.

`gymnasium.experimental.functional.FuncEnv` has the members `initial`, `transition`, `observation`, `reward` and
`terminal`, pure functions of a state. Nothing is autoreset: every step tells its true successor, and whoever steps
begins the next episode.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv

from polyak.envs.arguments import BOUNDS, LIMIT, checked_limit
from polyak.envs.classic import TWINS
from polyak.envs.make import EnvSource, Maker, limit_of
from polyak.envs.observations import Part, Reader, is_image
from polyak.envs.spaces import ActionScale, AnySpace, spec_of
from polyak.errors import UsageError, describe
from polyak.lazy import jax, jnp
from polyak.numerics import keys
from polyak.numerics.precision import in_32_bits
from polyak.tree import pytree
from polyak.types import Array, EnvSpec, Obs, Tree

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


@pytree
class EnvState:
    """One environment between two steps."""

    state: Tree
    obs: Obs  # what to act on next
    length: Int[Array, ""]  # steps of the episode under way
    total: Float[Array, ""]  # their rewards


@pytree
class Outcome:
    """What one step brought."""

    next_obs: Obs  # the true successor, also where an episode ended
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    length: Int[Array, ""]  # of the episode so far
    total: Float[Array, ""]

    @property
    def ended(self) -> Array:
        """Whether this was an episode's last step."""
        return self.terminated | self.truncated


@dataclass(frozen=True)
class CompiledEnv:
    """A FuncEnv with its time limit (None: there is none), checked against what it promises.

    Raises UsageError at construction for a member that breaks the contract, and names it.
    """

    name: str
    env: FuncEnv
    limit: int | None

    def __post_init__(self) -> None:
        """Try every member without running it."""
        for name in ("observation_space", "action_space"):
            if not isinstance(getattr(self.env, name, None), gymnasium.Space):
                raise UsageError(f"{self.name} has no {name}: a FuncEnv must have one")
        for _, space in _boxes(self.observation_space):
            if not isinstance(space, spaces.Box):
                kind = type(space).__name__
                raise UsageError(
                    f"{self.name} has {kind} observations: the device loop takes FuncEnvs with Box observations, or"
                    " with a Dict of them"
                )
        spec_of(self.observation_space, self.action_space)
        self._refuse_beyond_float32()
        with in_32_bits():
            _check(self)

    def _refuse_beyond_float32(self) -> None:
        space, most = self.action_space, np.finfo(np.float32).max
        if isinstance(space, spaces.Box) and max(abs(space.low).max(), abs(space.high).max()) > most:
            raise UsageError(
                f"{self.name} has actions {space}, whose bounds float32 cannot hold: choose bounds of smaller magnitude"
            )

    @property
    def observation_space(self) -> AnySpace:
        """The space of observations, before they are flattened."""
        return self.env.observation_space

    @property
    def action_space(self) -> AnySpace:
        """The space of actions in the environment's own units."""
        return self.env.action_space

    @property
    def spec(self) -> EnvSpec:
        """What an algorithm may know of it."""
        return spec_of(self.observation_space, self.action_space)

    def start(self, key: jax.Array) -> EnvState:
        """Begin an episode."""
        key = keys.standard(key)
        state = self.call("initial", key)
        return EnvState(state, self._observed(state, key), jnp.zeros((), jnp.int32), jnp.zeros(()))

    def step(self, before: EnvState, action: Array, key: jax.Array) -> tuple[EnvState, Outcome]:
        """Take a step with an action in [-1, 1] or an index."""
        key, scaled = keys.standard(key), _scaled(self.action_space, action)
        state = self.call("transition", before.state, scaled, key)
        obs = self._observed(state, key)
        reward = jnp.asarray(self.call("reward", before.state, scaled, state, key), jnp.float32)
        terminated = jnp.asarray(self.call("terminal", state, key), bool)
        length, total = before.length + 1, before.total + reward
        truncated = jnp.zeros((), bool) if self.limit is None else length >= self.limit
        return EnvState(state, obs, length, total), Outcome(obs, reward, terminated, truncated, length, total)

    def close(self) -> None:
        """Release nothing."""

    def call(self, member: str, *arguments: Tree) -> Tree:
        """Call a member as FuncEnv's template has it, with the environment's parameters where it has any."""
        params = getattr(self.env, "default_params", None)
        found = getattr(self.env, member)(*arguments, **({} if params is None else {"params": params}))
        return jax.tree.map(jnp.asarray, found)

    def _observed(self, state: Tree, key: jax.Array) -> Obs:
        """Return what is stored of what is observed."""
        obs, reader = self.call("observation", state, key), Reader(self.observation_space)
        if reader.whole:
            return _stored(reader.parts[0], obs)
        return {part.name: _stored(part, obs[part.path[0]]) for part in reader.parts}


def _stored(part: Part, obs: Array) -> Array:
    """Arrange a part of an observation as it is stored."""
    if part.array.is_image:
        return part.arranged(jnp.asarray(obs, jnp.uint8))
    return jnp.asarray(obs, jnp.float32).reshape(-1)


def _boxes(space: AnySpace) -> list[tuple[str | None, AnySpace]]:
    """List the parts of a space with their keys, or the space itself."""
    return list(space.spaces.items()) if isinstance(space, spaces.Dict) else [(None, space)]


def _check(env: CompiledEnv) -> None:
    """Raise UsageError where a member fails, or returns what it must not, naming it."""
    key = jax.eval_shape(lambda: keys.key(0))
    action = jax.eval_shape(lambda: jnp.asarray(env.action_space.sample()))
    state = _shapes(env, "initial", key)
    if not jax.tree.leaves(state):
        raise UsageError(f"{env.name}.initial returned a state without arrays")
    obs = _shapes(env, "observation", state, key)
    for name, space in _boxes(env.observation_space):
        if name is not None and (not isinstance(obs, dict) or name not in obs):
            raise UsageError(f"{env.name}.observation returned {_words(obs)}, which has no part {name!r}")
        what = "the observation space" if name is None else f"part {name!r} of the observation space"
        found = obs if name is None else obs[name]
        _refuse_unlike(env, "observation", found, space.shape, what)
        if is_image(space) and found.dtype.kind == "f":  # from 0 to 1, maybe, of which bytes would leave nothing
            raise UsageError(f"{env.name}.observation returned {_words(found)}, but {what} has bytes: convert to uint8")
    moved = _shapes(env, "transition", state, action, key)
    before: object = jax.tree.structure(state)
    after: object = jax.tree.structure(moved)
    if before != after:
        raise UsageError(f"{env.name}.transition returned {after}, but a state is {before}")
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(moved), strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise UsageError(
                f"{env.name}.transition turned an array of the state from {_words(old)} into {_words(new)}:"
                " it must stay the same"
            )
    _refuse_unlike(env, "reward", _shapes(env, "reward", state, action, moved, key), (), "a number")
    terminal = _shapes(env, "terminal", moved, key)
    _refuse_unlike(env, "terminal", terminal, (), "True or False")
    if terminal.dtype.kind == "f":
        raise UsageError(f"{env.name}.terminal returned {_words(terminal)}: it must be True or False")


def _shapes(env: CompiledEnv, member: str, *arguments: Tree) -> Tree:
    try:
        return jax.eval_shape(lambda *given: env.call(member, *given), *arguments)
    except Exception as error:
        raise UsageError(f"{env.name}.{member} failed on JAX arrays: {describe(error)}") from error


def _refuse_unlike(env: CompiledEnv, member: str, found: Tree, shape: tuple[int, ...] | None, what: str) -> None:
    if getattr(found, "shape", None) != shape or found.dtype.kind not in "biuf":
        raise UsageError(f"{env.name}.{member} returned {_words(found)}, but {what} has the shape {shape}")


def _words(array: Tree) -> str:
    return f"{array.dtype}{list(array.shape)}" if hasattr(array, "shape") else str(array)


def _scaled(space: AnySpace, action: Array) -> Array:
    """Convert an action in [-1, 1], or an index, to the environment's own units, as `ActionScale` does in NumPy."""
    if isinstance(space, spaces.Discrete):
        return action + int(space.start)
    if not isinstance(space, spaces.Box):
        chosen = action.reshape(space.shape or ())
        return chosen + jnp.asarray(space.start, jnp.int32) if isinstance(space, spaces.MultiDiscrete) else chosen
    scale = ActionScale(space)
    low, high, half, middle = (jnp.asarray(x, jnp.float32) for x in (scale.low, scale.high, scale.half, scale.middle))
    moved = action * half + middle
    if not scale.exact:
        moved = jnp.where(action >= 1, high, jnp.where(action <= -1, low, moved))
    within = jnp.clip(jnp.floor(moved) if scale.whole else moved, low, high).reshape(space.shape)
    return within.astype(jnp.int32) if scale.whole else within


@cache
def _twin(name: str) -> CompiledEnv:  # one for all, so that what was compiled for it serves again
    return CompiledEnv(name, TWINS[name](), gymnasium.spec(name).max_episode_steps)


def find(env: Maker) -> CompiledEnv | None:
    """Return the functional form of an environment, where it has one: a twin of Gymnasium's own, or a user's FuncEnv.

    A twin takes no arguments but a time limit. Raises UsageError for a FuncEnv that breaks the contract.
    """
    source = EnvSource.of(env)
    if BOUNDS in source.kwargs:  # actions are scaled inside the program, to the space as it is
        return None
    name, limit = source.name, checked_limit(source.kwargs.get(LIMIT), LIMIT)
    if isinstance(source.maker, str) and name in TWINS:
        if set(source.kwargs) - {LIMIT}:
            return None
        return _twin(name) if limit is None else replace(_twin(name), limit=limit)
    made = source.make_functional()
    return None if made is None else CompiledEnv(name, made, limit_of(made, limit))
