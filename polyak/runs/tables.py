"""The CSV files of a run, read back: every row and number is checked."""

import csv
import io
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyak.errors import UsageError, reason, shortened
from polyak.runs import files

LONGEST_LINE, LARGEST = 2**16, 2**28  # bytes


def read_table(path: Path, count: int | None = None) -> list[dict[str, str]]:
    """Read the rows of a CSV file of a run, or only the first `count`, whatever comes after them.

    A last line cut short by a crash is dropped; a missing file has no rows. Raises UsageError if the file cannot be
    read, a row has more or fewer fields than there are columns, or there are fewer rows than `count`.
    """
    if count == 0:
        return []
    try:
        content = _content(path)
        whole = content[: content.rfind(b"\n") + 1].decode("utf-8", "surrogateescape")
        lines = csv.reader(io.StringIO(whole, newline=""))
        columns = next(lines, [])
        rows = list(itertools.islice(filter(None, lines), count))
        for row in [columns, *rows]:
            "".join(row).encode()  # refuses what could not be decoded
    except UsageError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read ({reason(error)}): it is damaged or was changed") from error
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            fields = f"{len(row)} fields where there are {len(columns)} columns"
            raise UsageError(f"{path} is damaged or was changed: its row {number} has {fields}")
    if len(rows) < (count or 0):
        raise UsageError(
            f"{path} has {len(rows)} rows and the checkpoint was saved after {count}: put the missing rows back, "
            f"from a copy of the file, or train again"
        )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _content(path: Path) -> bytes:
    """Read a file whole, unless it is none of ours by its size or its first line. Raises UsageError, OSError."""
    if not path.exists():
        return b""
    with files.opened(path) as file:
        begin = file.read(LONGEST_LINE)
        if os.fstat(file.fileno()).st_size > LARGEST or (len(begin) == LONGEST_LINE and b"\n" not in begin):
            raise UsageError(f"{path} is damaged or was changed: it is too large, or has no lines")
        return begin + file.read()


@dataclass(frozen=True)
class Metrics:
    """What metrics.csv holds: one row per seed and interval."""

    path: Path
    env_steps: np.ndarray  # [row]
    seeds: np.ndarray  # [row]
    columns: dict[str, np.ndarray]  # all others, `[row]` each; NaN where nothing was measured

    @classmethod
    def read(cls, path: Path) -> "Metrics":
        """Read a metrics.csv; a missing one has no rows. Raises UsageError if it is damaged."""
        rows = read_table(path)
        others = [name for name in (rows[0] if rows else ()) if name not in ("env_steps", "seed")]
        columns = {name: _numbers(path, rows, name, blank=True) for name in others}
        return cls(path, _whole(path, rows, "env_steps"), _whole(path, rows, "seed"), columns)


@dataclass(frozen=True)
class Evaluations:
    """What evaluations.csv holds: one row per episode."""

    path: Path
    env_steps: np.ndarray  # [row]
    seeds: np.ndarray  # [row]
    episodes: np.ndarray  # [row] counted from 0 in each evaluation of each seed
    returns: np.ndarray  # [row]
    lengths: np.ndarray  # [row]

    @classmethod
    def read(cls, path: Path) -> "Evaluations":
        """Read an evaluations.csv; a missing one has no rows. Raises UsageError if it is damaged."""
        rows = read_table(path)
        returns = _numbers(path, rows, "return")
        if not np.isfinite(returns).all():
            raise UsageError(f"{path} is damaged or was changed: it has numbers that are not finite")
        steps, seeds, episodes, lengths = (
            _whole(path, rows, name) for name in ("env_steps", "seed", "episode", "length")
        )
        return cls(path, steps, seeds, episodes, returns, lengths)


def _whole(path: Path, rows: list[dict[str, str]], column: str) -> np.ndarray:
    """Return a column of whole numbers. Raises UsageError."""
    values = _numbers(path, rows, column)
    if not ((values >= 0) & (values < 2**53) & (values == np.floor(values))).all():
        raise UsageError(f"{path} is damaged or was changed: its column {column} has numbers that are not whole")
    return values.astype(np.int64)


def _numbers(path: Path, rows: list[dict[str, str]], column: str, blank: bool = False) -> np.ndarray:
    """Return a column of numbers; those that are left `blank` are NaN. Raises UsageError if it is not all numbers."""
    try:
        return np.array([float(row[column] or ("nan" if blank else "")) for row in rows])
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"{path} is damaged or was changed: its column {column} cannot be read ({shortened(str(error))})"
        ) from error
