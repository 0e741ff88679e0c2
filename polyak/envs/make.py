"""Environments from what a user names: an id, "module:Id", or a callable that makes one."""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
import reprlib
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
from gymnasium.experimental.functional import FuncEnv

from polyak.envs import arguments
from polyak.envs.answers import advice_on
from polyak.envs.arguments import BOUNDS, LIMIT, checked_bounds, checked_limit
from polyak.envs.spaces import AnyEnv, AnySpace, bounded
from polyak.envs.wrappers import refuse_statistics
from polyak.errors import UsageError, describe, installing, nearest, shortened, trusting, untrusted
from polyak.lazy import jax

EXTRAS = {"mujoco": "mujoco", "box2d": "box2d", "Box2D": "box2d"}


@dataclass(eq=False)
class Source:
    """What makes every environment of a run: an id or a callable, and the keyword arguments that it is given.

    It remembers what it has made, to refuse a callable that returns the same environment again.
    """

    maker: str | Callable[..., Any]
    kwargs: dict[str, Any] = field(default_factory=dict)
    made: list[weakref.ref[Any]] = field(default_factory=list, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was made: another process makes its own."""
        return {**vars(self), "made": []}

    @classmethod
    def of(cls, env: Maker, kwargs: dict[str, Any] | None = None) -> Source:
        """Return what makes an environment, as it is where it is a Source. Raises UsageError for an environment."""
        if isinstance(env, gymnasium.Env):
            raise UsageError("give a callable that makes the environment, not the environment: polyak needs copies")
        return env if isinstance(env, Source) else cls(env, kwargs or {})

    @property
    def found(self) -> str | Callable[..., Any]:
        """What the name leads to, where it was named."""
        return from_name(self.maker) if isinstance(self.maker, str) else self.maker

    def make(self, render_mode: str | None = None) -> AnyEnv:
        """Make an environment. Raises UsageError where it cannot be made or used; then it is closed again."""
        found, kwargs = self.found, {key: value for key, value in self.kwargs.items() if key != BOUNDS}
        if isinstance(found, str):
            made = _from_registry(found, kwargs, render_mode)
        else:
            made = _from_callable(name_of(self), found, kwargs, render_mode)
        self._refuse_shared(made)
        with closed_on_error(made):
            refuse_statistics(name_of(self), made)
        return made

    def acts_in(self, env: AnyEnv) -> AnySpace:
        """Return the space to act in: the environment's, with the bounds that the user gives for infinite ones."""
        bounds = checked_bounds(self.kwargs.get(BOUNDS))
        return env.action_space if bounds is None else bounded(env.action_space, *bounds)

    def _refuse_shared(self, made: AnyEnv) -> None:
        inner = made.unwrapped
        self.made = [before for before in self.made if before() is not None]
        if any(before() is inner for before in self.made):  # left open: whoever got it first closes it
            raise UsageError(
                f"{name_of(self)} returned the same environment twice: training and evaluation need one each, or one"
                " would reset the other in the middle of its episode; make a new environment in every call"
            )
        self.made.append(weakref.ref(inner))


Maker: TypeAlias = str | Callable[..., Any] | Source


def make(env: Maker, render_mode: str | None = None) -> AnyEnv:
    """Make an environment from an id ("Pendulum-v1"), "module:Id", "module:callable", a callable, or a Source.

    Raises UsageError for an unknown id or a missing package, and says what to install.
    """
    return Source.of(env).make(render_mode)


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


def _from_callable(name: str, maker: Callable[..., Any], kwargs: dict[str, Any], render_mode: str | None) -> AnyEnv:
    limit = kwargs.get(LIMIT)
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


def _call(name: str, maker: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
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


def _stepped(name: str, env: Any, limit: int | None, render_mode: str | None) -> AnyEnv:
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


def functional_of(source: Source) -> Any:
    """Return the FuncEnv that a callable makes, or None if it makes something else."""
    found = source.found
    if isinstance(found, str):
        return None
    made = _call(name_of(source), found, source.kwargs)
    if isinstance(made, FuncEnv):
        return made
    close(made)
    return None


def limit_of(env: object, given: int | None = None) -> int | None:
    """Return the time limit of a FuncEnv: the one given, or that which it declares. Raises UsageError."""
    declared = checked_limit(getattr(env, LIMIT, None), f"{type(env).__name__}.{LIMIT}")
    return declared if given is None else given


def _from_registry(env: str, kwargs: dict[str, Any], render_mode: str | None) -> AnyEnv:
    _refuse_file(env)
    drawn: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}  # not every one takes it
    checked_limit(kwargs.get(LIMIT), LIMIT)
    try:
        if ":" in env:
            importlib.import_module(env.partition(":")[0])  # it registers what it has
        with warnings.catch_warnings():  # an older version is the user's wish, or an error
            warnings.filterwarnings("ignore", message=".*is out of date", category=DeprecationWarning)
            _refuse_unknown(env, kwargs)
            return gymnasium.make(newest(env), disable_env_checker=True, **{**kwargs, **drawn})
    except (UsageError, KeyboardInterrupt):
        raise
    except gymnasium.error.DependencyNotInstalled as error:
        raise UsageError(_what_to_install(env, str(error))) from error
    except ModuleNotFoundError as error:
        raise UsageError(f"{env}: there is no module {error.name or env.partition(':')[0]!r}") from error
    except gymnasium.error.Error as error:
        if newest(env).rpartition(":")[2] in gymnasium.registry:  # what is missing is inside it
            raise UsageError(f"{env} cannot be made: {describe(error)}") from error
        raise UsageError(f"unknown environment {env!r}: {_what_there_is(env)}") from error
    except BaseException as error:  # the user's own module or environment: whatever it raises is theirs to mend
        raise UsageError(f"{env} cannot be made: {describe(error)}") from error


def _refuse_file(env: str) -> None:
    """Raise UsageError for the path of a file in place of a module's name."""
    file, _, name = env.partition(":")
    if file.endswith(".py") or (name and re.search(r"[/\\]", file)):
        module = ".".join(part for part in re.split(r"[/\\]", file.removesuffix(".py")) if part not in ("", ".", ".."))
        raise UsageError(
            f"{env}: name the module as Python imports it, not its file: {module}:{name or 'MyEnvironment'}"
        )


def _refuse_unknown(env: str, kwargs: dict[str, Any]) -> None:
    spec = gymnasium.registry.get(newest(env).rpartition(":")[2])
    if spec is not None and spec.entry_point is not None:
        arguments.refuse_unknown(env, arguments.creator_of(spec), [key for key in kwargs if key != LIMIT])


def newest(env: str) -> str:
    """Add the newest version to an id that has none; any other name is returned as it is."""
    module, colon, name = env.rpartition(":")
    if hasattr(sys.modules.get(module), name):  # a callable of that name comes first, as in `from_name`
        return env
    specs = [spec for spec in gymnasium.registry.values() if spec.id == f"{name}-v{spec.version}"]
    return f"{module}{colon}{max(specs, key=lambda spec: spec.version or 0).id}" if specs else env


def _what_there_is(env: str) -> str:
    """Say what an unknown id may have meant: one of the same namespace."""
    module, _, name = env.rpartition(":")
    space, _, last = name.rpartition("/")
    known = [spec.id for spec in gymnasium.registry.values() if (spec.namespace or "") == space]
    if space and not known and last not in gymnasium.registry:
        return f"no module that was imported registers {space}/: name the one that does, as in module:{space}/{last}"
    close = nearest(name, known) if known else nearest(last, gymnasium.registry)
    return f"{module} has no attribute {name!r}, and no such id is registered; {close}" if module else close


def _what_to_install(env: str, message: str) -> str:
    for word, extra in EXTRAS.items():
        if word in message:
            return f"{env} needs a package that is missing: {installing(extra)}"
    return f"{env} needs a package that is missing: {message.splitlines()[0]}"


def name_of(env: Maker) -> str:
    """Return what a run writes down of its environment: the id, or module:name of the callable."""
    if isinstance(env, Source):
        env = env.maker
    if isinstance(env, str):
        return newest(env)
    if hasattr(env, "__qualname__"):
        return f"{env.__module__}:{env.__qualname__}"
    return f"{type(env).__module__}:{type(env).__qualname__}()"  # an object: it cannot be found by name again


def found_again(source: Source) -> bool:
    """Say whether another process can find what makes the environment by the name that is written down."""
    if isinstance(source.maker, str):
        return True
    module, _, attribute = name_of(source).partition(":")
    try:
        found = functools.reduce(getattr, attribute.split("."), sys.modules[module])
    except (AttributeError, KeyError):
        return False
    return module != "__main__" and found is source.maker


def has_no_name(name: str) -> bool:
    """Say whether what is written down of a callable is no name that leads to it again: a lambda's, or a script's."""
    module, _, attribute = name.partition(":")
    return module == "__main__" or (not attribute.isidentifier() and attribute.endswith((">", ")")))


def from_name(name: str, named_in: Path | None = None) -> str | Callable[..., Any]:
    """Turn what a run wrote down into something that can be made again. Raises UsageError.

    `named_in` is the file that the name is from, if that is not to be trusted: then no module is imported for it, and
    it must be an id that Gymnasium knows already.
    """
    module, _, attribute = name.partition(":")
    nameless = has_no_name(name)
    if named_in is not None and ":" in name:
        if attribute in gymnasium.registry:
            return attribute
        if not nameless:
            raise UsageError(untrusted(named_in, "environment", name))
    elif not module or not attribute or attribute in gymnasium.registry:
        return name
    else:
        try:
            found: Any = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
        except KeyboardInterrupt:
            raise
        except BaseException:
            found = None  # making it by this name says what is wrong
        if found is not None and not isinstance(found, str):
            return found
    if nameless:
        raise UsageError(f"the environment came from {name}, which cannot be found by name: give it again, from Python")
    return name


def refuse_untrusted(kwargs: dict[str, Any], named_in: Path | None) -> None:
    """Raise UsageError where keyword arguments from a file that is not trusted could name a file or a module.

    Numbers and plain words are what an environment is told; of paths and modules it may load what is there.
    """
    if named_in is None:
        return
    for name, value in kwargs.items():
        if not (value is None or isinstance(value, int | float) or (isinstance(value, str) and WORD.fullmatch(value))):
            given = f"{shortened(name)} = {reprlib.repr(value)}"
            raise UsageError(f"{named_in} has the argument {given}, which may name a file or a module: {trusting()}")


WORD = re.compile(r"[\w-]*")
