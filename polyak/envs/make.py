"""Environments from what a user names: an id, "module:Id", or a callable that makes one."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import gymnasium
from gymnasium.experimental.functional import FuncEnv

from polyak.envs import arguments
from polyak.envs.answers import advice_on
from polyak.envs.arguments import BOUNDS, LIMIT, checked_bounds, checked_limit
from polyak.envs.names import from_name, leads_back, name_of
from polyak.envs.registry import from_registry
from polyak.envs.spaces import AnyEnv, AnySpace, bounded
from polyak.envs.wrappers import refuse_statistics
from polyak.errors import UsageError, describe
from polyak.lazy import jax
from polyak.types import Json


@dataclass(eq=False)
class EnvSource:
    """What makes every environment of a run: an id or a callable, and the keyword arguments that it is given.

    It is made once, from what the user gives, and passed on. It remembers what it has made, to refuse a callable that
    returns the same environment again.
    """

    maker: str | Callable[..., object]
    kwargs: dict[str, Json] = field(default_factory=dict)
    made: list[weakref.ref[AnyEnv]] = field(default_factory=list, init=False, repr=False)

    def __getstate__(self) -> dict[str, object]:
        """Leave out what was made, and what was found: another process makes and finds its own."""
        return {**{name: value for name, value in vars(self).items() if name != "found"}, "made": []}

    @classmethod
    def of(cls, env: Maker, kwargs: dict[str, Json] | None = None) -> EnvSource:
        """Return what makes an environment, as it is if it is an EnvSource. Raises UsageError for an environment."""
        if isinstance(env, gymnasium.Env):
            raise UsageError("give a callable that makes the environment, not the environment: polyak needs copies")
        return env if isinstance(env, EnvSource) else cls(env, kwargs or {})

    @functools.cached_property
    def found(self) -> str | Callable[..., object]:
        """What the name leads to, if it was named; its module is imported for that."""
        return from_name(self.maker) if isinstance(self.maker, str) else self.maker

    @functools.cached_property
    def name(self) -> str:
        """What a run writes down of it: the id, or module:name of the callable."""
        self.found  # noqa: B018 (a module registers the ids that a name may mean)
        return name_of(self.maker)

    @property
    def can_be_found(self) -> bool:
        """Whether another process can find it by its name."""
        return leads_back(self.name, self.maker)

    def make(self, render_mode: str | None = None) -> AnyEnv:
        """Make an environment. Raises UsageError where it cannot be made or used; then it is closed again."""
        kwargs = {key: value for key, value in self.kwargs.items() if key != BOUNDS}
        if isinstance(self.found, str):
            made = from_registry(self.found, kwargs, render_mode)
        else:
            made = _from_callable(self.name, self.found, kwargs, render_mode)
        self._refuse_shared(made)
        with closed_on_error(made):
            refuse_statistics(self.name, made)
        return made

    def make_functional(self) -> FuncEnv | None:
        """Make the FuncEnv that a callable returns; None if it returns something else, or an id was given."""
        if isinstance(self.found, str):
            return None
        made = _call(self.name, self.found, self.kwargs)
        if isinstance(made, FuncEnv):
            return made
        close(made)
        return None

    def acts_in(self, env: AnyEnv) -> AnySpace:
        """Return the space to act in: the environment's, with the bounds that the user gives for infinite ones."""
        bounds = checked_bounds(self.kwargs.get(BOUNDS))
        return env.action_space if bounds is None else bounded(env.action_space, *bounds)

    def _refuse_shared(self, made: AnyEnv) -> None:
        inner = made.unwrapped
        self.made = [before for before in self.made if before() is not None]
        if any(before() is inner for before in self.made):  # left open: whoever got it first closes it
            raise UsageError(
                f"{self.name} returned the same environment twice: training and evaluation need one each, or one"
                " would reset the other in the middle of its episode; make a new environment in every call"
            )
        self.made.append(weakref.ref(inner))


Maker: TypeAlias = str | Callable[..., object] | EnvSource


def make(env: Maker, render_mode: str | None = None) -> AnyEnv:
    """Make an environment from an id ("Pendulum-v1"), "module:Id", "module:callable", a callable, or an EnvSource.

    Raises UsageError for an unknown id or a missing package, and says what to install.
    """
    return EnvSource.of(env).make(render_mode)


def close(env: object) -> None:
    """Close an environment; one that cannot be closed shall not hide what went wrong before."""
    try:
        if callable(closing := getattr(env, "close", None)):
            closing()
    except KeyboardInterrupt:
        raise
    except BaseException:  # also of one that exits
        return


@contextlib.contextmanager
def closed_on_error(env: object) -> Iterator[None]:
    """Close an environment if what is done with it fails, so that its simulator does not stay behind."""
    try:
        yield
    except BaseException:
        close(env)
        raise


def _from_callable(name: str, maker: Callable[..., object], kwargs: dict[str, Json], render_mode: str | None) -> AnyEnv:
    limit = checked_limit(kwargs.get(LIMIT), LIMIT)
    drawn = {} if render_mode is None or not arguments.takes(maker, "render_mode") else {"render_mode": render_mode}
    made = _call(name, maker, {**kwargs, **drawn})
    with closed_on_error(made):
        if isinstance(made, FuncEnv):
            return _stepped(name, made, limit, render_mode)
        if not isinstance(made, gymnasium.Env):
            raise UsageError(f"{name}() returned a {type(made).__name__}, not a gymnasium.Env{advice_on(made)}")
        for space in ("observation_space", "action_space"):
            if not isinstance(getattr(made, space, None), gymnasium.Space):
                raise UsageError(f"{name} has no {space}: an environment must have one")
        if limit is None or arguments.takes(maker, LIMIT):
            return made
        return gymnasium.wrappers.TimeLimit(made, limit)


def _call(name: str, maker: Callable[..., object], kwargs: dict[str, Json]) -> object:
    checked_limit(kwargs.get(LIMIT), LIMIT)
    if not arguments.takes(maker, LIMIT):
        kwargs = {key: value for key, value in kwargs.items() if key != LIMIT}
    arguments.refuse_unknown(name, maker, kwargs)
    try:
        return maker(**kwargs)
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UsageError(f"{name} cannot be made: {describe(error)}") from error


def _stepped(name: str, env: FuncEnv, limit: int | None, render_mode: str | None) -> AnyEnv:
    """Make an environment that is stepped from a functional one."""
    from gymnasium.envs.functional_jax_env import FunctionalJaxEnv

    if render_mode not in (None, "rgb_array"):
        raise UsageError(f"{name} cannot be drawn as {render_mode}: a FuncEnv offers rgb_array, which is recorded")
    env.transform(jax.jit)
    try:
        made: AnyEnv = FunctionalJaxEnv(env, getattr(env, "metadata", None), render_mode)
    except NotImplementedError as error:
        raise UsageError(f"{name} cannot be drawn: it has no render_init") from error
    limit = limit_of(env, limit)
    return made if limit is None else gymnasium.wrappers.TimeLimit(made, limit)


def limit_of(env: object, given: int | None = None) -> int | None:
    """Return the time limit of a FuncEnv: the one given, or that which it declares. Raises UsageError."""
    declared = checked_limit(getattr(env, LIMIT, None), f"{type(env).__name__}.{LIMIT}")
    return declared if given is None else given
