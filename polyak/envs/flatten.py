"""Observations as flat float32 vectors, the same for training, evaluation, recordings and trained policies.

Numbers are laid out as by `gymnasium.spaces.flatten`: an index becomes a one-hot vector, parts are joined in the order
of their space. Unlike there, an index outside its space is an error rather than another state, and what can be read in
one way only is accepted: lists, arrays and Python numbers, axes of size one, whole floats as indices.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias, TypeGuard

import gymnasium
import numpy as np
from gymnasium import spaces

AnySpace: TypeAlias = gymnasium.Space[Any]

NUMBERS = "fiub"  # NumPy's kinds of numbers that a float32 can stand for
INDICES = (spaces.Discrete, spaces.MultiDiscrete)
WHOLE = (spaces.Box, spaces.MultiBinary, *INDICES)  # spaces without parts


def flatten(space: AnySpace, obs: object) -> np.ndarray:
    """Flatten one observation, as an environment returns it, to float32 `[obs]`. Raises ValueError if it is none."""
    return rows_of(space, obs, None)[0]


def count_of(space: AnySpace, obs: object) -> int | None:
    """Return how many observations a batch holds, by shapes alone; None for a single one. Raises ValueError."""
    if isinstance(space, WHOLE):
        return _count_by_shape(space.shape or (), _shape(obs))
    return len(obs) if is_list(obs, space) else _count_by_parts(space, obs)


def _count_by_parts(space: AnySpace, obs: object) -> int | None:
    counts = {count_of(part, value) for _, part, value in parts_of(space, obs) if not _is_hollow(part)}
    if counts == {None, 1}:  # an axis of size one is then no batch
        return None
    if len(counts) > 1:
        raise ValueError(f"the parts of a batch of {space} differ in length")
    return counts.pop()


def _is_hollow(space: AnySpace) -> bool:
    """Say whether these are parts without any number, which tell nothing of a batch."""
    return not isinstance(space, WHOLE) and spaces.flatdim(space) == 0


def _count_by_shape(one: tuple[int, ...], shape: tuple[int, ...]) -> int | None:
    if shape == one:
        return None
    if len(shape) > len(one) and (shape[1:] == one or _squeezed(shape[1:]) == _squeezed(one)):
        return shape[0]
    if _squeezed(shape) == _squeezed(one):
        return None
    raise ValueError(f"an observation has shape {one}, or (batch, ...) of it, not {shape}")


def is_list(obs: object, space: AnySpace) -> TypeGuard[list[object] | np.ndarray]:
    """Say whether these are observations of several parts, one after the other, rather than one as a list of parts."""
    if not isinstance(obs, list | np.ndarray):
        return False
    try:
        return isinstance(space, spaces.Dict) or _count_by_parts(space, obs) is not None
    except ValueError:
        return True


def rows_of(space: AnySpace, obs: object, count: int | None) -> np.ndarray:
    """Flatten a batch of so many, or a single observation (None), to `[batch, obs]`."""
    if isinstance(space, WHOLE):
        if count is None and (usual := _usual(space, obs)) is not None:
            return usual
        return _one_hot(space, obs, count) if isinstance(space, INDICES) else _plain(space, obs, count)
    if count is not None and is_list(obs, space):
        return np.array([flatten(space, one) for one in obs], np.float32).reshape(count, spaces.flatdim(space))
    parts = [blame_part(key, partial(rows_of, part, value, count)) for key, part, value in parts_of(space, obs)]
    return np.concatenate(parts, axis=1) if parts else np.zeros((1 if count is None else count, 0), np.float32)


def _usual(space: AnySpace, obs: object) -> np.ndarray | None:
    """Flatten what nearly all environments return, at a tenth of the cost; None where it is anything else."""
    if isinstance(space, spaces.Box):
        if type(obs) is np.ndarray and obs.shape == space.shape and obs.dtype.kind in NUMBERS:
            return obs.reshape(1, -1).astype(np.float32, copy=False)
    elif isinstance(space, spaces.Discrete) and (type(obs) is int or isinstance(obs, np.integer)):
        index = int(obs) - int(space.start)
        if 0 <= index < space.n:
            row = np.zeros((1, int(space.n)), np.float32)
            row[0, index] = 1
            return row
    return None


def blame_part(key: object, read: Callable[[], np.ndarray]) -> np.ndarray:
    """Read a part; where that fails, say which one it was."""
    try:
        return read()
    except ValueError as error:
        raise ValueError(f"part {key!r}: {error}") from None


def parts_of(space: Any, obs: object) -> list[tuple[str | int, AnySpace, object]]:
    """Return key, space and value of each part. Raises ValueError where one is missing; keys too many are ignored."""
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, (dict, Mapping)):
            raise ValueError(f"a {type(obs).__name__} is not an observation of {space}, nor a batch of them")
        for key in space.spaces:
            if key not in obs:
                raise ValueError(f"an observation of {space} has no part {key!r}")
        return [(key, part, obs[key]) for key, part in space.spaces.items()]
    if not isinstance(obs, tuple | list | np.ndarray) or len(obs) != len(space.spaces):
        raise ValueError(f"{shorten(obs)} is not an observation of {space}, nor a batch of them")
    return [(i, part, value) for i, (part, value) in enumerate(zip(space.spaces, obs, strict=True))]


def _one_hot(space: spaces.Discrete | spaces.MultiDiscrete, obs: object, count: int | None) -> np.ndarray:
    if isinstance(space, spaces.Discrete):
        starts, sizes = np.array([space.start]), np.array([space.n])
    else:
        starts, sizes = space.start.reshape(-1), space.nvec.reshape(-1)
    starts, sizes = starts.astype(np.int64), sizes.astype(np.int64)
    found = fitting(space, obs, count)
    _refuse_outside(space, found, starts, starts + sizes - 1)
    columns = found.astype(np.int64) - starts + np.cumsum(sizes) - sizes
    rows = np.zeros((len(found), int(sizes.sum())), np.float32)
    rows[np.arange(len(found))[:, None], columns] = 1
    return rows


def _plain(space: AnySpace, obs: object, count: int | None) -> np.ndarray:
    found = fitting(space, obs, count)
    if isinstance(space, spaces.MultiBinary):
        _refuse_outside(space, found, np.zeros(found.shape[1], int), np.ones(found.shape[1], int))
    return found.astype(np.float32, copy=False)


def _refuse_outside(space: AnySpace, found: np.ndarray, least: np.ndarray, most: np.ndarray) -> None:
    """Raise ValueError unless all numbers `[batch, n]` are whole and in their range."""
    inside = (found >= least) & (found <= most)
    if found.dtype.kind == "f":
        inside &= found == np.floor(found)
    if inside.all():
        return
    row, i = np.argwhere(~inside)[0]
    which = "it" if isinstance(space, spaces.Discrete) else f"number {i + 1} of it"
    shown = shorten(found[row, 0] if isinstance(space, spaces.Discrete) else found[row])
    raise ValueError(
        f"observation {shown} is not in {space}: {which} must be a whole number from {least[i]} to {most[i]}"
    )


def fitting(space: AnySpace, obs: object, count: int | None) -> np.ndarray:
    """Return the numbers of observations of one space as `[batch, n]`."""
    array, shape = _numbers(obs), space.shape or ()
    if count is None and array.shape != shape and _squeezed(array.shape) != _squeezed(shape):
        raise ValueError(f"observation has shape {array.shape}, its space says {shape}")
    return array.reshape(1 if count is None else count, int(np.prod(shape)))


def _numbers(obs: object) -> np.ndarray:
    """Return an array of numbers. Raises ValueError for what holds anything else."""
    if isinstance(obs, np.ma.MaskedArray) and np.ma.is_masked(obs):
        raise ValueError("observation has masked numbers: fill them before returning it")
    array = _array(obs)
    if array.dtype.kind == "O":
        array = np.array([_float(item) for item in array.flat], np.float64).reshape(array.shape)
    if array.dtype.kind not in NUMBERS:
        raise ValueError(f"observation {shorten(obs)} is not made of numbers")
    return array


def _float(item: Any) -> float:
    """Convert an object that stands for a number, such as a Fraction."""
    try:
        return item.__float__()
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"observation has {shorten(item)}, which is not a number") from None


def _array(obs: object) -> np.ndarray:
    try:
        return np.asarray(obs)
    except ValueError:
        raise ValueError("an observation is ragged: its rows differ in length") from None


def _shape(obs: object) -> tuple[int, ...]:
    return obs.shape if isinstance(obs, np.ndarray) else _array(obs).shape


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def shorten(value: object) -> str:
    """Show a value in a message, shortened."""
    shown = " ".join((str(value) if isinstance(value, np.ndarray | np.number) else repr(value)).split())
    return shown if len(shown) <= 80 else f"{shown[:80]}…"
