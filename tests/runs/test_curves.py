"""Curves read from the tables of a run."""

from pathlib import Path

import numpy as np
import pytest

from polyak import UsageError
from polyak.runs.records import Records

ROWS = """\
env_steps,seed,episode,return,length
100,0,0,1.0,5
100,0,1,3.0,5
100,1,0,7.0,5
100,1,1,9.0,5
200,0,0,4.0,5
200,0,1,6.0,5
200,1,0,8.0,5
200,1,1,8.0,5
"""

METRICS = """\
env_steps,seed,seconds,updates,episodes,return,length,critic_loss
10,0,1.0,0,0,,,
10,1,1.0,0,1,2.0,5,
20,0,2.0,9,1,4.0,5,0.5
20,1,2.0,9,1,4.0,5,nan
30,0,3.0,9,1,8.0,5,0.25
30,1,3.0,9,1,6.0,5,0.5
"""


def test_an_evaluation_is_the_mean_of_each_seed_with_an_interval_over_seeds(tmp_path: Path):
    (tmp_path / "evaluations.csv").write_text(ROWS)
    curve = Records(tmp_path).curve()
    assert curve.steps.tolist() == [100, 200]
    assert curve.values.tolist() == [[2, 8], [5, 8]]
    assert curve.band.tolist() == [[2, 8], [5, 8]]
    assert curve.middle.tolist() == [5, 6.5]
    assert curve.about.endswith("mean of 2 episodes")


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_an_evaluation_that_was_not_written_whole_is_left_out(tmp_path: Path, lines: int):
    (tmp_path / "evaluations.csv").write_text("".join(ROWS.splitlines(keepends=True)[:-lines]))
    curve = Records(tmp_path).curve()
    assert curve.steps.tolist() == [100]
    assert curve.values.tolist() == [[2, 8]]


def test_a_first_evaluation_that_was_not_written_whole_is_none(tmp_path: Path):
    (tmp_path / "evaluations.csv").write_text("".join(ROWS.splitlines(keepends=True)[:4]))
    with pytest.raises(UsageError, match="has no evaluations to plot"):
        Records(tmp_path).curve()


def test_seeds_that_were_evaluated_at_different_steps_are_interpolated_and_hold_their_last_value(tmp_path: Path):
    rows = ["0,0,0,0.0,5", "0,1,0,2.0,5", "100,0,0,10.0,5", "120,1,0,14.0,5", "200,0,0,10.0,5", "180,1,0,14.0,5"]
    (tmp_path / "evaluations.csv").write_text("\n".join(["env_steps,seed,episode,return,length", *rows, ""]))
    curve = Records(tmp_path).curve()
    assert curve.steps.tolist() == [0, 100, 120, 180, 200]
    np.testing.assert_allclose(curve.values, [[0, 2], [10, 12], [10, 14], [10, 14], [10, 14]])


def test_many_different_steps_become_a_grid(tmp_path: Path):
    rows = [f"{100 * i + seed * i % 7},{seed},0,{i},5" for i in range(150) for seed in range(3)]
    (tmp_path / "evaluations.csv").write_text("\n".join(["env_steps,seed,episode,return,length", *rows, ""]))
    curve = Records(tmp_path).curve()
    assert len(curve.steps) == 200
    np.testing.assert_allclose(curve.values[:-1, 1], curve.steps[:-1] / 100, atol=0.1)


def test_training_is_the_returns_of_the_metrics_from_where_every_seed_has_one(tmp_path: Path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    curve = Records(tmp_path).curve("training")
    assert curve.steps.tolist() == [20, 30]
    assert curve.values.tolist() == [[4, 4], [8, 6]]
    assert curve.about.startswith("training return with exploration")


def test_a_point_is_smoothed_over_those_before_it_only(tmp_path: Path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    curve = Records(tmp_path).curve("training", smooth=2)
    assert curve.values.tolist() == [[4, 3], [6, 5]]
    assert curve.about.endswith(", smoothed over 2 points")


def test_a_column_of_the_metrics_can_be_drawn_and_what_is_not_finite_is_left_out(tmp_path: Path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    curve = Records(tmp_path).curve("critic_loss")
    assert (curve.steps.tolist(), curve.values.tolist()) == ([30], [[0.25, 0.5]])
    assert curve.about == "critic_loss"


@pytest.mark.parametrize(
    ("what", "says"),
    [("critic_los", "did you mean 'critic_loss'"), ("evaluations", "did you mean 'evaluation'"), ("seed", "no column")],
)
def test_a_column_that_there_is_not_is_refused_with_the_nearest(tmp_path: Path, what: str, says: str):
    (tmp_path / "metrics.csv").write_text(METRICS)
    with pytest.raises(UsageError, match=says):
        Records(tmp_path).curve(what)


def test_a_run_without_returns_yet_has_no_training_curve(tmp_path: Path):
    with pytest.raises(UsageError, match="nothing to plot yet"):
        Records(tmp_path).curve("training")


@pytest.mark.parametrize("table", ["evaluations", "metrics"])
def test_steps_that_are_not_finite_are_damage(tmp_path: Path, table: str):
    rows = ROWS + "inf,0,0,1.0,5\n" if table == "evaluations" else METRICS + "inf,0,1.0,0,1,3.0,5,1\n"
    (tmp_path / f"{table}.csv").write_text(rows)
    with pytest.raises(UsageError, match=rf"{table}.csv .*damaged or was changed"):
        Records(tmp_path).curve("evaluation" if table == "evaluations" else "training")
