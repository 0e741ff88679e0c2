"""metrics.csv and evaluations.csv, on a disk that fails, and on one that keeps what was written."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from polyak import RunError
from polyak.runs.sinks.csv_files import Table
from polyak.runs.tables import read_table
from tests.fixtures.failing_disk import FailingDisk


def test_columns_are_added_to_rows_that_are_on_disk(tmp_path: Path):
    table = Table(tmp_path / "x.csv")
    for row in ({"a": 1}, {"a": 2, "b": 3}, {"c": 4}):
        table.write(row)
        table.flush()
    assert (tmp_path / "x.csv").read_text().split() == ["a,b,c", "1,,", "2,3,", ",,4"]


def _synced(table: Table, row: dict[str, Any]) -> str:
    """Write a row and bring it to disk; return what went wrong."""
    table.write(row)
    try:
        table.sync()
    except RunError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("again", [False, True])
def test_a_table_goes_on_after_any_failure_of_the_disk(tmp_path: Path, again: bool):
    rows: list[dict[str, Any]] = [{"a": 1}, {"a": 2}, {"a": 3, "b": 4}, {"a": 5, "b": 6}]
    whole = Table(tmp_path / "whole.csv")
    for row in rows:
        whole.write(row)
        whole.sync()
    for number in range(1, 1000):
        path = tmp_path / f"{number}.csv"
        with FailingDisk(tmp_path, number, again) as disk:
            table = Table(path)
            said = [_synced(table, row) for row in rows]
        table.sync()
        assert [[*row.values()] for row in read_table(path)] == [[*row.values()] for row in read_table(whole.path)]
        if not disk.failed:
            break
        sentences = [sentence for sentence in said if sentence]
        assert sentences, disk.failed
        for sentence in sentences:
            assert re.fullmatch(r"cannot write \S+: No space left on device", sentence)
    assert number > 20


def test_a_file_that_lost_what_was_written_to_it_is_not_written_on(tmp_path: Path):
    table = Table(tmp_path / "x.csv", [{"a": 1}])
    table.flush()
    os.truncate(tmp_path / "x.csv", 2)
    table.write({"a": 2})
    with pytest.raises(RunError, match=r"x\.csv was changed or removed while training"):
        table.flush()


def test_a_failure_to_read_rows_again_while_training_is_a_failure_of_the_run(tmp_path: Path):
    table = Table(tmp_path / "x.csv", [{"a": 1}, {"a": 2}])
    table.flush()
    (tmp_path / "x.csv").write_text("a\n1\n")
    table.write({"b": 1})
    with pytest.raises(RunError, match=r"x\.csv has 1 row"):
        table.flush()


def test_the_error_names_the_reason(tmp_path: Path):
    with pytest.raises(RunError, match=os.strerror(errno.ENOENT)):
        Table(tmp_path / "no" / "x" / "y.csv").flush()
