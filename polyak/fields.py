"""Fields of settings that know their own limits, checked when the settings are made.

Only Python numbers are checked: inside a compiled function the same fields hold traced arrays.
"""

import dataclasses
import math
import types
import typing
from functools import cache
from typing import Any, Literal

from polyak.errors import UsageError, nearest


def number(
    *,
    default: Any,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    static: bool = False,
) -> Any:
    """Declare a number (or a tuple of numbers, or None) with limits; `static` makes it part of the structure."""
    limits = {"least": least, "above": above, "most": most}
    return dataclasses.field(default=default, metadata={"static": static, "limits": limits})


def check(settings: Any) -> None:
    """Raise UsageError if a field of a dataclass is outside its limits or not one of its choices."""
    cls: Any = type(settings)
    kinds = _types(cls)
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, PLAIN) and not _fits(value, kinds[field.name]):
            raise UsageError(f"{field.name} = {value!r} has the wrong type: it must be {_words(kinds[field.name])}")
        for number_ in value if isinstance(value, tuple) else (value,):
            if isinstance(number_, int | float):
                _check_number(field.name, number_, **field.metadata.get("limits", {}))
        if typing.get_origin(kinds[field.name]) is Literal:
            choices = typing.get_args(kinds[field.name])
            if value not in choices:
                raise UsageError(f"{field.name} = {value!r} is unknown: {nearest(str(value), choices)}")


PLAIN = (str, bool, int, float, tuple, list, dict, type(None))


def _fits(value: Any, kind: Any) -> bool:
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


def _words(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)) if not typing.get_args(kind) else str(kind).replace("NoneType", "None")


def _check_number(
    name: str, value: float, least: float | None = None, above: float | None = None, most: float | None = None
) -> None:
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


@cache
def _types(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)
