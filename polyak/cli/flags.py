"""Flags made from dataclasses: each field is a flag, its docstring the help; a wrong flag is a one-line error."""

import contextlib
import dataclasses
import difflib
import io
import itertools
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TypeVar

from polyak.errors import UsageError, nearest

T = TypeVar("T")


def names_in(words: Sequence[str]) -> set[str]:
    """Return the flags among the words, with dashes."""
    return {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}


def until_flag(words: list[str]) -> list[str]:
    """Return the words before the first flag."""
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    return words[:first]


def folder_and(options: type[T], words: list[str], usage: str) -> tuple[str, T]:
    """Parse one folder, then flags."""
    folders = until_flag(words)
    if "-h" in words or "--help" in words or len(folders) == 1:
        parsed = parse(options, words[len(folders) :], usage)
    if len(folders) != 1:
        raise UsageError(f"name one run folder, before any flags: {usage}")
    return folders[0], parsed


def value_of(flag: str, words: list[str]) -> str | None:
    """Return a flag's last value before parsing, because it decides the defaults of others."""
    value = None
    for word, following in itertools.zip_longest(words, words[1:]):
        if word == flag:
            value = following
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value


def parse(options: type[T], words: list[str], usage: str, elsewhere: Callable[[str], str] = lambda setting: "") -> T:
    """Parse flags into a dataclass; a wrong flag raises a one-line UsageError that suggests the nearest.

    `elsewhere` may explain an unknown flag, which it is given without dashes.
    """
    import tyro

    said, words = io.StringIO(), list(plain_numbers(words, _flags(options)))
    try:
        with contextlib.redirect_stderr(said):
            parsed, unknown = tyro.cli(options, args=words, prog=usage, return_unknown_args=True)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(_wrong_value(options, words, _first_sentence(said.getvalue()))) from None
    if unknown and not unknown[0].startswith("-"):
        raise UsageError(f"unexpected word {unknown[0]!r}: write {usage}, then flags")
    if unknown:
        flag = unknown[0].partition("=")[0].replace("_", "-")
        hint = elsewhere(flag.lstrip("-")) or _nearest(flag, options, f"see {usage} --help")
        raise UsageError(f"unknown flag {unknown[0]}: {hint}")
    return parsed


OTHERWISE = {"start_from": "from"}  # fields whose flag is a keyword in Python
DELETING = ("--force",)  # flags that are never suggested


def _nearest(flag: str, options: type, otherwise: str) -> str:
    """Suggest the flag with the closest spelling, with or without its group."""
    known = [name for name in _flags(options) if name not in DELETING]
    if "." not in flag:
        last = {f"--{name.lstrip('-').rpartition('.')[2]}": name for name in reversed(known)}
        close = difflib.get_close_matches(flag, last, n=1, cutoff=0.7)
        if close:
            return f"did you mean {last[close[0]]!r}?"
    return nearest(flag, known, otherwise)


def _flags(cls: type, prefix: str = "--") -> dict[str, object]:
    """Return the type of each flag."""
    kinds = typing.get_type_hints(cls)
    flags = dict[str, object]()
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(kinds[field.name]):
            flags |= _flags(kinds[field.name], f"{prefix}{field.name}.")
        else:
            flags[prefix + OTHERWISE.get(field.name, field.name).replace("_", "-")] = kinds[field.name]
    return flags


def plain_numbers(words: Sequence[str], kinds: Mapping[str, object]) -> Iterator[str]:
    """Rewrite integers (20k, 1e5) as digits and lists of them (64,64 or [64,64]) with spaces, if a flag takes them."""
    kind = None
    for word in words:
        flag, equals, value = word.partition("=")
        if word.startswith("--"):
            kind = kinds.get(flag.replace("_", "-"))
            if not (equals and _takes(kind, int)):
                yield word
                continue
            yield flag
        else:
            value = word
        several = typing.get_origin(kind) is tuple and bool(re.search(r"\d", value))
        for part in re.split(r"[,;\s]+", value.strip("[]() ")) if several else [value]:
            yield from [] if several and not part else [_digits(part) if _takes(kind, int) else part]


def _takes(kind: object, wanted: type) -> bool:
    return kind is wanted or wanted in typing.get_args(kind)


THOUSANDS = {"": 1, "k": 10**3, "m": 10**6}


def _digits(word: str) -> str:
    """Rewrite 20k, 1e5 and 1.5M as digits; return anything that is not an integer unchanged."""
    found = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?(?:e\+?\d{1,2})?)([km]?)", word, re.IGNORECASE)
    if not found or word.isdecimal():
        return word
    number = Fraction(found[1].replace("_", "")) * THOUSANDS[found[2].lower()]
    return str(number) if number.denominator == 1 else word


def _wrong_value(options: type, words: list[str], sentence: str) -> str:
    """Say in plain words what a flag takes in place of the value given."""
    found = re.search(r"--[\w.-]+", sentence)
    kind = _flags(options).get(found[0]) if found else None
    if found is None or kind is None or "choice" in sentence:
        return sentence
    flag = found[0]
    given = " ".join(until_flag(words[words.index(flag) + 1 :])) if flag in words else ""
    return f"{flag} {given}: it takes {_described(kind)}" if given else f"{flag} takes {_described(kind)}"


def _described(kind: object) -> str:
    parts = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(_described(part) for part in parts)
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(map(str, parts))}"
    if typing.get_origin(kind) is tuple:
        return f"{_described(parts[0]).removeprefix('a ')}s with spaces between them"
    return WORDS.get(kind, str(kind))


WORDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    str: "a word",
    bool: "no value",
    type(None): "None",
}


def _first_sentence(box: str) -> str:
    """Extract the message from the box that tyro draws around it, which may consist of dashes."""
    lines = [line.strip("│╭╮╰╯─ \t") for line in box.splitlines()]
    lines = ["" if set(line) == {"-"} else line for line in lines]
    body = [line for line in lines[1:] if line]
    end = next((i for i, line in enumerate(lines[1:], 1) if i > 1 and not line), len(lines))
    return " ".join(line for line in lines[1:end] if line) or " ".join(body) or "wrong flags"
