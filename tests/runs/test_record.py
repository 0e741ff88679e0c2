"""run.json, typed: what is read back, what is left out, and what belongs to others."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from polyak import UsageError
from polyak.runs import files
from polyak.runs.record import NEEDED, OPTIONAL, RunRecord, status_of
from tests.fixtures import small


def written(folder: Path, record: RunRecord) -> Path:
    """Write a run.json."""
    files.write_json(folder / "run.json", record.to_json())
    return folder / "run.json"


def test_a_record_comes_back_with_what_others_wrote_into_it(tmp_path: Path):
    changed = {"scores": {"best": {}}, "stop_at": 2.5, "exploring_returns": [None, 1.0], "others": {"note": "mine"}}
    path = written(tmp_path, small.record(**changed))
    assert RunRecord.read(path) == small.record(**changed)
    assert json.loads(path.read_text())["note"] == "mine"


def test_what_is_not_known_yet_has_no_key():
    keys = small.record(status="starting", devices=0, seconds={}).to_json().keys()
    assert keys == {field.name for field in dataclasses.fields(RunRecord)} - {
        *("updated", "devices", "seconds", "exploring_returns", "scores", "stopped", "others"),
    }


def test_every_key_has_a_condition():
    names = [field.name for field in dataclasses.fields(RunRecord)]
    assert [*NEEDED, *OPTIONAL, "others"] == names
    assert not [name for name, fits in {**NEEDED, **OPTIONAL}.items() if fits(object())]


@pytest.mark.parametrize("missing", [["status"], ["env_kwargs", "device"], ["devices", "seconds"]])
def test_what_lacks_a_key_is_refused(tmp_path: Path, missing: list[str]):
    content = {name: value for name, value in small.record().to_json().items() if name not in missing}
    files.write_json(tmp_path / "run.json", content)
    with pytest.raises(UsageError, match=f"run.json lacks {', '.join(missing)}: it is damaged or was changed$"):
        RunRecord.read(tmp_path / "run.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [("status", "asleep"), ("seeds", []), ("devices", 0), ("versions", 3), ("commit", 3), ("env_steps", -1)],
)
def test_a_value_that_does_not_fit_is_refused(tmp_path: Path, name: str, value: Any):
    files.write_json(tmp_path / "run.json", {**small.record().to_json(), name: value})
    with pytest.raises(UsageError, match=f"run.json is damaged or was changed: {name} is "):
        RunRecord.read(tmp_path / "run.json")


def test_the_status_of_an_older_run_can_be_read(tmp_path: Path):
    path = written(tmp_path, small.record(status="failed"))
    path.write_text(path.read_text().replace('"format": 2', '"format": 1'))
    assert status_of(path) == "failed"
    with pytest.raises(UsageError, match="has format 1"):
        RunRecord.read(path)


def test_a_run_that_goes_on_forgets_what_came_of_the_shorter_one():
    record = small.record(fitted=["a"], scores={"best": {}}, stopped="why")
    record.continues_to({"env_steps": 20}, ("b",))
    assert record == small.record(fitted=["a", "b"], plan={"env_steps": 20})
