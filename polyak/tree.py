"""Frozen dataclasses that are JAX pytrees, and the few operations on whole trees that learning needs.

Until JAX is imported, trees of NumPy arrays are traversed in Python, in the same order.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, overload

import numpy as np

from polyak.fields import number, own_first
from polyak.lazy import jax, once_jax_is_imported

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from numpy import ndarray

T = TypeVar("T")
Stored = TypeVar("Stored")
Node = TypeVar("Node", bound="DataclassInstance")


@overload
def static() -> Any: ...  # as `dataclasses.field`: a field without a default fits any annotation
@overload
def static(*, default: T) -> T: ...
def static(*, default: object = dataclasses.MISSING) -> object:
    """Declare a field that is part of the structure: it decides shapes or branches, so changing it recompiles."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static, number))
def pytree(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass and a JAX pytree; `static()` fields become part of its structure."""
    frozen = own_first(dataclasses.dataclass(frozen=True)(cls))
    assert dataclasses.is_dataclass(frozen)
    fields = dataclasses.fields(frozen)
    meta = [f.name for f in fields if f.metadata.get("static")]
    data = [f.name for f in fields if f.name not in meta]
    PARTS[frozen] = (data, meta)
    register = _register_unchecked if hasattr(frozen, "__post_init__") else _register
    once_jax_is_imported(partial(register, frozen, data, meta))
    return frozen


PARTS: dict[type, tuple[list[str], list[str]]] = {}  # class → fields that hold trees, static fields


def _register(cls: type, data: list[str], meta: list[str]) -> None:
    jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=meta)


def _register_unchecked(cls: type, data: list[str], meta: list[str]) -> None:
    """Register a class that validates its fields so that JAX, which puts anything into them, rebuilds it unchecked."""

    def flatten(tree: object) -> tuple[list[object], tuple[object, ...]]:
        return [getattr(tree, name) for name in data], tuple(getattr(tree, name) for name in meta)

    def flatten_with_keys(tree: object) -> tuple[list[tuple[object, object]], tuple[object, ...]]:
        leaves, structure = flatten(tree)
        return [(jax.tree_util.GetAttrKey(name), leaf) for name, leaf in zip(data, leaves, strict=True)], structure

    def unflatten(structure: tuple[object, ...], leaves: Iterable[object]) -> object:
        return made(cls, dict([*zip(data, leaves, strict=True), *zip(meta, structure, strict=True)]))

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)


def made(cls: type[T], values: Mapping[str, object]) -> T:
    """Make a frozen dataclass from its field values without validating them."""
    tree = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(tree, name, value)
    return tree


def replace(tree: Node, **changes: object) -> Node:
    """Copy a frozen dataclass with some fields changed."""
    return dataclasses.replace(tree, **changes)


def map_leaves(function: Callable[..., object], tree: T, *others: object) -> T:
    """Apply a function to each leaf and the corresponding leaves of other trees; return the tree of results.

    The same as `jax.tree.map`, which it calls once JAX has been imported.
    """
    if sys.modules.get("jax") is not None:
        return jax.tree.map(function, tree, *others)
    return _mapped(function, tree, *others)


def _mapped(function: Callable[..., object], tree: object, *others: object) -> Any:
    parts = _parts(tree)
    if parts is None:
        return function(tree, *others)
    of_others = [dict(_parts(other) or ()) for other in others]
    results = [_mapped(function, part, *(other[name] for other in of_others)) for name, part in parts]
    if type(tree) in PARTS:
        data, meta = PARTS[type(tree)]
        static_fields = {name: getattr(tree, name) for name in meta}
        return made(type(tree), {**static_fields, **dict(zip(data, results, strict=True))})
    if isinstance(tree, dict):
        return {name: result for (name, _), result in zip(parts, results, strict=True)}
    if isinstance(tree, list | tuple):
        return type(tree)(*results) if hasattr(tree, "_fields") else type(tree)(results)
    return None


def _parts(tree: object) -> list[tuple[Hashable, object]] | None:
    """List the children of a node with their names, in JAX's order; return None for a leaf."""
    if tree is None:
        return []
    if type(tree) in PARTS:
        return [(name, getattr(tree, name)) for name in PARTS[type(tree)][0]]
    if isinstance(tree, dict):
        return sorted(tree.items())
    return list(enumerate(tree)) if isinstance(tree, list | tuple) else None


def take(tree: T, index: jax.Array | ndarray | int | slice | tuple[int | None, ...] | None) -> T:
    """Index the leading axes of every leaf."""
    return map_leaves(lambda leaf: leaf[index], tree)


def write(
    tree: ndarray | dict[str, ndarray], index: int | tuple[int | slice, ...], values: ndarray | dict[str, ndarray]
) -> None:
    """Write into the leading axes of an array, or of every array in a dictionary, in place."""
    if isinstance(tree, dict):
        assert isinstance(values, dict)
        for name, part in tree.items():
            part[index] = values[name]
    else:
        tree[index] = values


def same(tree: object, other: object) -> bool:
    """Say whether two trees of NumPy arrays hold the same numbers; what is not a number is the same as itself."""
    leaves, others = named_leaves(tree), named_leaves(other)
    return leaves.keys() == others.keys() and all(
        np.array_equal(leaf, others[name], equal_nan=True) for name, leaf in leaves.items()
    )


def copied(tree: T) -> T:
    """Copy an array, or every array in a tree."""
    return tree.copy() if isinstance(tree, np.ndarray) else map_leaves(lambda leaf: leaf.copy(), tree)


def where(condition: jax.Array, yes: T, no: T) -> T:
    """Choose between two trees of the same structure by a scalar condition."""
    return jax.tree.map(lambda a, b: jax.numpy.where(condition, a, b), yes, no)


def polyak_average(target: T, source: T, tau: jax.Array | float) -> T:
    """Move every leaf of the target towards the source: τ·source + (1 - τ)·target.

    τ is usually 0.001 to 0.01; τ = 1 copies bit for bit. Source: Lillicrap et al. 2016 (arXiv 1509.02971), Algorithm 1.
    """
    return jax.tree.map(lambda t, s: tau * s + (1 - tau) * t, target, source)


def named_leaves(tree: object) -> dict[str, jax.Array | ndarray]:
    """Flatten a tree to a dictionary that maps each leaf's path ("policy.actor.layers.0.weight") to the leaf."""
    if sys.modules.get("jax") is None:
        return dict(_named("", tree))
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _named(path: str, tree: object) -> Iterator[tuple[str, Any]]:
    parts = _parts(tree)
    if parts is None:
        yield path, tree
    for name, part in parts or ():
        yield from _named(f"{path}.{name}" if path else str(name), part)


def from_named_leaves(
    template: T, leaves: Mapping[str, Stored], convert: Callable[[str, jax.Array | ndarray, Stored], object]
) -> T:
    """Rebuild a tree with the structure of `template`; each leaf is `convert(name, template leaf, stored leaf)`.

    Raises KeyError for the first missing name.
    """
    converted = iter([convert(name, leaf, leaves[name]) for name, leaf in named_leaves(template).items()])
    return map_leaves(lambda leaf: next(converted), template)
