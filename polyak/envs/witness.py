"""A wrapper that records what an environment returns before polyak converts it, and how long it takes."""

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
from polyak.envs.make import EnvSource
from polyak.envs.spaces import AnyEnv, AnySpace
from polyak.errors import describe


@dataclass
class Notes:
    """The first surprise of each kind in words, and how many steps took how many seconds.

    The first reset and the first step of a copy do not count: they may compile, or start a simulator.
    """

    surprises: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0

    @contextlib.contextmanager
    def timing(self, warm: bool, steps: int) -> Iterator[None]:
        """Count the time spent in this context, if the copy is warm."""
        start = time.perf_counter()
        yield
        if warm:
            self.steps, self.seconds = self.steps + steps, self.seconds + time.perf_counter() - start

    def note(self, kind: str, sentence: str) -> None:
        """Remember a surprise, unless one of its kind is known."""
        self.surprises.setdefault(kind, sentence)


class Witness(gymnasium.Wrapper[object, object, object, object]):
    """Passes everything through, and notes what polyak accepts although it violates Gymnasium's interface."""

    def __init__(self, env: AnyEnv, notes: Notes):
        super().__init__(env)
        self._cached_spec = env.spec  # not one that names this wrapper
        self.notes, self.stepped = notes, False
        self.last: tuple[object, np.ndarray] | None = None  # an observation and a flat copy of it

    def reset(self, **arguments: Any) -> tuple[object, dict[str, object]]:
        """Reset the environment."""
        with self.notes.timing(self.stepped, 0):
            answer = self.env.reset(**arguments)
        with contextlib.suppress(Exception):  # the caller rejects what cannot be read
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
        except BaseException as error:  # also SystemExit
            self.notes.note("close", f"close() failed, so what it holds may stay open: {describe(error)}")
            raise

    def _see(self, obs: object) -> None:
        space = self.observation_space
        if self.last is not None and not np.array_equal(flatten(space, self.last[0]), self.last[1], equal_nan=True):
            self.notes.note(
                "changed",
                "an observation that was returned earlier is changed in place by a later step: polyak copies"
                " observations, but a wrapper or a script that keeps them may not; return a copy (obs.copy())",
            )
        self.last = obs, flatten(space, obs).copy()
        if difference := unlike(space, obs):
            self.notes.note("observation", f"observations do not match their space: {difference}")

    def _see_reward(self, reward: object) -> None:
        reward_of(reward)  # raises for what is an error rather than a surprise
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
class Watched(EnvSource):
    """A source that wraps each environment in a `Witness`."""

    notes: Notes = field(default_factory=Notes)

    def make(self, render_mode: str | None = None) -> AnyEnv:
        """Make an environment and wrap it."""
        return Witness(super().make(render_mode), self.notes)


def unlike(space: AnySpace, obs: Any) -> str | None:
    """Say how the type or shape of an observation that polyak can read differs from its space, if it does."""
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
