"""Gymnasium spaces as an algorithm sees them: observations as arrays, actions in [-1, 1] or an index."""

from typing import Any, NamedTuple, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

from polyak.envs.flatten import AnySpace
from polyak.envs.observations import Reader
from polyak.errors import UsageError, option
from polyak.types import ActionSpace, Box, Discrete, EnvSpec, Json, MultiDiscrete

AnyEnv: TypeAlias = gymnasium.Env[Any, Any]
FLAT = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)
MOST_NUMBERS = 1_000_000  # of an observation or an action; 4 MB in every environment, and several times in a transition
INSTEAD = {
    "Text": "encode the text in a Box or a MultiDiscrete of fixed size",
    "Sequence": "pad the sequence to a Box of fixed size",
    "Graph": "describe the graph by a Box of fixed size",
    "OneOf": "use a Dict that holds every alternative",
}


class Spaces(NamedTuple):
    """Both spaces of an environment: what it returns, and the units of its actions."""

    observation: AnySpace
    action: AnySpace


def spec_of(observation: AnySpace, action: AnySpace) -> EnvSpec:
    """Describe an environment by its spaces. Raises UsageError for spaces that cannot be learned on."""
    _check_observation(observation, "observations")
    size = spaces.flatdim(observation)
    if size == 0:
        raise UsageError(f"the observation space {observation} is empty")
    _refuse_huge("an observation", size, "describe the state by a few numbers, in a Box")
    return EnvSpec(Reader(observation).observation, _action_space_of(action))


def _check_observation(space: AnySpace, where: str) -> None:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        _refuse_unwritable(space, where)
        for key, part in space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces):
            _check_observation(part, f"{where}[{key!r}]")
    elif not isinstance(space, FLAT):
        kind = type(space).__name__
        instead = INSTEAD.get(kind, "use Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of them")
        raise UsageError(f"{where} are a {kind} space, which cannot be learned from: {instead}")


def _refuse_unwritable(space: spaces.Dict | spaces.Tuple, where: str) -> None:
    """Raise UsageError for a key that a file, which describes the policy's observations, cannot hold."""
    for key in space.spaces if isinstance(space, spaces.Dict) else ():
        if not isinstance(key, str | int) or (isinstance(key, str) and key != key.encode(errors="ignore").decode()):
            raise UsageError(f"{where} have a part with the key {key!r}: use text, such as 'position'")


def _refuse_huge(what: str, size: int, instead: str) -> None:
    if size > MOST_NUMBERS:
        raise UsageError(
            f"{what} would take {size:,} numbers, but the maximum is {MOST_NUMBERS:,} (an index of a Discrete space"
            f" takes one for each of its values): {instead}"
        )


def _action_space_of(space: AnySpace) -> ActionSpace:
    if isinstance(space, spaces.Discrete):
        _refuse_huge("an action", int(space.n), "split it into several choices, in a MultiDiscrete")
        return Discrete(int(space.n))
    if not isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary):
        raise UsageError(
            f"actions are a {type(space).__name__} space: use Box, Discrete, MultiDiscrete or MultiBinary; to join"
            " parts of the same type, use gymnasium.wrappers.TransformAction"
        )
    if int(np.prod(space.shape)) == 0:
        raise UsageError(f"the action space {space} is empty")
    if not isinstance(space, spaces.Box):
        choices = np.ravel(space.nvec) if isinstance(space, spaces.MultiDiscrete) else [2] * int(np.prod(space.shape))
        _refuse_huge("an action", sum(int(n) for n in choices), "use fewer choices")
        return MultiDiscrete(tuple(int(n) for n in choices))
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise UsageError(
            f"the action space {space} is unbounded: set finite action bounds, as in"
            f" {option('env.action_bounds', (-1, 1))}, or wrap the environment in"
            " gymnasium.wrappers.TransformAction with a finite action space"
        )
    if (space.low > space.high).any() or (space.low == space.high).all():
        raise UsageError(f"the action space {space} leaves no choice: lower bounds must be below upper bounds")
    return Box(int(np.prod(space.shape)))


def bounded(space: AnySpace, low: float, high: float) -> spaces.Box:
    """Replace the infinite bounds of a Box of actions by `low` and `high`; the finite ones stay.

    Raises UsageError where there are none, or where bounds contradict each other.
    """
    if not isinstance(space, spaces.Box) or (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise UsageError(f"action bounds {low:g} {high:g}: the action space {space} has no infinite bounds to replace")
    if not (np.isfinite([low, high]).all() and low < high):
        raise UsageError(f"action bounds {low:g} {high:g}: they must be two finite numbers, the lower one first")
    with np.errstate(over="ignore"):
        lows = np.where(np.isfinite(space.low), space.low, low).astype(space.dtype)
        highs = np.where(np.isfinite(space.high), space.high, high).astype(space.dtype)
    if not (np.isfinite(lows).all() and np.isfinite(highs).all() and (lows < highs)[~_finite(space)].all()):
        raise UsageError(f"action bounds {low:g} {high:g} do not fit the action space {space}")
    return spaces.Box(lows, highs, space.shape, space.dtype.type)


def _finite(space: spaces.Box) -> np.ndarray:
    return np.isfinite(space.low) & np.isfinite(space.high)


class ActionScale:
    """Maps actions in [-1, 1] (or indices) to the environment's own units, per dimension."""

    def __init__(self, space: AnySpace):
        self.space = space
        if isinstance(space, spaces.Box):
            low, high = _inside(space.low, np.inf), _inside(space.high, -np.inf)
            self.whole = np.issubdtype(space.dtype, np.integer)  # then every number gets an equal share of [-1, 1]
            kind = np.promote_types(space.dtype, np.float32)  # float64 where float32 cannot tell the bounds apart
            share = self.whole / 2
            half, middle = high / 2 - low / 2 + share, high / 2 + low / 2 + share  # their double may be too large
            wide = half >= np.finfo(half.dtype).max - abs(middle)  # their sum may be, too
            half = np.where(wide, np.nextafter(half, 0), half)
            self.half, self.middle = _shared(half.astype(kind)), _shared(middle.astype(kind))
            self.low, self.high = _shared(low.astype(kind)), _shared(high.astype(kind))
            self.exact = self.whole or not self.middle.any()  # whether -1 and 1 give the bounds without rounding
            self.plain = len(space.shape) == 1 and kind == space.dtype  # no other shape or type than it is computed in

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """Convert actions `[..., action]`, or indices `[...]`, to an array of the space's shape and type."""
        if isinstance(self.space, spaces.Box):
            return self._scaled(actions)
        if isinstance(self.space, spaces.Discrete):
            return (actions.astype(np.int64) + int(self.space.start)).astype(self.space.dtype, copy=False)
        chosen = actions.reshape(*actions.shape[:-1], *self.space.shape).astype(self.space.dtype)  # type: ignore[misc]
        return chosen + self.space.start if isinstance(self.space, spaces.MultiDiscrete) else chosen

    def _scaled(self, actions: np.ndarray) -> np.ndarray:
        scaled = actions * self.half + self.middle
        if self.whole:
            scaled = np.floor(scaled)
        if not self.exact:
            scaled = np.where(actions >= 1, self.high, np.where(actions <= -1, self.low, scaled))
        # rounding may step a hair outside the box (maximum and minimum: three times faster than np.clip)
        scaled = np.minimum(np.maximum(scaled, self.low), self.high)
        if self.plain:
            return scaled
        return scaled.reshape((*actions.shape[:-1], *(self.space.shape or ()))).astype(self.space.dtype, copy=False)


def _shared(numbers: np.ndarray) -> np.ndarray:
    """Replace equal numbers by an array without axes, with which NumPy computes in half the time."""
    return numbers[:1].reshape(()) if (numbers == numbers[0]).all() else numbers


def _inside(bound: np.ndarray, inward: float) -> np.ndarray:
    """Flatten a bound to float64; a large whole number that has no float of its own becomes the next one inward."""
    near = bound.reshape(-1).astype(np.float64)
    pairs = near.astype(object), bound.reshape(-1).astype(object)  # Python compares whole numbers with floats exactly
    beyond = pairs[0] < pairs[1] if inward > 0 else pairs[0] > pairs[1]
    return np.where(beyond, np.nextafter(near, inward), near)


def to_json(space: AnySpace) -> dict[str, Json]:
    """Describe a space in JSON, enough to flatten observations and scale actions without the environment."""
    if isinstance(space, spaces.Dict):
        return {"dict": [[key, to_json(part)] for key, part in space.spaces.items()]}
    if isinstance(space, spaces.Tuple):
        return {"tuple": [to_json(part) for part in space.spaces]}
    if isinstance(space, spaces.Box):
        bounds = [_finite_or_text(bound.astype(np.float64).tolist()) for bound in (space.low, space.high)]
        return {"box": {"shape": list(space.shape), "dtype": str(space.dtype), "low": bounds[0], "high": bounds[1]}}
    if isinstance(space, spaces.Discrete):
        return {"discrete": {"n": int(space.n), "start": int(space.start), **_unusual_type(space)}}
    if isinstance(space, spaces.MultiBinary):
        return {"multi_binary": space.n if isinstance(space.n, int) else [int(n) for n in space.n]}
    assert isinstance(space, spaces.MultiDiscrete)
    return {"multi_discrete": {"nvec": space.nvec.tolist(), "start": space.start.tolist(), **_unusual_type(space)}}


def _unusual_type(space: AnySpace) -> dict[str, str]:
    """Describe the type of indices that are not int64, which older versions of Gymnasium do not know for Discrete."""
    return {} if space.dtype == np.int64 else {"dtype": str(space.dtype)}


def _finite_or_text(numbers: list[float] | float) -> Json:
    """Write infinities, which JSON lacks, as text that `float` reads."""
    if isinstance(numbers, list):
        return [_finite_or_text(number) for number in numbers]
    return numbers if np.isfinite(numbers) else str(numbers)


def from_json(description: dict[str, Any]) -> AnySpace:
    """Rebuild a space from its description."""
    ((kind, value),) = description.items()
    if kind == "dict":
        return spaces.Dict([(key, from_json(part)) for key, part in value])
    if kind == "tuple":
        return spaces.Tuple([from_json(part) for part in value])
    if kind == "box":
        dtype = np.dtype(value["dtype"])
        low, high = (np.asarray(value[b], np.float64).astype(dtype).reshape(value["shape"]) for b in ("low", "high"))
        return spaces.Box(low, high, tuple(value["shape"]), dtype.type)
    if kind == "multi_binary":
        return spaces.MultiBinary(value)
    dtype = np.dtype(value.get("dtype", np.int64))
    if kind == "discrete":
        return spaces.Discrete(value["n"], None, value["start"], *([] if dtype == np.int64 else [dtype.type]))
    return spaces.MultiDiscrete(np.asarray(value["nvec"]), dtype, start=np.asarray(value["start"]))
