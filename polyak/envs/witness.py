"""An environment under observation: what it really returns, before polyak converts it, and how long it takes."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from polyak.envs.answers import reward_of, truth
from polyak.envs.flatten import flatten, shorten
from polyak.envs.make import Source
from polyak.envs.spaces import AnyEnv, AnySpace
from polyak.errors import describe


@dataclass
class Notes:
    """What was seen: the first of each kind of surprise in words, and how many steps took how many seconds.

    A copy's first reset and first step do not count: they may compile, or start a simulator.
    """

    surprises: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0

    @contextlib.contextmanager
    def timing(self, warm: bool, steps: int) -> Iterator[None]:
        """Count the time that is spent in here, if the copy is warm."""
        start = time.perf_counter()
        yield
        if warm:
            self.steps, self.seconds = self.steps + steps, self.seconds + time.perf_counter() - start

    def note(self, kind: str, sentence: str) -> None:
        """Remember a surprise, unless one of its kind was seen before."""
        self.surprises.setdefault(kind, sentence)


class Witness(gymnasium.Wrapper[object, object, object, object]):
    """Passes everything through, and notes what polyak accepts although Gymnasium's interface says otherwise."""

    def __init__(self, env: AnyEnv, notes: Notes):
        super().__init__(env)
        self._cached_spec = env.spec  # not one that names this wrapper
        self.notes, self.stepped = notes, False
        self.last: tuple[object, np.ndarray] | None = None  # an observation as it was returned, and a flat copy of it

    def reset(self, **arguments: Any) -> tuple[object, dict[str, object]]:
        """Reset the environment."""
        with self.notes.timing(self.stepped, 0):
            answer = self.env.reset(**arguments)
        with contextlib.suppress(Exception):  # what cannot be read is refused by whoever asked
            self._see(answer[0])
        return answer

    def step(self, action: object) -> tuple[object, SupportsFloat, bool, bool, dict[str, object]]:
        """Step the environment."""
        with self.notes.timing(self.stepped, 1):
            answer = self.env.step(action)
        self.stepped = True
        with contextlib.suppress(Exception):
            obs, reward, terminated, truncated, _ = answer
            self._see(obs)
            self._see_reward(reward)
            self._see_ends(terminated=terminated, truncated=truncated)
        return answer

    def close(self) -> None:
        """Close the environment."""
        try:
            super().close()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also of one that exits
            self.notes.note("close", f"close() failed, so what it holds may stay open: {describe(error)}")
            raise

    def _see(self, obs: object) -> None:
        space = self.observation_space
        if self.last is not None and not np.array_equal(flatten(space, self.last[0]), self.last[1], equal_nan=True):
            self.notes.note(
                "changed",
                "an observation that was returned earlier is changed in place by a later step: polyak copies what it"
                " sees, but a wrapper or a script that keeps observations would not; return a copy (obs.copy())",
            )
        self.last = obs, flatten(space, obs).copy()
        if difference := unlike(space, obs):
            self.notes.note("observation", f"observations are not what their space says: {difference}")

    def _see_reward(self, reward: object) -> None:
        reward_of(reward)  # raises where it is refused, which is no surprise but an error
        if not isinstance(reward, int | float | np.integer | np.floating):
            self.notes.note(
                "reward",
                f"the reward is {_kind(reward)}, {shorten(reward)}, not a plain number: polyak converts it, but other"
                " libraries and wrappers may not; return float(reward)",
            )

    def _see_ends(self, **ends: object) -> None:
        for name, value in ends.items():
            truth(name, value)
            if not isinstance(value, bool | np.bool_):
                self.notes.note(
                    "ends",
                    f"{name} is {_kind(value)}, {shorten(value)}, not True or False: polyak converts it, but other"
                    f" libraries and wrappers may not; return bool({name})",
                )


@dataclass(eq=False)
class Watched(Source):
    """A source whose environments are under observation."""

    notes: Notes = field(default_factory=Notes)

    def make(self, render_mode: str | None = None) -> AnyEnv:
        """Make an environment and put it under observation."""
        return Witness(super().make(render_mode), self.notes)


def unlike(space: AnySpace, obs: Any) -> str | None:
    """Say how an observation that polyak can read differs in type or shape from what its space says, if it does."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        found = ((key, unlike(part, obs[key])) for key, part in parts)
        return next((f"part {key!r} is {different}" for key, different in found if different), None)
    if isinstance(space, spaces.Discrete):
        if isinstance(obs, int | np.integer):
            return None
        return f"{_kind(obs)} where {space} has whole numbers; return int(…)"
    if (getattr(obs, "dtype", None), getattr(obs, "shape", None)) == (space.dtype, space.shape):  # of JAX, too
        return None
    kind = np.dtype(space.dtype).name
    expected = f"{kind} numbers in the shape {space.shape}"
    return f"{_kind(obs)} in place of {expected}; return np.asarray(obs, np.{kind}).reshape({space.shape})"


def _kind(value: object) -> str:
    array_of = f"{value.dtype} array of shape {value.shape}" if isinstance(value, np.ndarray) else None
    name = array_of or type(value).__name__
    return "None" if value is None else f"a{'n' * (name[0].lower() in 'aeio')} {name}"
