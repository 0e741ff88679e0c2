"""The names of environments: what a run writes down, what leads to the environment again, and what may be imported."""

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
    """Return what a run writes down of its environment: the id, or module:name of the callable."""
    if isinstance(maker, str):
        return newest(maker)
    if hasattr(maker, "__qualname__"):
        return f"{maker.__module__}:{maker.__qualname__}"
    return f"{type(maker).__module__}:{type(maker).__qualname__}()"  # an object: it cannot be found by name again


def newest(env: str) -> str:
    """Add the newest version to an id that has none; any other name is returned as it is."""
    module, colon, name = env.rpartition(":")
    if hasattr(sys.modules.get(module), name):  # a callable of that name comes first, as in `from_name`
        return env
    specs = [spec for spec in gymnasium.registry.values() if spec.id == f"{name}-v{spec.version}"]
    return f"{module}{colon}{max(specs, key=lambda spec: spec.version or 0).id}" if specs else env


def leads_back(name: str, maker: str | Callable[..., object]) -> bool:
    """Say whether another process can find what makes the environment by the name that is written down."""
    if isinstance(maker, str):
        return True
    module, _, attribute = name.partition(":")
    try:
        found = functools.reduce(getattr, attribute.split("."), sys.modules[module])
    except (AttributeError, KeyError):
        return False
    return module != "__main__" and found is maker


def has_no_name(name: str) -> bool:
    """Say whether what is written down of a callable is no name that leads to it again: a lambda's, or a script's."""
    module, _, attribute = name.partition(":")
    return module == "__main__" or (not attribute.isidentifier() and attribute.endswith((">", ")")))


def from_name(name: str, named_in: Path | None = None) -> str | Callable[..., object]:
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
        raise UsageError(
            f"the environment came from {name}, which polyak cannot import again by name: pass it as env, from Python"
        )
    return name


def refuse_untrusted(kwargs: dict[str, Json], named_in: Path | None) -> None:
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
