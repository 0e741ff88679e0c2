"""metrics.csv and evaluations.csv: tables that gain columns while they are written."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeAlias

from polyak.errors import RunError, UsageError
from polyak.runs.conditions import is_count
from polyak.runs.sinks.appended_file import AppendedFile
from polyak.runs.sinks.sink import Evaluation, Row
from polyak.runs.tables import read_table
from polyak.types import Json

Cells: TypeAlias = Mapping[str, str | int | float | None]  # by column


class CsvFiles:
    """Writes rows to metrics.csv, and every episode of an evaluation to evaluations.csv."""

    writes: ClassVar[str] = r"(\.\d+\.)?(metrics|evaluations)\.csv"
    folders: ClassVar[str] = ""

    def __init__(self, folder: Path, seeds: Sequence[int]):
        """Begin two tables without rows."""
        self.metrics, self.evaluations = Table(folder / "metrics.csv"), Table(folder / "evaluations.csv")

    def resume(self, position: Json, env_steps: Sequence[int]) -> None:
        """Keep as many rows of each table as the position counts. Raises ValueError, UsageError."""
        counts = position if isinstance(position, dict) else {}
        for table in (self.metrics, self.evaluations):
            count = counts.get(table.path.name)
            if not isinstance(count, int) or not is_count(count):
                raise ValueError(f"the number of rows of {table.path.name} is {count!r}")
            table.begin(read_table(table.path, count))

    def write(self, row: Row) -> None:
        """Append a row to metrics.csv."""
        self.metrics.write(row.flat())

    def evaluation(self, evaluation: Evaluation) -> None:
        """Append a row for each episode to evaluations.csv."""
        head = {"env_steps": evaluation.env_steps, "seed": evaluation.seed}
        for i, (total, length) in enumerate(zip(evaluation.returns, evaluation.lengths, strict=True)):
            self.evaluations.write({**head, "episode": i, "return": float(total), "length": int(length)})

    def flush(self) -> None:
        """Write the rows that wait. Raises RunError."""
        self.metrics.flush()
        self.evaluations.flush()

    def sync(self) -> None:
        """Write the rows that wait, and wait until they are on disk. Raises RunError."""
        self.metrics.sync()
        self.evaluations.sync()

    def close(self) -> None:
        """Do nothing: no file stays open between two writes."""

    def position(self) -> Json:
        """Return the number of rows of each file."""
        return {table.path.name: table.count for table in (self.metrics, self.evaluations)}


class Table:
    """A CSV file that can gain columns: metrics appear only once learning begins.

    Rows wait in memory until they are flushed, and go on waiting where the disk fails.
    """

    def __init__(self, path: Path, rows: Sequence[Cells] = ()):
        """Begin with some rows, which replace whatever is in the file once they are flushed."""
        self.path, self.file = path, AppendedFile(path)
        self.columns_in_file: list[str] | None = None
        self.begin(rows)

    def begin(self, rows: Sequence[Cells]) -> None:
        """Take these rows in place of all others, before anything is written."""
        self.columns, self.count = list(rows[0]) if rows else [], len(rows)
        self.waiting = list(rows)

    def write(self, row: Cells) -> None:
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

    def _rows_in_file(self) -> list[Cells]:
        if self.columns_in_file is None:
            return []
        try:
            return list(read_table(self.path, self.count - len(self.waiting)))
        except UsageError as error:  # nothing that the user asked for is wrong
            raise RunError(str(error)) from error

    def _text(self, rows: Sequence[Cells], header: bool = False) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, restval="")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
