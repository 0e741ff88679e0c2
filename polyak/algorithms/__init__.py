"""The registry of algorithms; any other module that satisfies `polyak.types.Algorithm` can be trained as well."""

import dataclasses
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from polyak.errors import UsageError, describe, nearest, untrusted
from polyak.types import Algorithm

# every module in this folder, by its name
REGISTRY: dict[str, Algorithm] = {
    found.name: cast(Algorithm, importlib.import_module(f"{__name__}.{found.name}"))
    for found in pkgutil.iter_modules(__path__)
}

PARTS = ("Config", "learns_from", "acts_on", "init", "act", "update")


def find(algorithm: Algorithm | str | None, named_in: Path | None = None) -> tuple[str, Algorithm]:
    """Return an algorithm and the name a run writes down: a registered name, a module, or a module's dotted path.

    `named_in` is the file that the name is from, if that is not to be trusted: then only a registered name is good.
    Raises UsageError for an unknown name, naming the nearest, and for a module that lacks part of the protocol.
    """
    if isinstance(algorithm, str):
        known = registered(algorithm)
        if known:
            return known, REGISTRY[known]
        if named_in is not None:
            raise UsageError(untrusted(named_in, "algorithm", algorithm))
        name, found = algorithm, _import(algorithm)
    elif algorithm is None:
        raise UsageError(f"name an algorithm, or give its module: {nearest('', REGISTRY)}")
    else:
        found = algorithm
        name = found.__name__ if isinstance(found, ModuleType) else f"{type(found).__module__}"
        name = next((known for known, module in REGISTRY.items() if module is found), name)
    missing = [part for part in PARTS if not hasattr(found, part)]
    if missing:
        raise UsageError(f"{name} is not an algorithm: it has no {', '.join(missing)} (see polyak.types.Algorithm)")
    if not (isinstance(found.Config, type) and dataclasses.is_dataclass(found.Config)):
        raise UsageError(f"{name} is not an algorithm: make its Config a class with the decorator polyak.tree.pytree")
    return name, found


def registered(name: str) -> str | None:
    """Return the registered name that a word stands for, in any case; None: it is no registered algorithm's."""
    plain = name.lower().replace("-", "_")
    return plain if plain in REGISTRY else None


def with_setting(setting: str) -> str:
    """Say which algorithms have a setting that the one at hand lacks; an empty sentence where none has."""
    names = [
        name
        for name, module in REGISTRY.items()
        if setting in {field.name for field in dataclasses.fields(module.Config)}
    ]
    return f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} it" if names else ""


def _import(path: str) -> Any:
    if path.endswith(".py"):
        module = path.removesuffix(".py").replace("/", ".").lstrip(".")
        raise UsageError(f"{path}: name the module as Python imports it, not its file: {module}")
    if not all(part.isidentifier() for part in path.split(".")):
        raise UsageError(f"unknown algorithm {path!r}: give a registered name or the dotted path of a module")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is not None and not path.startswith(error.name):
            raise UsageError(f"{path} imports {error.name}, which is not installed") from error
        raise UsageError(f"unknown algorithm {path!r}: {nearest(path, REGISTRY)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's own module: whatever it raises is theirs to mend
        raise UsageError(f"{path} cannot be imported: {describe(error)}") from error
