"""A disk that fails at any operation of a run: one sentence, and the same bits in the end."""

import re
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak import RunError, UsageError
from polyak.runs.log import Log
from polyak.runs.record import RunRecord
from polyak.runs.tables import read_table
from tests.fixtures import small
from tests.fixtures.failing_disk import FailingDisk

TINY: dict[str, Any] = {
    "steps": 120,
    "seeds": [0],
    "plan": {"rollout_length": 40, "warmup": 40, "evaluations": 2, "score_episodes": 1},
}
SENTENCE = re.compile(
    r"cannot (write|read|make the folder) [^\s;]+: No space left on device"
    r"(; (what was learned up to step \d+|nothing that was learned) is kept in [^\s;]+)?"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> polyak.Run:
    return small.train(tmp_path_factory.mktemp("runs") / "whole", **TINY)


def operations(folder: Path) -> int:
    """Count what a run asks of the disk."""
    folder.mkdir()
    with FailingDisk(folder, 0) as disk:
        small.train(folder, **TINY)
    return disk.count


def assert_same_run(run: polyak.Run, whole: polyak.Run) -> None:
    """Compare everything that two runs learned and wrote, but for the time it took."""
    small.assert_same_policies(run, whole)
    assert run.scores == whole.scores
    for name in ("metrics.csv", "evaluations.csv"):
        of_run, of_whole = (read_table(each.folder / name) for each in (run, whole))
        for row in (*of_run, *of_whole):
            row.pop("seconds", None)
        assert of_run == of_whole


def fails_and_goes_on(folder: Path, whole: polyak.Run, number: int, again: bool) -> str:
    """Train on a disk that fails at one operation, or from one on; resume, and compare with the undisturbed run.

    Return the operation that failed.
    """
    folder.mkdir()
    with FailingDisk(folder, number, again) as disk:
        try:
            small.train(folder, **TINY)
        except (RunError, UsageError) as error:
            said = str(error)
        else:
            said = ""
    assert disk.failed
    path = folder / "run.json"
    status = RunRecord.read(path).status if path.exists() else "starting"
    if status == "starting":  # nothing was begun: the folder is taken over
        assert SENTENCE.fullmatch(said), (disk.failed, said)
        small.train(folder, **TINY)
        status = "finished"
    elif said:
        assert SENTENCE.fullmatch(said), (disk.failed, said)
        assert status == "failed" or again or "run.json" in disk.failed, (disk.failed, status)
    else:  # the picture at the end, or removing what is not needed
        assert status == "finished", disk.failed
    run = polyak.resume(folder) if status != "finished" else polyak.load(folder)
    assert_same_run(run, whole)
    return disk.failed


@pytest.mark.parametrize("number", [1, 3])
def test_what_is_saved_after_a_failure_counts_what_was_done(
    tmp_path: Path, whole: polyak.Run, monkeypatch: pytest.MonkeyPatch, number: int
):
    flush, calls = Log.flush, []

    def failing(log: Log) -> None:
        position: Any = log.position()["sinks"]
        calls.append(position["csv"]["evaluations.csv"])
        if len(calls) == number:
            raise RunError("the disk is full")
        flush(log)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "flush", failing)
        with pytest.raises(RunError, match="the disk is full"):
            small.train(tmp_path / "run", **TINY)
    assert calls[-1] == {1: 2, 3: 4}[number]  # both come after an evaluation
    assert_same_run(polyak.resume(tmp_path / "run"), whole)


def test_a_run_goes_on_to_the_same_bits_after_a_failure_of_the_disk(tmp_path: Path, whole: polyak.Run):
    count = operations(tmp_path / "count")
    failed = [
        fails_and_goes_on(tmp_path / str(number), whole, number, again=bool(number % 2))
        for number in range(count // 3, count, count // 5)
    ]
    assert len(set(failed)) > 2


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_whichever_operation_fails(tmp_path: Path, whole: polyak.Run, again: bool):
    failed = [
        fails_and_goes_on(tmp_path / str(number), whole, number, again)
        for number in range(1, operations(tmp_path / "count") + 1)
    ]
    words = " ".join(failed)
    for word in ("metrics.csv", "evaluations.csv", "tfevents", "checkpoint.json", "policy.json", "run.json", "unlink"):
        assert word in words
