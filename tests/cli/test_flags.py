"""Flags made from dataclasses."""

import dataclasses
from typing import Any, Literal

import pytest

from polyak.cli.flags import _first_sentence, parse, value_of
from polyak.cli.train_flags import number_of_seeds
from polyak.errors import UsageError


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


@dataclasses.dataclass(frozen=True)
class Counted:
    """Options of a test."""

    steps: int | None = None
    """A whole number."""


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


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("--steps 20k", 20_000),
        ("--steps 1e5", 100_000),
        ("--steps 20_000", 20_000),
        ("--steps=1.5M", 1_500_000),
        ("--steps 0.5K", 500),
    ],
)
def test_whole_numbers_may_be_written_shorter(words: str, value: int):
    assert parse(Counted, words.split(), "x").steps == value


@pytest.mark.parametrize("words", ["--steps 1.5", "--steps 1e400", "--steps k", "--steps 1e999999999"])
def test_what_is_no_whole_number_is_refused(words: str):
    with pytest.raises(UsageError, match="it takes a whole number or None"):
        parse(Counted, words.split(), "x")


@pytest.mark.parametrize(
    "words", ["--sizes 64 32", "--sizes 64,32", "--sizes=64,32", "--sizes [64,32]", "--sizes 64, 32"]
)
def test_lists_may_be_written_with_commas(words: str):
    assert parse(Options, words.split(), "x").sizes == (64, 32)
    assert parse(Options, ["--preset", "a,b"], "x").preset == "a,b"


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("", 1),
        ("--seeds 3", 3),
        ("--seeds 4,7", 2),
        ("--seeds=4,7,9 --x", 3),
        ("--seeds 1 2 --x 3", 2),
        ("--seeds x", 1),
    ],
)
def test_seeds_are_counted_before_the_flags_are_parsed(words: str, count: int):
    assert number_of_seeds(words.split()) == count
