"""Environments from what a user names: an id, "module:Id", or a callable that makes one."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import gymnasium
from gymnasium.experimental.functional import FuncEnv

from polyak.errors import UsageError, installing, nearest
from polyak.lazy import jax

Maker: TypeAlias = str | Callable[[], gymnasium.Env[Any, Any]]
EXTRAS = {"mujoco": "mujoco", "box2d": "box2d", "Box2D": "box2d"}


def make(env: Maker, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """Make an environment from an id ("Pendulum-v1"), "module:Id", "module:callable", or a callable.

    Raises UsageError for an unknown id or a missing package, and says what to install.
    """
    if isinstance(env, gymnasium.Env):
        raise UsageError("give a callable that makes the environment, not the environment: many copies are needed")
    found = from_name(env) if isinstance(env, str) else env
    return _from_registry(found, render_mode) if isinstance(found, str) else _from_callable(found, render_mode)


def _from_callable(env: Callable[[], Any], render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    made = _call(env)
    if isinstance(made, FuncEnv):
        return _stepped(name_of(env), made, render_mode)
    if not isinstance(made, gymnasium.Env):
        raise UsageError(f"{name_of(env)}() returned a {type(made).__name__}, not a gymnasium.Env")
    for space in ("observation_space", "action_space"):
        if not isinstance(getattr(made, space, None), gymnasium.Space):
            raise UsageError(f"{name_of(env)} has no {space}: an environment must have one")
    return made


def _call(env: Callable[[], Any]) -> Any:
    try:
        return env()
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{name_of(env)} cannot be made: {type(error).__name__}: {error}") from error


def _stepped(name: str, env: Any, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    """Make an environment that is stepped from a functional one."""
    from gymnasium.envs.functional_jax_env import FunctionalJaxEnv

    if render_mode not in (None, "rgb_array"):
        raise UsageError(f"{name} cannot be drawn as {render_mode}: a FuncEnv offers rgb_array, which is recorded")
    env.transform(jax.jit)
    try:
        made: gymnasium.Env[Any, Any] = FunctionalJaxEnv(env, getattr(env, "metadata", None), render_mode)
    except NotImplementedError as error:
        raise UsageError(f"{name} cannot be drawn: it has no render_init") from error
    limit = limit_of(env)
    return made if limit is None else gymnasium.wrappers.TimeLimit(made, limit)


def functional_of(env: Callable[[], Any]) -> Any:
    """Return the FuncEnv that a callable makes, or None if it makes something else."""
    made = _call(env)
    if isinstance(made, gymnasium.Env):
        made.close()
    return made if isinstance(made, FuncEnv) else None


def limit_of(env: Any) -> int | None:
    """Return the time limit that a FuncEnv declares, as Gymnasium's registry names it. Raises UsageError."""
    limit = getattr(env, "max_episode_steps", None)
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise UsageError(
            f"{type(env).__name__}.max_episode_steps = {limit!r} must be a whole number of steps, at least 1, or None"
        )
    return limit


def _from_registry(env: str, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    drawn: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}  # not every one takes it
    try:
        if ":" in env:
            importlib.import_module(env.partition(":")[0])  # it registers what it has
        with warnings.catch_warnings():  # an older version is the user's wish, or an error
            warnings.filterwarnings("ignore", message=".*is out of date", category=DeprecationWarning)
            return gymnasium.make(newest(env), disable_env_checker=True, **drawn)
    except gymnasium.error.DependencyNotInstalled as error:
        raise UsageError(_what_to_install(env, str(error))) from error
    except ModuleNotFoundError as error:
        raise UsageError(f"{env}: there is no module {error.name or env.partition(':')[0]!r}") from error
    except gymnasium.error.Error as error:
        raise UsageError(f"unknown environment {env!r}: {_what_there_is(env)}") from error
    except Exception as error:  # the user's own module or environment: whatever it raises is theirs to mend
        raise UsageError(f"{env} cannot be made: {type(error).__name__}: {error}") from error


def newest(env: str) -> str:
    """Add the newest version to an id that has none; any other name is returned as it is."""
    module, colon, name = env.rpartition(":")
    specs = [spec for spec in gymnasium.registry.values() if spec.id == f"{name}-v{spec.version}"]
    return f"{module}{colon}{max(specs, key=lambda spec: spec.version or 0).id}" if specs else env


def _what_there_is(env: str) -> str:
    """Say what an unknown id may have meant: one of the same namespace."""
    module, _, name = env.rpartition(":")
    space, _, last = name.rpartition("/")
    known = [spec.id for spec in gymnasium.registry.values() if (spec.namespace or "") == space]
    close = nearest(name, known) if known else nearest(last, gymnasium.registry)
    return f"{module} has no attribute {name!r}, and no such id is registered; {close}" if module else close


def _what_to_install(env: str, message: str) -> str:
    for word, extra in EXTRAS.items():
        if word in message:
            return f"{env} needs a package that is missing: {installing(extra)}"
    return f"{env} needs a package that is missing: {message.splitlines()[0]}"


def name_of(env: Maker) -> str:
    """Return what a run writes down of its environment: the id, or module:name of the callable."""
    if isinstance(env, str):
        return newest(env)
    if hasattr(env, "__qualname__"):
        return f"{env.__module__}:{env.__qualname__}"
    return f"{type(env).__module__}:{type(env).__qualname__}()"  # an object: it cannot be found by name again


def from_name(name: str) -> Maker:
    """Turn what a run wrote down into something that can be made again. Raises UsageError."""
    module, _, attribute = name.partition(":")
    if not module or not attribute or attribute in gymnasium.registry:
        return name
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception:
        found = None  # making it by this name says what is wrong
    if found is not None and not isinstance(found, str):
        return found
    if module == "__main__" or (not attribute.isidentifier() and attribute.endswith((">", ")"))):
        raise UsageError(f"the environment came from {name}, which cannot be found by name: give it again, from Python")
    return name
