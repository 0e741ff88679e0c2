"""CSV files of a run: tables that gain columns while they are written, and reading them back."""

import csv
import io
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyak.errors import RunError, UsageError, reason, shortened
from polyak.runs import files
from polyak.runs.appended_file import AppendedFile

LONGEST_LINE, LARGEST = 2**16, 2**28  # bytes


class Table:
    """A CSV file that can gain columns: metrics appear only once learning begins.

    Rows wait in memory until they are flushed, and go on waiting where the disk fails.
    """

    def __init__(self, path: Path, rows: Sequence[dict[str, Any]]):
        """Begin with some rows, which replace whatever is in the file once they are flushed."""
        self.path, self.file = path, AppendedFile(path)
        self.columns, self.count = list(rows[0]) if rows else [], len(rows)
        self.waiting = list(rows)
        self.columns_in_file: list[str] | None = None

    def write(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self.columns += [name for name in row if name not in self.columns]
        self.waiting.append(row)
        self.count += 1

    def flush(self) -> None:
        """Write the rows that wait; all rows, where there are new columns. Raises RunError if the disk fails."""
        if self.columns != self.columns_in_file:
            self.file.replace(self._text([*self._rows_in_file(), *self.waiting], header=bool(self.columns)))
            self.columns_in_file = list(self.columns)
        elif self.waiting:
            self.file.append(self._text(self.waiting))
        self.waiting.clear()

    def sync(self) -> None:
        """Write the rows that wait, and wait until they are on disk. Raises RunError."""
        self.flush()
        self.file.sync()

    def _rows_in_file(self) -> list[dict[str, Any]]:
        if self.columns_in_file is None:
            return []
        try:
            return read_table(self.path, self.count - len(self.waiting))
        except UsageError as error:  # nothing that the user asked for is wrong
            raise RunError(str(error)) from error

    def _text(self, rows: Sequence[dict[str, Any]], header: bool = False) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, restval="")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()


def read_table(path: Path, count: int | None = None) -> list[dict[str, Any]]:
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


def numbers(path: Path, rows: list[dict[str, Any]], column: str) -> list[float]:
    """Return a column of rows that were read from a file. Raises UsageError if it is not all numbers."""
    try:
        return [float(row[column]) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path} is damaged or was changed: its column {column} cannot be read ({shortened(str(error))})"
        ) from error
