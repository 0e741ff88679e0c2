"""Environments from Gymnasium's registry, and errors with the fix for those that cannot be made."""

from __future__ import annotations

import importlib
import re
import warnings

import gymnasium

from polyak.envs import arguments
from polyak.envs.arguments import LIMIT, checked_limit
from polyak.envs.names import newest
from polyak.envs.spaces import AnyEnv
from polyak.errors import UsageError, describe, installing, nearest
from polyak.types import Json

EXTRAS = {"mujoco": "mujoco", "box2d": "box2d", "Box2D": "box2d"}


def from_registry(env: str, kwargs: dict[str, Json], render_mode: str | None) -> AnyEnv:
    """Make an environment from an id or "module:Id". Raises UsageError, with what to install or the nearest id."""
    _refuse_file(env)
    drawn: dict[str, Json] = {} if render_mode is None else {"render_mode": render_mode}  # not all take it
    limit = checked_limit(kwargs.get(LIMIT), LIMIT)
    others = {key: value for key, value in kwargs.items() if key != LIMIT}
    try:
        if ":" in env:
            importlib.import_module(env.partition(":")[0])  # registers its environments
        with warnings.catch_warnings():  # the user chose the older version
            warnings.filterwarnings("ignore", message=".*is out of date", category=DeprecationWarning)
            _refuse_unknown(env, kwargs)
            return gymnasium.make(newest(env), limit, disable_env_checker=True, **{**others, **drawn})
    except (UsageError, KeyboardInterrupt):
        raise
    except gymnasium.error.DependencyNotInstalled as error:
        raise UsageError(_what_to_install(env, str(error))) from error
    except ModuleNotFoundError as error:
        raise UsageError(f"{env}: there is no module {error.name or env.partition(':')[0]!r}") from error
    except gymnasium.error.Error as error:
        if newest(env).rpartition(":")[2] in gymnasium.registry:  # the environment itself failed
            raise UsageError(f"{env} cannot be made: {describe(error)}") from error
        raise UsageError(f"unknown environment {env!r}: {_what_there_is(env)}") from error
    except BaseException as error:  # the user's module or environment may raise anything
        raise UsageError(f"{env} cannot be made: {describe(error)}") from error


def _refuse_file(env: str) -> None:
    """Raise UsageError for a file path in place of a module name."""
    file, _, name = env.partition(":")
    if file.endswith(".py") or (name and re.search(r"[/\\]", file)):
        module = ".".join(part for part in re.split(r"[/\\]", file.removesuffix(".py")) if part not in ("", ".", ".."))
        raise UsageError(
            f"{env}: name the module as Python imports it, not its file: {module}:{name or 'MyEnvironment'}"
        )


def _refuse_unknown(env: str, kwargs: dict[str, Json]) -> None:
    spec = gymnasium.registry.get(newest(env).rpartition(":")[2])
    if spec is not None and spec.entry_point is not None:
        arguments.refuse_unknown(env, arguments.creator_of(spec), [key for key in kwargs if key != LIMIT])


def _what_there_is(env: str) -> str:
    """Suggest an id of the same namespace for an unknown one."""
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
