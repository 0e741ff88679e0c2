"""The names of environments: how a run stores them, how they are resolved again, and what may be imported for it."""

from __future__ import annotations

import functools
import importlib
import re
import reprlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium

from polyak.errors import UsageError, shortened, trusting, untrusted
from polyak.types import Json


def name_of(maker: str | Callable[..., object]) -> str:
    """Return the name under which a run stores its environment: the id, or module:name of the callable."""
    if isinstance(maker, str):
        return newest(maker)
    if hasattr(maker, "__qualname__"):
        return f"{maker.__module__}:{maker.__qualname__}"
    return f"{type(maker).__module__}:{type(maker).__qualname__}()"  # an object, which cannot be resolved


def newest(env: str) -> str:
    """Add the newest version to an id without one; return any other name unchanged."""
    module, colon, name = env.rpartition(":")
    if hasattr(sys.modules.get(module), name):  # a callable of that name has precedence, as in `from_name`
        return env
    specs = [spec for spec in gymnasium.registry.values() if spec.id == f"{name}-v{spec.version}"]
    return f"{module}{colon}{max(specs, key=lambda spec: spec.version or 0).id}" if specs else env


def leads_back(name: str, maker: str | Callable[..., object]) -> bool:
    """Return whether another process can resolve the stored name to this maker."""
    if isinstance(maker, str):
        return True
    module, _, attribute = name.partition(":")
    try:
        found = functools.reduce(getattr, attribute.split("."), sys.modules[module])
    except (AttributeError, KeyError):
        return False
    return module != "__main__" and found is maker


def has_no_name(name: str) -> bool:
    """Return whether a stored name cannot be resolved, such as that of a lambda or of a function in a script."""
    module, _, attribute = name.partition(":")
    return module == "__main__" or (not attribute.isidentifier() and attribute.endswith((">", ")")))


def from_name(name: str, named_in: Path | None = None) -> str | Callable[..., object]:
    """Resolve a stored name to an id or a callable. Raises UsageError.

    `named_in` is the file that contains the name, if the file is not trusted: then no module is imported, and the name
    must be an id that Gymnasium already knows.
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
            found = None  # making the environment by this name reports the error
        if found is not None and not isinstance(found, str):
            return found
    if nameless:
        raise UsageError(
            f"the environment came from {name}, which polyak cannot import again by name: pass it as env, from Python"
        )
    return name


def refuse_untrusted(kwargs: dict[str, Json], named_in: Path | None) -> None:
    """Raise UsageError if keyword arguments from an untrusted file could name a file or a module.

    Numbers and plain words are safe, but an environment may load what it finds at a path or in a module.
    """
    if named_in is None:
        return
    for name, value in kwargs.items():
        if not (value is None or isinstance(value, int | float) or (isinstance(value, str) and WORD.fullmatch(value))):
            given = f"{shortened(name)} = {reprlib.repr(value)}"
            raise UsageError(f"{named_in} has the argument {given}, which may name a file or a module: {trusting()}")


WORD = re.compile(r"[\w-]*")
