"""Fields of settings that declare their limits, validated when the settings are constructed.

NumPy and JAX scalars are converted to Python numbers. Traced values, as in compiled functions, are not checked, and
neither are JAX arrays with axes, which hold one value for each of several agents.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
import types
import typing
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from polyak.errors import UsageError, nearest
from polyak.lazy import is_jax_array, jax

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def number(
    *,
    default: T,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    static: bool = False,
) -> T:
    """Declare a number (or a tuple of numbers, or None) with limits; a `static` one is part of the structure."""
    limits = {"least": least, "above": above, "most": most, "below": below}
    return dataclasses.field(default=default, metadata={"static": static, "limits": limits})


def own_first(cls: type[T]) -> type[T]:
    """List a dataclass's own fields before those it inherits, which follow in the order of its bases.

    Help and documentation then begin with what is particular to the class. Its `__init__` keeps Python's order, so pass
    fields by name.
    """
    fields: dict[str, dataclasses.Field[object]] = vars(cls)["__dataclass_fields__"]
    inherited = [name for base in cls.__bases__ for name in getattr(base, "__dataclass_fields__", ())]
    own = [name for name in fields if name not in inherited]
    cls.__dataclass_fields__ = {name: fields[name] for name in [*own, *inherited]}  # type: ignore[attr-defined]
    return cls


def check(settings: DataclassInstance) -> None:
    """Raise UsageError if a field of a dataclass is outside its limits or not one of its choices.

    Call it from `__post_init__` only: it replaces NumPy's numbers in the frozen dataclass with Python's.
    """
    kinds = _types(type(settings))
    for field in dataclasses.fields(settings):
        given, kind = getattr(settings, field.name), kinds[field.name]
        if is_jax_array(given) and (isinstance(given, jax.core.Tracer) or given.ndim):
            continue
        value = _in_python(given)
        _check_kind(field.name, value, kind)
        for number_ in value if isinstance(value, tuple) else (value,):
            if isinstance(number_, int | float):
                _check_number(field.name, number_, **field.metadata.get("limits", {}))
        if value is not given:
            object.__setattr__(settings, field.name, value)


def refuse_changed(settings: DataclassInstance, names: tuple[str, ...], what: str) -> None:
    """Raise UsageError if one of these fields, which only `what` uses, differs from its default."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in names and not is_jax_array(value) and value != field.default:
            raise UsageError(
                f"{field.name} = {reprlib.repr(value)} is for {what} only: leave it out, or choose a preset without it"
            )


def _in_python(value: object) -> object:
    """Convert NumPy and JAX numbers, alone or in a tuple or an array, to Python's."""
    if isinstance(value, np.generic | np.ndarray) or is_jax_array(value):
        value = value.tolist()
        return tuple(value) if isinstance(value, list) else value
    return tuple(map(_in_python, value)) if isinstance(value, tuple) else value


def _check_kind(name: str, value: object, kind: object) -> None:
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise UsageError(f"{name} = {reprlib.repr(value)} is unknown: {nearest(str(value), choices)}")
    elif not _fits(value, kind):
        raise UsageError(f"{name} = {reprlib.repr(value)} has the wrong type: it must be {_words(kind)}")


def _fits(value: object, kind: object) -> bool:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(part, parts[0]) for part in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind) if isinstance(kind, type) else True


def _words(kind: object) -> str:
    return getattr(kind, "__name__", str(kind)) if not typing.get_args(kind) else str(kind).replace("NoneType", "None")


LARGEST = 2**63 - 1  # the largest number that an int64 array holds


def _check_number(
    name: str,
    value: float,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    if isinstance(value, int) and abs(value) > LARGEST:
        raise UsageError(f"{name} is too {'large' if value > 0 else 'small'}: no whole number may pass ±(2⁶³ - 1)")
    if math.isnan(value):
        raise UsageError(f"{name} is not a number")
    if math.isinf(value):
        raise UsageError(f"{name} = {value} must be a finite number")
    if least is not None and value < least:
        raise UsageError(f"{name} = {value} is too small: it must be at least {least}")
    if above is not None and value <= above:
        raise UsageError(f"{name} = {value} is too small: it must be above {above}")
    if most is not None and value > most:
        raise UsageError(f"{name} = {value} is too large: it must be at most {most}")
    if below is not None and value >= below:
        raise UsageError(f"{name} = {value} is too large: it must be below {below}")


@cache
def _types(cls: type) -> dict[str, object]:
    return typing.get_type_hints(cls)
