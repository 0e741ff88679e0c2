"""What the values in a JSON file may be: each condition takes any value and says whether it is met."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

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
