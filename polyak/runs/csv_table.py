"""CSV files of a run: tables that gain columns while they are written, and reading them back."""

import csv
from pathlib import Path
from typing import IO, Any

from polyak.errors import UsageError, reason


class Table:
    """A CSV file that can gain columns: metrics appear only once learning begins."""

    def __init__(self, path: Path, rows: list[dict[str, Any]]):
        self.path, self.columns, self.count = path, list(rows[0]) if rows else [], len(rows)
        self._rewrite(rows)

    def write(self, row: dict[str, Any]) -> None:
        """Append a row."""
        new = [name for name in row if name not in self.columns]
        if new:
            self.file.close()
            rows = read_table(self.path)
            self.columns += new
            self._rewrite(rows)
        self.writer.writerow(row)
        self.count += 1

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        beside = self.path.with_name(f".{self.path.name}")
        with open(beside, "w", newline="", encoding="utf-8") as file:
            if self.columns:
                writer = csv.DictWriter(file, self.columns, restval="")
                writer.writeheader()
                writer.writerows(rows)
        beside.replace(self.path)
        self.file: IO[str] = open(self.path, "a", newline="", encoding="utf-8")  # noqa: SIM115 (kept open to append)
        self.writer = csv.DictWriter(self.file, self.columns, restval="")


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read a CSV file of a run; a last line cut short by a crash is dropped. A missing file has no rows.

    Raises UsageError if it cannot be read.
    """
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read ({reason(error)}): it is damaged or was changed") from error


def numbers(path: Path, rows: list[dict[str, Any]], column: str) -> list[float]:
    """Return a column of rows that were read from a file. Raises UsageError if it is not all numbers."""
    try:
        return [float(row[column]) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged or was changed: its column {column} cannot be read ({error})") from error
