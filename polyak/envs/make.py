"""Make environments from an id, "module:Id", or a callable."""

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
    """Makes every environment of a run from an id or a callable and its keyword arguments.

    It is created once from what the user gives, and passed on. It remembers the environments that it made, to reject a
    callable that returns the same one again.
    """

    maker: str | Callable[..., object]
    kwargs: dict[str, Json] = field(default_factory=dict)
    made: list[weakref.ref[AnyEnv]] = field(default_factory=list, init=False, repr=False)

    def __getstate__(self) -> dict[str, object]:
        """Leave out the environments and the resolved maker: another process makes and resolves its own."""
        return {**{name: value for name, value in vars(self).items() if name != "found"}, "made": []}

    @classmethod
    def of(cls, env: Maker, kwargs: dict[str, Json] | None = None) -> EnvSource:
        """Return an EnvSource for a maker, or the EnvSource itself. Raises UsageError for an environment."""
        if isinstance(env, gymnasium.Env):
            raise UsageError("give a callable that makes the environment, not the environment: polyak needs copies")
        return env if isinstance(env, EnvSource) else cls(env, kwargs or {})

    @functools.cached_property
    def found(self) -> str | Callable[..., object]:
        """The maker; if it is a name, it is resolved, which imports its module."""
        return from_name(self.maker) if isinstance(self.maker, str) else self.maker

    @functools.cached_property
    def name(self) -> str:
        """The name under which a run stores it: the id, or module:name of the callable."""
        self.found  # noqa: B018 (importing the module registers its ids)
        return name_of(self.maker)

    @property
    def can_be_found(self) -> bool:
        """Whether another process can resolve it by its name."""
        return leads_back(self.name, self.maker)

    def make(self, render_mode: str | None = None) -> AnyEnv:
        """Make an environment. Raises UsageError, and closes it, if it cannot be made or used."""
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
        """Return the environment's action space, with the user's bounds in place of infinite ones."""
        bounds = checked_bounds(self.kwargs.get(BOUNDS))
        return env.action_space if bounds is None else bounded(env.action_space, *bounds)

    def _refuse_shared(self, made: AnyEnv) -> None:
        inner = made.unwrapped
        self.made = [before for before in self.made if before() is not None]
        if any(before() is inner for before in self.made):  # its first owner closes it
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
    """Close an environment; ignore errors, which would hide what went wrong before."""
    try:
        if callable(closing := getattr(env, "close", None)):
            closing()
    except KeyboardInterrupt:
        raise
    except BaseException:  # also SystemExit
        return


@contextlib.contextmanager
def closed_on_error(env: object) -> Iterator[None]:
    """Close an environment if the context fails, so that its simulator is not left behind."""
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
    """Make an ordinary environment from a functional one."""
    from gymnasium.envs.functional_jax_env import FunctionalJaxEnv

    if render_mode not in (None, "rgb_array"):
        raise UsageError(f"{name} cannot be rendered as {render_mode}: a FuncEnv can only be recorded, as rgb_array")
    env.transform(jax.jit)
    try:
        made: AnyEnv = FunctionalJaxEnv(env, getattr(env, "metadata", None), render_mode)
    except NotImplementedError as error:
        raise UsageError(f"{name} cannot be rendered: it has no render_init") from error
    limit = limit_of(env, limit)
    return made if limit is None else gymnasium.wrappers.TimeLimit(made, limit)


def limit_of(env: object, given: int | None = None) -> int | None:
    """Return the given time limit, or else the one that a FuncEnv declares. Raises UsageError."""
    declared = checked_limit(getattr(env, LIMIT, None), f"{type(env).__name__}.{LIMIT}")
    return declared if given is None else given
