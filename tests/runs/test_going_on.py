"""Finished and interrupted runs go on to more steps."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak import UsageError
from polyak.runs.checkpoint import CheckpointRecord
from tests.fixtures import small

# without overlap, and with rollouts that divide every length, nothing shows where the first part ended
EVEN: dict[str, Any] = {"plan": {"overlap": False, "capacity": 1_000, "evaluations": 0}}
SETUPS: dict[str, dict[str, Any]] = {
    "ddpg": EVEN,
    "small replay": {"plan": {**EVEN["plan"], "capacity": 150}},
    "prioritized, n-step": {**EVEN, "config": {"priority_alpha": 0.6, "priority_beta": 1.0, "n_step": 3}},
    "compiled": {**EVEN, "env": "Pendulum-v1", "backend": "device", "seeds": 1},
}


@pytest.mark.parametrize("setup", SETUPS)
def test_a_run_that_goes_on_has_the_bits_of_a_longer_one(setup: str):
    small.train("short", steps=200, **SETUPS[setup])
    assert polyak.resume("short", steps=400).record.env_steps == 400
    small.assert_same_policies(polyak.load("short"), small.train("long", steps=400, **SETUPS[setup]))


def test_rollouts_go_on_to_the_last_whole_one(capsys: pytest.CaptureFixture[str]):
    tiny = {
        "config": {"actor_layers": (8,), "value_layers": (8,)},
        "plan": {"envs": 2, "rollout_length": 10, "evaluations": 2},
    }
    polyak.train("a2c", small.ENV, steps=60, out="run", **tiny)
    run = polyak.resume("run", steps=110, quiet=False)
    assert run.record.env_steps == 100
    assert run.record.fitted[0] == "110 steps are 5 rollouts of 20; the last 10 are not taken"
    assert "continues from step 60 to 100 instead of 60" in run.record.fitted[1]
    assert "continues from step 60 to 100" in capsys.readouterr().err


def test_updates_per_episode_go_on_in_every_lane():
    plan = {"updates_per": "episode", "updates": 3, "evaluations": 0}
    before = small.train("run", steps=200, plan=plan).record.updates
    run = polyak.resume("run", steps=300)
    assert run.record.env_steps == 300
    assert run.record.updates > before
    assert run.scores


def test_evaluations_go_on_and_the_best_policy_stays_until_a_better_one(finished: polyak.Run):
    shutil.copytree(finished.folder, "run")
    before = small.rows(Path("run/evaluations.csv"))
    run = polyak.resume("run", steps=800)
    after = small.rows(Path("run/evaluations.csv"))
    assert after[: len(before)] == before
    assert {int(row[0]) for row in after[len(before) :]} > {800}
    assert min(int(row[0]) for row in after[len(before) :]) > 400
    rows = small.rows(run.folder / "metrics.csv", "env_steps", "seed")
    assert rows == sorted(rows, key=lambda row: int(row[0]))
    assert run.record.plan["env_steps"] == 800
    assert run.record.status == "finished"


def test_a_run_that_goes_on_can_be_interrupted_with_the_same_result(finished: polyak.Run):
    for name in ("one", "other"):
        shutil.copytree(finished.folder, name)
    polyak.resume("one", steps=600)
    with pytest.MonkeyPatch.context() as patch:
        small.before_iteration(patch, 7, small.press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            polyak.resume("other", steps=600)
    record = polyak.load("other").record
    assert (record.status, record.scores, record.plan["env_steps"]) == ("interrupted", {}, 600)
    polyak.resume("other")
    small.assert_same_policies(polyak.load("one"), polyak.load("other"))


def test_a_kill_before_the_next_checkpoint_leaves_a_run_that_goes_on(finished: polyak.Run):
    for name in ("one", "other"):
        shutil.copytree(finished.folder, name)
    polyak.resume("one", steps=600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyak.runs.session.Session.save", lambda session: None)  # as if killed before it
        small.before_iteration(patch, 7, small.press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            polyak.resume("other", steps=600)
    polyak.resume("other")
    small.assert_same_policies(polyak.load("one"), polyak.load("other"))


def test_a_run_that_stopped_early_goes_on_without_stopping_again():
    small.train("run", stop_at=-1e9)
    assert polyak.load("run").record.env_steps < 100
    record = polyak.resume("run", steps=200).record
    assert (record.env_steps, record.stop_at, record.stopped) == (200, None, None)


def test_by_command(finished: polyak.Run, capsys: pytest.CaptureFixture[str]):
    shutil.copytree(finished.folder, "run")
    assert small.command("resume", "run") == 2
    assert "is finished; to train it further, give the total number of steps: --steps 800" in capsys.readouterr().err
    assert small.command("resume", "run", "--steps", "0.5k", "--json") == 0
    assert json.loads(capsys.readouterr().out)["run"] == "run"
    assert polyak.load("run").record.env_steps == 500


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (400, "the run has already taken 400 steps: steps=… is the total, and must be at least 401"),
        (0, "steps = 0 must be a whole number, at least 1"),
        ("more", "steps = 'more' must be a whole number"),
        (True, "steps = True must be a whole number"),
    ],
)
def test_fewer_steps_are_refused(steps: Any, says: str, finished: polyak.Run):
    shutil.copytree(finished.folder, "run")
    before = Path("run/run.json").read_bytes()
    with pytest.raises(UsageError, match=says):
        polyak.resume("run", steps=steps)
    assert Path("run/run.json").read_bytes() == before


def test_a_plan_that_was_made_shorter_by_hand_is_refused(stopped: Path):
    path = stopped / "run.json"
    path.write_text(path.read_text().replace('"env_steps": 400', '"env_steps": 100'))
    with pytest.raises(UsageError, match="has env_steps = 100, but 180 steps were taken: it was changed"):
        polyak.resume(stopped)


def test_steps_taken_are_those_of_the_lane_that_is_furthest():
    record = CheckpointRecord({}, env_steps=[3, 5], pending=False, planned=9, seconds={}, settings="x", log={})
    assert record.steps_taken == 5
