"""Flags made from dataclasses: every field is one, its docstring the help; a wrong one is an error of one line."""

import contextlib
import dataclasses
import io
from typing import Any, TypeVar

from polyak.errors import UsageError, nearest

T = TypeVar("T")


def unchecked(settings: type[Any]) -> Any:
    """Make a class with the same fields and help that takes any values: together they are judged once all are known."""
    skip = {"__post_init__": lambda self: None, "__doc__": settings.__doc__}
    return dataclasses.dataclass(frozen=True)(type(settings.__name__, (settings,), skip))


def until_flag(words: list[str]) -> list[str]:
    """Return the words before the first flag."""
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    return words[:first]


def folder_and(options: type[T], words: list[str], usage: str) -> tuple[str, T]:
    """Parse one folder, then flags."""
    folders = until_flag(words)
    parsed = parse(options, words[len(folders) :], usage)
    if len(folders) != 1:
        raise UsageError(f"name one run folder: {usage}")
    return folders[0], parsed


def value_of(flag: str, words: list[str]) -> str | None:
    """Return a flag's value before the flags are parsed, because it decides their defaults."""
    for i, word in enumerate(words):
        if word == flag and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def parse(options: type[T], words: list[str], usage: str) -> T:
    """Parse flags into a dataclass; a wrong one becomes a UsageError of one line that names the nearest."""
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed, unknown = tyro.cli(options, args=words, prog=usage, return_unknown_args=True)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(_first_sentence(said.getvalue())) from None
    if unknown:
        flags = _flags(options)
        raise UsageError(f"unknown flag {unknown[0]}: {nearest(unknown[0], flags)}")
    return parsed


def _flags(cls: Any, prefix: str = "--") -> list[str]:
    flags = []
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(field.type):
            flags += _flags(field.type, f"{prefix}{field.name}.")
        else:
            flags.append(prefix + field.name.replace("_", "-"))
    return flags


def _first_sentence(box: str) -> str:
    """Take the message out of the frame that tyro draws around it."""
    lines = [line.strip("│╭╮╰╯─ \t") for line in box.splitlines()]
    body = [line for line in lines[1:] if line]
    end = next((i for i, line in enumerate(lines[1:], 1) if i > 1 and not line), len(lines))
    return " ".join(line for line in lines[1:end] if line) or " ".join(body) or "wrong flags"
