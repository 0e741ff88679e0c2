"""The CSV files of a run, read back: every row and number is checked."""

import csv
import io
import itertools
import os
from pathlib import Path

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


def numbers(path: Path, rows: list[dict[str, str]], column: str) -> list[float]:
    """Return a column of rows that were read from a file. Raises UsageError if it is not all numbers."""
    try:
        return [float(row[column]) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path} is damaged or was changed: its column {column} cannot be read ({shortened(str(error))})"
        ) from error
