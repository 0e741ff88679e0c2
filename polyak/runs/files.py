"""Files that are either whole or not there: text and JSON, written beside and moved into place. No pickle."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import reprlib
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from safetensors import SafetensorError

from polyak.errors import RunError, UsageError, reason, shortened
from polyak.lazy import is_jax_array
from polyak.runs.conditions import Fields, conditions_of
from polyak.types import Json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
FORMAT = 2
LARGEST, DEEPEST, LONGEST = 2**25, 60, 25  # bytes of a JSON file; lists within lists; digits of a whole number

MOST_VALUES = 1_000  # of one setting


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside a file to write to: what is written there then replaces the file.

    Raises RunError if that fails, and leaves the file as it was.
    """
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(exist_ok=True)
        yield beside
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {reason(error)}") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a RunError that names the file or folder."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {path}: {reason(error)}") from error


def sync_folder(folder: Path) -> None:
    """Wait until the names of a folder's files are on disk. Raises RunError."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    with writing(folder):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_text(path: Path, text: str) -> None:
    """Replace a file's content, atomically and durably. Raises RunError."""
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open an ordinary file to read. Raises UsageError for a folder, pipe or device, FileNotFoundError, OSError."""
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for whoever writes to it
        raise UsageError(f"{path} is not an ordinary file")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_text(path: Path) -> str:
    """Read a text file whole. Raises UsageError where it is too large or no ordinary file, OSError, UnicodeError."""
    with opened(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UsageError(f"{path} is larger than {LARGEST // 2**20} MiB: it is damaged or was not written by polyak")
    return content.decode("utf-8")


def write_json(path: Path, content: Mapping[str, object], sealed: bool = False) -> str:
    """Replace a JSON file, atomically, and return its text; numbers that are not finite become null.

    `sealed` adds a checksum of the content. Raises RunError.
    """
    whole = {"format": FORMAT, **content}
    seal = {"sha256": fingerprint(whole)} if sealed else {}
    text = json.dumps(plain({**whole, **seal}), indent=1, allow_nan=False) + "\n"
    if len(text.encode()) > LARGEST:
        raise RunError(
            f"cannot write {path}: it would be larger than {LARGEST // 2**20} MiB, and could not be read again"
        )
    write_text(path, text)
    return text


def read_json(
    path: Path, fields: Fields, sealed: bool = False, optional: Fields | None = None, oldest: int = FORMAT
) -> dict[str, Json]:
    """Read a JSON file of ours that has these fields and perhaps `optional` ones, with a checksum if it was `sealed`.

    Raises UsageError if it is missing, damaged, of a newer format or one before the `oldest`, or lacks a field or has a
    wrong value in one.
    """
    content = _parsed(path)
    written = content.get("format") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(written, int) or isinstance(written, bool):
        raise UsageError(f"{path} was not written by polyak, or was changed since")
    if written > FORMAT:
        raise UsageError(
            f"{path} has format {written}; this version of polyak reads up to {FORMAT}: pip install -U polyak"
        )
    if written < oldest:
        raise UsageError(
            f"{path} has format {written}, which polyak 0.1 wrote: this version reads format {FORMAT}, so use"
            " polyak 0.1 or train again"
        )
    _refuse_lacking(path, content, (*fields, *(("sha256",) if sealed else ())))
    if sealed and content.pop("sha256") != fingerprint(content):
        raise UsageError(f"{path} was changed or damaged: its checksum is not that of its content")
    check(path, content, fields, optional)
    return content


def read_record(cls: type[T], path: Path) -> T:
    """Read a sealed JSON file into a dataclass whose annotations say what its values may be. Raises as `read_json`."""
    needed, optional = conditions_of(cls)
    content = read_json(path, needed, sealed=True, optional=optional)
    return cls(**{name: value for name, value in content.items() if name in cls.__annotations__})


def check(path: Path, content: Mapping[str, Json], fields: Fields, optional: Fields | None = None) -> None:
    """Raise UsageError where the content of a JSON file lacks one of the fields, or a value does not fit."""
    _refuse_lacking(path, content, fields)
    for name, fits in {**fields, **(optional or {})}.items():
        if name in content and not fits(content[name]):
            raise UsageError(f"{path} is damaged or was changed: {name} is {reprlib.repr(content[name])}")


def _refuse_lacking(path: Path, content: Mapping[str, Json], names: Iterable[str]) -> None:
    missing = [name for name in names if name not in content]
    if missing:
        raise UsageError(f"{path} lacks {', '.join(missing)}: it is damaged or was changed")


def _parsed(path: Path) -> Json:
    try:
        return parsed_json(read_text(path))
    except FileNotFoundError:
        raise UsageError(f"{path} is missing") from None
    except UsageError:
        raise
    except (OSError, ValueError) as error:  # also what is no UTF-8, and no JSON
        told = shortened(reason(error))
        raise UsageError(f"{path} cannot be read ({told}): it is damaged or was not written by polyak") from error


def parsed_json(text: str | bytes) -> Json:
    """Parse JSON that others may have written. Raises ValueError, also for what is deep, very long or not finite."""
    try:
        content: Json = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("its lists are too deep") from None
    level = [content]
    for _ in range(DEEPEST):
        level = [part for container in level for part in _containers(container)]
    if level:
        raise ValueError("its lists are too deep")
    return content


def _containers(container: Json) -> list[Json]:
    parts: Iterable[Json] = ()
    if isinstance(container, dict | list):
        parts = container.values() if isinstance(container, dict) else container
    return [part for part in parts if isinstance(part, dict | list)]


def _whole(digits: str) -> int:
    if len(digits) > LONGEST:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return number


def settings_to_json(settings: "DataclassInstance") -> dict[str, Json]:
    """Turn a settings dataclass into plain JSON values."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def settings_from_json(cls: type[T], values: Json, path: Path) -> T:
    """Make a settings dataclass from plain JSON values. Raises UsageError for unknown names and wrong values."""
    if not isinstance(values, dict):
        raise UsageError(f"{path}: {cls.__name__} is damaged")
    if any(isinstance(value, list) and len(value) > MOST_VALUES for value in values.values()):
        raise UsageError(f"{path}: {cls.__name__} is damaged: it has a list of more than {MOST_VALUES:,} values")
    tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return cls(**tuples)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: the {cls.__name__} does not fit this version of polyak ({shortened(str(error))})"
        ) from error


def fingerprint(content: Mapping[str, object]) -> str:
    """Return a digest of JSON values that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode()).hexdigest()


def plain(value: object) -> Json:
    """Turn arrays, tuples and keys into what JSON has; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.ndarray) or is_jax_array(value):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no place in JSON")
