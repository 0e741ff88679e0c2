"""What the values in a JSON file may be: each condition takes any value and says whether it is met."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, TypeAlias, get_args, get_origin, get_type_hints

Condition: TypeAlias = Callable[[object], bool]
Fields: TypeAlias = Mapping[str, Condition]  # by key


def is_word(value: object) -> bool:
    """Say whether a JSON value is a name of ordinary length."""
    return isinstance(value, str) and 0 < len(value) <= 300


def is_count(value: object) -> bool:
    """Say whether a JSON value is a whole number, at least 0."""
    return type(value) is int and 0 <= value < 2**63


def is_number(value: object) -> bool:
    """Say whether a JSON value is a number."""
    return type(value) in (int, float)


def is_text(value: object) -> bool:
    """Say whether a JSON value is a text of any length."""
    return isinstance(value, str)


def none_or(fits: Condition) -> Condition:
    """Return a check that lets null pass, too."""
    return lambda value: value is None or fits(value)


def list_of(fits: Condition) -> Condition:
    """Return a check for a list whose values all pass another."""
    return lambda value: isinstance(value, list) and all(map(fits, value))


def is_table(value: object) -> bool:
    """Say whether a JSON value is a dictionary."""
    return isinstance(value, dict)


def are_seeds(value: object) -> bool:
    """Say whether a JSON value is a list of seeds."""
    return isinstance(value, list) and bool(value) and all(type(seed) is int and 0 <= seed < 2**32 for seed in value)


def is_switch(value: object) -> bool:
    """Say whether a JSON value is true or false."""
    return isinstance(value, bool)


def are_counts(value: object) -> bool:
    """Say whether a JSON value is a list of at least one whole number, none below 0."""
    return isinstance(value, list) and bool(value) and all(map(is_count, value))


def is_positive(value: object) -> bool:
    """Say whether a JSON value is a whole number, at least 1."""
    return is_count(value) and value != 0


def conditions_of(record: type) -> tuple[Fields, Fields]:
    """Read off a dataclass which keys a JSON file must have, those without a default, and which it may have.

    The condition stands beside the type, as in `seeds: Annotated[list[int], are_seeds]`; without one, any value passes.
    """
    if record not in FOUND:
        FOUND[record] = _conditions_of(record)
    return FOUND[record]


FOUND: dict[type, tuple[Fields, Fields]] = {}  # resolving annotations takes long for what is done at each reading


def _conditions_of(record: type) -> tuple[Fields, Fields]:
    needed: dict[str, Condition] = {}
    optional: dict[str, Condition] = {}
    hints = get_type_hints(record, include_extras=True)
    for field in dataclasses.fields(record):
        hint = hints[field.name]
        if get_origin(hint) is Annotated:
            without = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            (needed if without else optional)[field.name] = get_args(hint)[1]
    return needed, optional
