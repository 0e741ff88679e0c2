"""The tables of a run: what is refused when they are read."""

from pathlib import Path

import pytest

from polyak import UsageError
from polyak.runs.tables import read_table


@pytest.mark.parametrize(("row", "fields"), [("5,6,7", 3), ("5", 1)])
def test_a_row_with_a_field_too_many_or_too_few_is_damage(tmp_path: Path, row: str, fields: int):
    path = tmp_path / "x.csv"
    path.write_text(f"a,b\n1,2\n3,4\n{row}\n")
    with pytest.raises(UsageError, match=rf"x\.csv is damaged .* row 3 has {fields} fields where there are 2 columns$"):
        read_table(path)
    assert len(read_table(path, 2)) == 2  # what a checkpoint does not count may be anything


def test_what_no_checkpoint_counts_may_be_anything(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n1,2\n\xff\xfe\0\n\0\0\0")
    assert read_table(path, 1) == [{"a": "1", "b": "2"}]
    with pytest.raises(UsageError, match="damaged"):
        read_table(path, 2)
    path.write_bytes(b"\0\xff\n")
    assert read_table(path, 0) == []


@pytest.mark.parametrize("content", ["a\n1\n2\n", "a\n1\n2\n3", "", None])
def test_missing_rows_are_counted(tmp_path: Path, content: str | None):
    path = tmp_path / "x.csv"
    if content is not None:
        path.write_text(content)
    there = 2 if content else 0
    with pytest.raises(UsageError, match=rf"x\.csv has {there} rows and the checkpoint was saved after 3: put the"):
        read_table(path, 3)
