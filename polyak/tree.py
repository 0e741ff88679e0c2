"""Frozen dataclasses that JAX sees through, and the few operations on whole trees that learning needs."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax

from polyak.fields import number

T = TypeVar("T")


def static(*, default: Any = dataclasses.MISSING) -> Any:
    """Mark a dataclass field as structure: it decides shapes or branches, so changing it compiles anew."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static, number))
def pytree(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass and a JAX pytree; `static()` fields become part of its structure."""
    frozen = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(frozen)  # type: ignore[arg-type]
    meta = [f.name for f in fields if f.metadata.get("static")]
    data = [f.name for f in fields if f.name not in meta]
    if hasattr(frozen, "__post_init__"):
        return _register_unchecked(frozen, data, meta)
    return jax.tree_util.register_dataclass(frozen, data_fields=data, meta_fields=meta)


def _register_unchecked(cls: type[T], data: list[str], meta: list[str]) -> type[T]:
    """Register a class that checks its fields so that JAX, which puts anything into them, rebuilds it unchecked."""

    def flatten(tree: T) -> tuple[list[Any], tuple[Any, ...]]:
        return [getattr(tree, name) for name in data], tuple(getattr(tree, name) for name in meta)

    def flatten_with_keys(tree: T) -> tuple[list[Any], tuple[Any, ...]]:
        leaves, structure = flatten(tree)
        return [(jax.tree_util.GetAttrKey(name), leaf) for name, leaf in zip(data, leaves, strict=True)], structure

    def unflatten(structure: tuple[Any, ...], leaves: Any) -> T:
        tree = object.__new__(cls)
        for name, value in (*zip(data, leaves, strict=True), *zip(meta, structure, strict=True)):
            object.__setattr__(tree, name, value)
        return tree

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def replace(tree: T, **changes: Any) -> T:
    """Copy a frozen dataclass with some fields changed."""
    return dataclasses.replace(tree, **changes)  # type: ignore[type-var]


def take(tree: T, index: Any) -> T:
    """Index the leading axis of every leaf."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def where(condition: jax.Array, yes: T, no: T) -> T:
    """Choose between two trees of equal structure by one scalar condition."""
    return jax.tree.map(lambda a, b: jax.numpy.where(condition, a, b), yes, no)


def polyak_average(target: T, source: T, tau: jax.Array | float) -> T:
    """Move every leaf of the target a share `tau` of the way to the source: τ·source + (1 - τ)·target.

    τ is small (0.001 to 0.01); τ = 1 copies, to the bit. Source: Lillicrap et al. 2016 (arXiv 1509.02971), Algorithm 1.
    """
    return jax.tree.map(lambda t, s: tau * s + (1 - tau) * t, target, source)


def named_leaves(tree: Any) -> dict[str, Any]:
    """Flatten a tree to a dictionary from each leaf's path ("policy.actor.layers.0.weight") to the leaf."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def from_named_leaves(template: T, leaves: dict[str, Any], convert: Callable[[str, Any, Any], Any]) -> T:
    """Rebuild a tree shaped like `template`: each leaf is `convert(name, template leaf, stored leaf)`.

    Raises KeyError for the first name that is not stored.
    """
    names = named_leaves(template)
    return jax.tree.unflatten(jax.tree.structure(template), [convert(n, leaf, leaves[n]) for n, leaf in names.items()])
