"""A way in while it trains: a function that is told what was measured and may end it, and a return that ends it."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak import Progress, RunError, UsageError
from tests.fixtures import small


def told(out: str, **changes: Any) -> list[Progress]:
    """Train and return what was reported."""
    reports: list[Progress] = []
    small.train(out, on_report=reports.append, **changes)
    return reports


def test_rows_and_evaluations_are_reported_as_they_are_written():
    reports = told("run")
    with open("run/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert reports[-1].env_steps == (400, 400)
    at_rows = [report for report in reports if report.evaluation is None]
    assert [(str(row["env_steps"]), str(row["seed"])) for report in at_rows for row in report.metrics] == [
        (row["env_steps"], row["seed"]) for row in rows
    ]
    assert str(at_rows[-1].metrics[1]["critic_loss"]) == rows[-1]["critic_loss"]
    evaluations = small.rows(Path("run/evaluations.csv"), "env_steps", "seed", "return")
    for report in (report for report in reports if report.evaluation is not None):
        for lane, mean in enumerate(report.evaluation or ()):
            at, seed = str(report.env_steps[lane]), str(lane)
            assert mean == pytest.approx(np.mean([float(r) for a, s, r in evaluations if (a, s) == (at, seed)]))
    assert sum(report.evaluation is not None for report in reports) == len({row[0] for row in evaluations})
    assert reports[-1].updates == (360, 360)


def test_being_told_changes_nothing(finished: polyak.Run):
    told("run")
    small.assert_same_policies(polyak.load("run"), finished)


def test_a_function_that_returns_true_ends_training_with_scores(capsys: pytest.CaptureFixture[str]):
    run = small.train("run", on_report=lambda progress: min(progress.env_steps) >= 100, quiet=False)
    assert run.record.status == "finished"
    assert 100 <= run.record.env_steps < 150
    assert run.scores["final"]["episodes"] == 3
    assert run.record.stopped == f"stopped at {run.record.env_steps:,} of 400 steps: on_report asked for it"
    assert run.record.stopped in capsys.readouterr().err


@pytest.mark.parametrize("answer", [None, False, 0, "yes", np.ones(3)])
def test_nothing_but_true_ends_training(answer: Any):
    run = small.train("run", steps=60, seeds=1, on_report=lambda _: answer)
    assert (run.record.env_steps, run.record.stopped is not None) == (60, False)


@pytest.mark.parametrize(
    ("raised", "says"),
    [(LookupError("no such thing"), "LookupError: no such thing"), (SystemExit(), r"it called sys.exit\(\)")],
)
def test_a_function_that_fails_ends_training_saved_and_named(raised: BaseException, says: str):
    def fail(progress: Progress) -> None:
        if progress.env_steps[0] >= 100:
            raise raised

    with pytest.raises(RunError, match=rf"on_report failed: {says} .*; what was learned up to") as error:
        small.train("run", on_report=fail)
    assert isinstance(error.value.__cause__, RunError)
    assert polyak.load("run").record.env_steps >= 100
    assert polyak.resume("run").record.env_steps == 400


def test_training_stops_at_a_return_of_all_seeds(finished: polyak.Run):
    evaluations = small.rows(finished.folder / "evaluations.csv", "env_steps", "return")
    means: dict[int, list[float]] = {}
    for steps, value in evaluations:
        means.setdefault(int(steps), []).append(float(value))
    best = max(means, key=lambda steps: float(np.mean(means[steps])))
    wanted = float(np.mean(means[best])) - 1e-6
    first = min(steps for steps, values in means.items() if np.mean(values) >= wanted)
    run = small.train("run", stop_at=wanted)
    assert (run.record.env_steps, run.record.stop_at, run.record.status) == (first, wanted, "finished")
    assert f"reached {wanted:.4g}" in (run.record.stopped or "reached") or first == 400


def test_stopping_early_by_the_command(capsys: pytest.CaptureFixture[str]):
    assert small.command("train", "ddpg", small.ENV, *small.FLAGS, "--out", "run", "--stop-at", "-1e9") == 0
    record = polyak.load("run").record
    assert record.env_steps < 200
    assert "reached -1e+09" in str(record.stopped)
    assert "stopped at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"stop_at": "high"}, "stop_at = 'high' must be a number"),
        ({"stop_at": float("nan")}, "stop_at = nan must be a number"),
        ({"stop_at": 1.0, "plan": {"evaluations": 0}}, "stop_at = 1.0 needs evaluations: use plan=."),
        ({"on_report": 3}, "on_report = 3 must be a function"),
    ],
    ids=str,
)
def test_a_wrong_audience_is_refused(wrong: dict[str, Any], says: str, tmp_path: Path):
    with pytest.raises(UsageError, match=says):
        small.train("new", **wrong)
    assert not list(tmp_path.iterdir())
