"""What is stored of an observation: a vector, an image, or several of them by name.

A space without images is one vector, flattened as by `flatten`; a `Dict` keeps the names of its parts. A `Box` of bytes
from 0 to 255 with two sides of many pixels is an image, stored as bytes `[height, width, channels]`: every axis besides
the two longest is a channel. An image within nested spaces is named by its path, such as "eyes/left".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
from gymnasium import spaces

from polyak.envs.flatten import NUMBERS, AnySpace, blame_part, count_of, fitting, is_list, parts_of, rows_of, shorten
from polyak.errors import UsageError
from polyak.lazy import jax
from polyak.tree import named_leaves
from polyak.types import ArraySpec, Obs, Observation, vector

Images = TypeVar("Images", np.ndarray, "jax.Array")
IMAGE_SIDE = 8  # pixels; a smaller array of bytes is a board rather than an image


@dataclass(frozen=True)
class Part:
    """One array of an observation: its name ("" where it is the whole), where it is found, and its space."""

    name: str
    path: tuple[str | int, ...]
    space: AnySpace

    @property
    def array(self) -> ArraySpec:
        """What it is stored as."""
        if not is_image(self.space):
            return vector(spaces.flatdim(self.space))
        sides = self.space.shape or ()
        shape = [sides[axis] for axis in self.axes]
        return ArraySpec((shape[0], shape[1], math.prod(shape[2:])), "uint8")

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """Axes of an image: those of its height, its width and its channels."""
        shape = self.space.shape or ()
        longest = sorted(sorted(range(len(shape)), key=lambda axis: -shape[axis])[:2])
        return (*longest, *(axis for axis in range(len(shape)) if axis not in longest))

    def arranged(self, images: Images) -> Images:
        """Arrange images `[..., *axes of the space]`, of NumPy or JAX, as `[..., height, width, channels]`."""
        before: int = images.ndim - len(self.axes)
        order = (*range(before), *(before + axis for axis in self.axes))
        return images.transpose(order).reshape(*images.shape[:before], *self.array.shape)

    def read(self, obs: object, count: int | None) -> np.ndarray:
        """Return a batch of so many `[batch, ...]`, or of a single observation (None), with an axis too."""
        if not is_image(self.space):
            return rows_of(self.space, obs, count)
        return self.arranged(_bytes(self.space, fitting(self.space, obs, count)).reshape(-1, *(self.space.shape or ())))


def is_image(space: AnySpace) -> bool:
    """Say whether these are images, or stacks of them: bytes from 0 to 255, with two sides of many pixels."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return False
    sides = sum(side >= IMAGE_SIDE for side in space.shape)
    return sides >= 2 and bool((space.low == 0).all() and (space.high == 255).all())


def _has_image(space: AnySpace) -> bool:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return any(_has_image(part) for _, part in _keyed(space))
    return is_image(space)


def _keyed(space: spaces.Dict | spaces.Tuple) -> list[tuple[str | int, AnySpace]]:
    return list(space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces))


def _parts(space: AnySpace, path: tuple[str | int, ...] = ()) -> Iterator[Part]:
    """List what is stored as an array of its own."""
    if path and spaces.flatdim(space) == 0:  # nothing to store
        return
    named = isinstance(space, spaces.Dict) and not path
    if isinstance(space, spaces.Dict | spaces.Tuple) and (named or _has_image(space)):
        for key, part in _keyed(space):
            yield from _parts(part, (*path, key))
    else:
        # text of another type, such as an Enum's, counts by its content, as in JSON
        yield Part("/".join(key if isinstance(key, str) else str(key) for key in path), path, space)


class Reader:
    """Turns what an environment returns into what is stored. Raises UsageError for parts of the same name."""

    def __init__(self, space: AnySpace):
        self.space, self.parts = space, list(_parts(space))
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names):
            raise UsageError(f"two parts of the observations {shorten(space)} have the same name: rename one of them")
        self.whole = not self.parts[0].path  # asked of the path, because "" may be the name of a part
        plain = isinstance(space, spaces.Box) and not is_image(space)
        self.shape = space.shape if plain else None  # of what nearly all environments return

    @property
    def observation(self) -> Observation:
        """Describe what is stored."""
        if self.whole:
            return self.parts[0].array
        return tuple((part.name, part.array) for part in self.parts)

    def __call__(self, obs: object) -> Obs:
        """Read one observation. Raises ValueError if it is none of the space."""
        if type(obs) is np.ndarray and obs.shape == self.shape and obs.dtype.kind in NUMBERS:
            return obs if obs.ndim == 1 else obs.reshape(-1)
        return self._each(lambda part: _found(part, self.space, part.path, obs, None)[0])

    def batch(self, obs: object) -> tuple[Obs, bool]:
        """Read one observation or a batch of them to `[batch, ...]`; say too whether it was a single one.

        Raises ValueError if it is neither.
        """
        count = count_of(self.space, obs)
        return self._each(lambda part: _found(part, self.space, part.path, obs, count)), count is None

    def _each(self, make: Callable[[Part], np.ndarray]) -> Obs:
        if self.whole:
            return make(self.parts[0])
        return {part.name: make(part) for part in self.parts}


def _found(part: Part, space: AnySpace, path: tuple[str | int, ...], obs: object, count: int | None) -> np.ndarray:
    """Read the part that lies on a path into a batch of so many, or a single one (None); what is wrong names the path.

    At each step of the path the observations of a batch may be joined, or listed one after the other.
    """
    if not path:
        return part.read(obs, count)
    if count is not None and is_list(obs, space):
        rows = [_found(part, space, path, one, None)[0] for one in obs]
        return np.array(rows, part.array.dtype).reshape(count, *part.array.shape)
    for key, within, value in parts_of(space, obs):
        if key == path[0]:
            return blame_part(key, partial(_found, part, within, path[1:], value, count))
    raise AssertionError(path)


def _bytes(space: AnySpace, found: np.ndarray) -> np.ndarray:
    """Return images as bytes. Raises ValueError where a number is not a whole one from 0 to 255."""
    if found.dtype != np.uint8:
        whole = (found >= 0) & (found <= 255) & (found == np.floor(found))
        if not whole.all():
            raise ValueError(
                f"the images of {space} have {shorten(found[~whole].flat[0])}, which is not a byte: return whole"
                " numbers from 0 to 255, as uint8"
            )
    return found.astype(np.uint8, copy=False)


def refuse_nonfinite(rows: Obs) -> None:
    """Raise ValueError unless all numbers `[batch, ...]` are finite."""
    for name, leaf in named_leaves(rows).items():
        # the sum of their squares costs an eighth of what looking at each of them does, but may overflow
        if leaf.dtype.kind == "f" and not (math.isfinite(np.vdot(leaf, leaf)) or np.isfinite(leaf).all()):
            row = leaf[~np.isfinite(leaf).all(1)][0]
            part = f"part {name!r}: " * isinstance(rows, Mapping)
            raise ValueError(f"{part}observation {shorten(row)} has a number that is not finite")


def number_of(rows: Obs) -> int:
    """Count the observations of a batch `[batch, ...]`."""
    return len(next(iter(rows.values())) if isinstance(rows, Mapping) else rows)
