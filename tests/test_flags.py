"""Flags made from dataclasses."""

import dataclasses
from typing import Any, Literal

import pytest

from polyak.errors import UsageError
from polyak.flags import _first_sentence, parse, value_of


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a test."""

    kind: Literal["off", "batch", "renorm"] = "off"
    """A choice."""
    sizes: tuple[int, ...] = (1,)
    """Several numbers."""
    limit: float | None = None
    """One, or none."""
    preset: str = "default"
    """A word."""


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("", None),
        ("--preset a", "a"),
        ("--preset a --preset b", "b"),
        ("--preset=a --preset b", "b"),
        ("--preset a --preset=b --other c", "b"),
        ("--preset", None),
    ],
)
def test_a_flag_has_its_last_value(words: str, value: Any):
    assert value_of("--preset", words.split()) == value
    if value:
        assert parse(Options, [word for word in words.split() if word not in ("--other", "c")], "x").preset == value


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--kind", "--kind takes one of off, batch, renorm"),
        ("--sizes a", "--sizes a: it takes whole numbers with spaces between them"),
        ("--limit low", "--limit low: it takes a number or None"),
    ],
)
def test_a_wrong_value_says_what_the_flag_takes(words: str, says: str):
    with pytest.raises(UsageError) as refused:
        parse(Options, words.split(), "x")
    assert str(refused.value) == says


def test_a_frame_of_dashes_is_taken_off_too():
    box = " Value error  \n ------------ \n  Error parsing --sizes: invalid  \n ------------ \n  Argument helptext: \n"
    assert _first_sentence(box) == "Error parsing --sizes: invalid"
