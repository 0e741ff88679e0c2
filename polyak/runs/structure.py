"""Descriptions of trees of arrays in JSON, from which the tree can be rebuilt without JAX if its classes are known.

An array is described as "float32[3,64]", a tuple as a list, a dataclass by its class and fields.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from polyak.tree import PARTS, made
from polyak.types import Json, Tree


@dataclass(frozen=True)
class Shape:
    """The shape and dtype of an array that has not been read yet."""

    shape: tuple[int, ...]
    dtype: np.dtype


def describe(tree: Tree) -> Json:
    """Describe a tree. Raises ValueError if something in it cannot be described."""
    if type(tree) in PARTS:
        return {"class": _name(type(tree)), **_fields(tree, static=PARTS[type(tree)][1])}
    if type(tree) is tuple:
        return [describe(part) for part in tree]
    if type(tree) is dict and all(isinstance(key, str) for key in tree):
        return {"dict": {key: describe(part) for key, part in tree.items()}}
    if tree is None:
        return None
    if hasattr(tree, "shape") and hasattr(tree, "dtype"):
        return f"{tree.dtype}[{','.join(map(str, tree.shape))}]"
    raise ValueError(f"a {type(tree).__name__} has no description")


def _fields(tree: Tree, static: Collection[str]) -> dict[str, Json]:
    values = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
    return {name: _value(value) if name in static else describe(value) for name, value in values.items()}


def _value(value: object) -> Json:
    """Describe a static field: a number, a string, or a tuple or dataclass of them."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if type(value) is tuple:
        return [_value(part) for part in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        settings = {field.name: _value(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": _name(type(value)), **settings}
    raise ValueError(f"a {type(value).__name__} has no description")


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def rebuild(description: Json, packages: Collection[str]) -> Tree:
    """Build the described tree, with a `Shape` in place of each array.

    Nothing is imported: only dataclasses from modules of these packages that are already imported are used. Raises
    ValueError for an invalid description.
    """
    if description is None:
        return None
    if isinstance(description, str):
        return _shape(description)
    if isinstance(description, list):
        return tuple(rebuild(part, packages) for part in description)
    if isinstance(description, dict) and description.keys() == {"dict"} and isinstance(description["dict"], dict):
        return {key: rebuild(part, packages) for key, part in description["dict"].items()}
    cls, fields = _class_and_fields(description, packages)
    if cls not in PARTS:
        raise ValueError(f"{_name(cls)} holds no arrays")
    static = PARTS[cls][1]
    values = {name: (_setting if name in static else rebuild)(part, packages) for name, part in fields.items()}
    return made(cls, values)


def _setting(description: Json, packages: Collection[str]) -> object:
    if isinstance(description, list):
        return tuple(_setting(part, packages) for part in description)
    if not isinstance(description, dict):
        return description
    cls, fields = _class_and_fields(description, packages)
    return made(cls, {name: _setting(part, packages) for name, part in fields.items()})


def _class_and_fields(description: Json, packages: Collection[str]) -> tuple[type, dict[str, Json]]:
    """Find the described class, whose fields must match the description."""
    if not isinstance(description, dict) or not isinstance(description.get("class"), str):
        raise ValueError("it describes no tree")
    module, _, name = description["class"].rpartition(".")
    found = getattr(sys.modules.get(module), name, None) if module.partition(".")[0] in packages else None
    if not isinstance(found, type) or not dataclasses.is_dataclass(found):
        raise ValueError(f"there is no class {description['class'][:100]}")
    fields = {name: part for name, part in description.items() if name != "class"}
    if fields.keys() != {field.name for field in dataclasses.fields(found)}:
        raise ValueError(f"{_name(found)} has other fields")
    return found, fields


def _shape(text: str) -> Shape:
    found = re.fullmatch(r"(bool|u?int(?:8|16|32|64)|float(?:16|32|64))\[([0-9]{1,18}(?:,[0-9]{1,18})*)?\]", text)
    if found is None:
        raise ValueError("it describes no array")
    return Shape(tuple(int(size) for size in found[2].split(",")) if found[2] else (), np.dtype(found[1]))
