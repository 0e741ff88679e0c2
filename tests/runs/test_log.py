"""What a run writes while it trains."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import polyak
from polyak import UsageError
from polyak.runs.log import Log
from polyak.runs.sinks import SINKS
from polyak.runs.sinks.sink import Evaluation, Row
from polyak.runs.tables import read_table
from polyak.training.evaluate import Scores
from polyak.training.protocols import Report
from polyak.types import Episode, Json
from tests.fixtures import small

BASIC = ["env_steps", "seed", "seconds", "updates", "episodes", "return", "length"]


def counts(env_steps: Sequence[int], ready: Sequence[bool] = (True, True), end: int = 1_000) -> Any:
    """Say how far each lane is, with an update for every other step."""
    steps = np.array(env_steps)
    return SimpleNamespace(env_steps=steps, updates=steps // 2, ready=np.array(ready), finished=steps >= end)


def fill(folder: Path, steps: Sequence[int], start: int = 0, position: Any = None) -> Any:
    """Log some iterations of seeds 3 and 5, each with an episode of seed 5 and, from step 15, a metric.

    Go on from `start` and the position then; return the position in the end.
    """
    log = Log(folder, [3, 5], 10)
    if position is not None:
        log.resume(json.loads(json.dumps(position)), np.array([start, start]))
    for at in steps:
        metrics = {"loss": np.array([at, -at])} if at >= 15 else None
        report = Report([Episode(lane=1, env=0, total=float(at), length=4)], metrics, np.ones(2, int))
        log.iteration(report, counts([at, at]))
        log.flush()
    return log.position()


def test_a_row_per_seed_and_interval_holds_metrics_over_it_and_returns_of_the_newest_episodes(tmp_path: Path):
    fill(tmp_path, [5, 10, 15, 20])
    assert small.rows(tmp_path / "metrics.csv", "env_steps", "seed", "updates", "episodes", "return", "loss") == [
        ("10", "3", "5", "0", "", ""),
        ("10", "5", "5", "2", "7.5", ""),
        ("20", "3", "10", "0", "", "17.5"),
        ("20", "5", "10", "2", "12.5", "-17.5"),
    ]


def test_the_training_return_is_that_of_the_newest_twenty_episodes(tmp_path: Path):
    log = Log(tmp_path, [0], 10)
    episodes = [Episode(0, 0, float(total), 100 + total) for total in range(30)]
    log.iteration(Report(episodes, None, np.ones(1, int)), counts([10], [True]))
    log.iteration(Report([], None, np.ones(1, int)), counts([20], [True]))  # none ends: the newest are the same
    log.flush()
    assert log.exploring_returns() == [19.5]
    rows = small.rows(tmp_path / "metrics.csv", "episodes", "return", "length")
    assert rows == [("30", "19.5", "119.5"), ("0", "19.5", "119.5")]


def test_the_columns_of_a_run(finished: polyak.Run):
    metrics = read_table(finished.folder / "metrics.csv")
    assert list(metrics[0]) == [*BASIC, "actor_loss", "critic_loss", "q", "td_error"]
    evaluations = read_table(finished.folder / "evaluations.csv")
    assert list(evaluations[0]) == ["env_steps", "seed", "episode", "return", "length"]
    assert [int(row["env_steps"]) for row in evaluations[::4]] == [0, 110, 240, 400]
    assert [(row["seed"], row["episode"]) for row in evaluations[:4]] == [
        ("0", "0"),
        ("0", "1"),
        ("1", "0"),
        ("1", "1"),
    ]


def test_a_run_has_one_row_per_seed_and_interval(finished: polyak.Run):
    rows = small.rows(finished.folder / "metrics.csv", "env_steps", "seed")
    assert sorted(set(rows)) == sorted(rows)
    assert rows[-1] == ("400", "1")
    assert len(rows) == 2 * 40  # the interval is shorter than a rollout: a row after each of 40


def test_the_newest_row_has_the_training_return_that_the_run_tells(finished: polyak.Run):
    rows = small.rows(finished.folder / "metrics.csv", "seed", "episodes", "return")
    for seed, told in enumerate(finished.record.exploring_returns):
        counts, returns = zip(*[row[1:] for row in rows if row[0] == str(seed)], strict=True)
        assert sum(map(int, counts)) >= small.STEPS // 20
        assert float(returns[-1]) == told


def test_rows_after_the_checkpoint_are_dropped_and_what_was_unwritten_then_is_kept(tmp_path: Path):
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    fill(tmp_path / "whole", [5, 10, 15, 20, 25, 30, 35, 40])
    position = fill(tmp_path / "parts", [5, 10, 15, 20, 25])
    fill(tmp_path / "parts", [30, 35], 25, position)
    fill(tmp_path / "parts", [30, 35, 40], 25, position)
    columns = ("env_steps", "seed", "updates", "episodes", "return", "length", "loss")
    whole, parts = (small.rows(tmp_path / folder / "metrics.csv", *columns) for folder in ("whole", "parts"))
    assert parts == whole
    assert [row[0] for row in whole[::2]] == ["10", "20", "30", "40"]


def test_seconds_go_on_after_resuming(tmp_path: Path):
    position = fill(tmp_path, [10])
    assert fill(tmp_path, [20], 10, {**position, "seconds": 100.5})["seconds"] >= 100.5
    assert 100.5 <= float(read_table(tmp_path / "metrics.csv")[-1]["seconds"]) < 160


@pytest.mark.parametrize("cut", [3, 9, 12, 20])
def test_a_last_line_cut_short_by_a_crash_is_dropped(tmp_path: Path, cut: int):
    position = fill(tmp_path, [20])
    fill(tmp_path, [40], 20, position)
    path = tmp_path / "metrics.csv"
    whole = read_table(path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_table(path) == whole[:-1]
    fill(tmp_path, [40], 20, position)
    assert [row["loss"] for row in read_table(path)] == [row["loss"] for row in whole]


@pytest.mark.parametrize("name", ["metrics.csv", "evaluations.csv"])
def test_a_run_whose_rows_are_missing_is_not_resumed(stopped: Path, name: str):
    path, before = stopped / name, (stopped / "run.json").read_bytes()
    count = len(read_table(path))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UsageError, match=rf"{name} has {count - 1} rows and the checkpoint was saved after {count}: "):
        polyak.resume(stopped)
    path.unlink()
    with pytest.raises(UsageError, match=f"{name} has 0 rows and the checkpoint was saved after {count}: "):
        polyak.resume(stopped)
    assert (stopped / "run.json").read_bytes() == before


def test_a_run_whose_rows_are_damaged_is_not_resumed(stopped: Path):
    lines = (stopped / "metrics.csv").read_text().splitlines()
    (stopped / "metrics.csv").write_text("\n".join([*lines[:3], f"{lines[3]},7", *lines[4:], ""]))
    with pytest.raises(UsageError, match=r"metrics\.csv is damaged or was changed: its row 3 has \d+ fields"):
        polyak.resume(stopped)


@pytest.mark.parametrize("rows", [-1, float("inf"), "many", None])
def test_a_position_that_counts_no_rows_is_refused(tmp_path: Path, rows: Any):
    position = fill(tmp_path, [20])
    position["sinks"]["csv"]["metrics.csv"] = rows
    with pytest.raises(
        UsageError, match=r"the checkpoint in .* is damaged or was changed \(the number of rows of metrics"
    ):
        fill(tmp_path, [], 20, position)


class Toy:
    """A third sink, which keeps in memory what it is told."""

    writes, folders = r"toy\.txt", ""

    def __init__(self, folder: Path, seeds: Sequence[int]):
        self.told: list[object] = [("begin", folder.name, list(seeds))]
        self.count = 0

    def resume(self, position: Json, env_steps: Sequence[int]) -> None:
        """Count on from the position."""
        if position is not None and not isinstance(position, int):
            raise ValueError(f"no number of rows: {position!r}")
        self.count = position or 0
        self.told.append(("resume", position, list(env_steps)))

    def write(self, row: Row) -> None:
        """Count a row."""
        self.count += 1
        self.told.append((row.env_steps, row.seed, row.metrics.get("loss")))

    def evaluation(self, evaluation: Evaluation) -> None:
        """Note the mean return."""
        self.told.append(("evaluation", evaluation.env_steps, evaluation.seed, evaluation.returns.mean()))

    def flush(self) -> None:
        """Note it."""
        self.told.append("flush")

    def sync(self) -> None:
        """Note it."""
        self.told.append("sync")

    def close(self) -> None:
        """Note it."""
        self.told.append("close")

    def position(self) -> Json:
        """Return the number of rows."""
        return self.count


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> list[Toy]:
    """Register the toy as a sink; the list gets those that are made."""
    made: list[Toy] = []

    def make(folder: Path, seeds: Sequence[int]) -> Toy:
        made.append(Toy(folder, seeds))
        return made[-1]

    monkeypatch.setattr("polyak.runs.log.SINKS", {**SINKS, "toy": make})
    return made


def test_a_third_sink_gets_all_that_is_measured(tmp_path: Path, toys: list[Toy]):
    fill(tmp_path, [5, 10, 15, 20])
    assert toys[0].told == [
        *[("begin", tmp_path.name, [3, 5]), "flush", (10, 3, None), (10, 5, None), "flush", "flush"],
        *[(20, 3, 17.5), (20, 5, -17.5), "flush"],
    ]
    log = Log(tmp_path, [3, 5], 10)
    log.evaluation([1], np.array([7]), Scores(*(np.array([[1, 2]]) for _ in range(3))))
    log.sync()
    assert toys[1].told[1:] == [("evaluation", 7, 5, 1.5), "sync"]


def test_a_checkpoint_keeps_the_position_of_a_third_sink(toys: list[Toy], stopped: Path):
    polyak.resume(stopped)  # from a checkpoint that knew nothing of it
    first = toys[0]
    assert first.told[1] == ("resume", None, [180, 180])
    content = json.loads((stopped / "checkpoint" / "checkpoint.json").read_text())
    assert content["log"]["sinks"]["toy"] == first.count > 0
    polyak.resume(stopped, steps=small.STEPS + 40)
    assert toys[1].told[1] == ("resume", first.count, [small.STEPS] * 2)
    assert toys[1].count > first.count
    assert [toy.told[-1] for toy in toys] == ["close"] * 2
    assert [toy.told.count("close") for toy in toys] == [1, 1]


def test_a_position_that_is_not_the_sinks_own_is_refused(tmp_path: Path, toys: list[Toy]):
    position = fill(tmp_path, [20])
    with pytest.raises(UsageError, match=r"the checkpoint in .* is damaged or was changed \(no number of rows: 'x'\)"):
        fill(tmp_path, [], 20, {**position, "sinks": {**position["sinks"], "toy": "x"}})


def test_nothing_is_written_before_the_first_flush(tmp_path: Path):
    log = Log(tmp_path, [0], 10)
    assert not list(tmp_path.iterdir())
    log.flush()
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.csv", "evaluations.csv", "tensorboard"}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the names of open files are asked of Linux")
def test_what_was_written_is_brought_to_disk_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    synced: list[str] = []
    fsync = os.fsync

    def noting(number: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{number}")).name.partition(".")[0])
        fsync(number)

    monkeypatch.setattr(os, "fsync", noting)
    log = Log(tmp_path, [0], 10)
    for steps in (10, 20):
        del synced[:]
        log.iteration(Report([Episode(0, 0, 1.0, 9)], None, np.zeros(1)), counts([steps], [True]))
        log.flush()
        log.sync()
        log.sync()
    assert synced == ["metrics", "events"]
