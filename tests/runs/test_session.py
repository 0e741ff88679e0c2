"""Sittings that end before the run does: Ctrl-C, and environments that fail."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak import RunError
from polyak.errors import Interrupted
from polyak.runs import files, session
from polyak.runs.log import Log
from tests.fixtures import small
from tests.fixtures.envs import BREAKS_AT, Lopsided

FAILURES = {
    "Raising-v0": "RuntimeError: the motor",
    "Blind-v0": "observation that is not finite",
    "Priceless-v0": "reward that is not finite",
}


def test_ctrl_c_saves_and_says_how_to_go_on():
    said = small.train_and_stop("stopped", iteration=18)
    record = polyak.load("stopped").record
    assert said == 'stopped at 180 of 400 steps; everything is saved: polyak.resume("stopped", trust=True)'
    assert (record.status, record.env_steps, record.error) == ("interrupted", 180, None)
    assert files.read_json(Path("stopped/checkpoint/checkpoint.json"), {})["env_steps"] == [180, 180]
    assert polyak.load("stopped").scores == {}
    with pytest.raises(KeyboardInterrupt):  # which works as before again
        small.press_ctrl_c()


def test_an_interrupted_run_can_be_used_and_finished(stopped: Path):
    run = polyak.load(stopped)
    assert run.policy(np.zeros(3)).shape == (2,)
    assert len(run.evaluate(2)["per_seed"]) == 2
    finished = polyak.resume(stopped)
    assert (finished.record.status, finished.record.env_steps) == ("finished", small.STEPS)
    assert polyak.load(stopped).scores == finished.scores
    assert (stopped / "curve.png").exists()


def test_a_second_ctrl_c_does_not_wait_and_says_what_is_kept(monkeypatch: pytest.MonkeyPatch):
    def twice() -> None:
        small.press_ctrl_c()
        small.press_ctrl_c()

    with monkeypatch.context() as patch:
        small.before_iteration(patch, 18, twice)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            small.train("hasty")
    kept = 'the checkpoint has 0 of them: polyak.resume("hasty", trust=True)'
    assert str(interrupted.value) == f"stopped at 170 of 400 steps; {kept}"
    record = polyak.load("hasty").record
    assert (record.status, record.env_steps, record.updates) == ("interrupted", 0, 0)
    assert polyak.resume("hasty").record.status == "finished"


def test_a_finished_run_is_not_resumed(finished: polyak.Run):
    with pytest.raises(polyak.UsageError, match="is finished; to train it further"):
        polyak.resume(finished.folder)


def test_ctrl_c_at_the_very_start():
    small.train_and_stop("stopped", iteration=1)
    assert polyak.resume("stopped").record.status == "finished"


def test_ctrl_c_while_the_result_is_scored(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr("polyak.runs.execute.score", lambda *_: small.press_ctrl_c())
        with pytest.raises(KeyboardInterrupt) as interrupted:
            small.train("parts")
    assert isinstance(interrupted.value, Interrupted)
    assert 'polyak.resume("parts", trust=True)' in str(interrupted.value)
    assert polyak.load("parts").record.status == "interrupted"
    assert polyak.resume("parts").scores == finished.scores


@pytest.mark.parametrize(("env", "envs"), [("Raising-v0", 1), ("Raising-v0", 2), ("Blind-v0", 2), ("Priceless-v0", 1)])
def test_a_failing_environment_is_named_and_everything_before_it_kept(env: str, envs: int):
    with pytest.raises(RunError) as failed:
        small.train("failed", env=f"tests.fixtures.envs:{env}", plan={"evaluations": 0, "envs": envs})
    message = str(failed.value)
    assert FAILURES[env] in message
    for word in ("step", "of seed 0", "episode", "environment 0"):
        assert word in message
    record = polyak.load("failed").record
    kept = f"what was learned up to step {record.env_steps:,} is kept in failed"
    assert message == f"{record.error}; {kept}"
    assert record.status == "failed"
    assert 0 < record.env_steps < BREAKS_AT * envs
    assert [int(steps) for (steps,) in small.rows(Path("failed/metrics.csv"), "env_steps")][-1] == record.env_steps
    assert polyak.load("failed").policy(np.zeros(3)).shape == (2,)


def test_nothing_is_said_to_be_kept_where_nothing_is(monkeypatch: pytest.MonkeyPatch):
    def fail(_: Log) -> None:
        raise RunError("the cable is loose")

    monkeypatch.setattr(Log, "flush", fail)
    with pytest.raises(RunError) as failed:
        small.train("failed")
    assert str(failed.value) == "the cable is loose; nothing that was learned is kept in failed"


def test_rows_are_on_disk_before_the_checkpoint_counts_them(monkeypatch: pytest.MonkeyPatch):
    order: list[str] = []
    sync = Log.sync

    def noting(log: Log) -> None:
        sync(log)
        order.append("rows")

    def stop(*_: Any) -> None:
        order.append("checkpoint")
        raise RunError("the disk is full")

    monkeypatch.setattr(Log, "sync", noting)
    monkeypatch.setattr(session.checkpoint, "save", stop)
    with pytest.raises(RunError):
        small.train("failed")
    assert order[:2] == ["rows", "checkpoint"]


def test_what_failed_first_is_told(monkeypatch: pytest.MonkeyPatch):
    write_json = files.write_json

    def full(*_: Any, **__: Any) -> None:
        raise RunError("the disk is full")

    def fail() -> None:
        monkeypatch.setattr(files, "write_json", full)
        raise RunError("the cable is loose")

    small.before_iteration(monkeypatch, 18, fail)
    with pytest.raises(RunError, match=r"^the cable is loose; nothing that was learned is kept"):
        small.train("failed")
    monkeypatch.setattr(files, "write_json", write_json)
    assert polyak.load("failed").record.status == "training"


def test_the_step_of_a_value_that_is_not_finite_is_counted_over_the_run():
    with pytest.raises(RunError, match=f"at environment step {BREAKS_AT} of seed 3, in episode"):
        small.train("failed", env="tests.fixtures.envs:Blind-v0", seeds=[3], plan={"evaluations": 0})


def test_a_failed_run_goes_on_once_the_environment_is_mended():
    with pytest.raises(RunError):
        small.train("failed", env="tests.fixtures.envs:Raising-v0", plan={"evaluations": 0})
    run = polyak.resume("failed", env=Lopsided)
    assert (run.record.status, run.record.error, run.record.env_steps) == ("finished", None, small.STEPS)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ("Exiting-v0", r"it called sys.exit\(0\)"),
        ("Speechless-v0", "UnprintableError, whose message cannot be"),
    ],
)
def test_an_environment_that_exits_fails_the_run_and_not_the_process(env: str, says: str):
    with pytest.raises(RunError, match=says):
        small.train("failed", env=f"tests.fixtures.envs:{env}", plan={"evaluations": 0})
    record = polyak.load("failed").record
    assert (record.status, record.env_steps) == ("failed", 40)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupt_that_an_environment_raises_saves_the_run(workers: int):
    plan = {"evaluations": 0, "workers": workers}
    with pytest.raises(KeyboardInterrupt) as interrupted:
        small.train("stopped", env="tests.fixtures.envs:Interrupting-v0", seeds=1, plan=plan)
    assert str(interrupted.value).startswith("stopped at 40 of 400 steps; everything is saved")
    record = polyak.load("stopped").record
    assert (record.status, record.env_steps) == ("interrupted", 40)
    assert polyak.resume("stopped", env="tests.fixtures.envs:Lopsided-v0").record.status == "finished"


def test_too_few_environments_for_an_evaluation_fail_the_run_and_keep_it():
    made = 0

    def fourth_fails() -> Lopsided:
        nonlocal made
        made += 1
        if made == 4:
            raise OSError("no more licenses")
        return Lopsided()

    with pytest.raises(RunError, match=r"2 of 2 for evaluation could not be made: .*no more licenses"):
        small.train("failed", env=fourth_fails, seeds=1)
    record = polyak.load("failed").record
    assert (record.status, record.env_steps) == ("failed", 0)  # found before any training, by the first evaluation
    assert polyak.resume("failed", env=Lopsided).record.status == "finished"


def test_a_failure_in_an_evaluation_is_kept_too():
    with pytest.raises(RunError, match=r"at step \d+ of the evaluation episode with seed \d+: RuntimeError: the motor"):
        small.train("failed", env="tests.fixtures.envs:Raising-v0", plan={"evaluations": 20, "evaluation_episodes": 99})
    assert polyak.load("failed").record.status == "failed"


def test_a_failure_while_the_result_is_scored_is_written_down(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RunError("the environment failed in evaluation")

    monkeypatch.setattr("polyak.runs.execute.score", fail)
    with pytest.raises(RunError):
        small.train("failed")
    assert polyak.load("failed").record.status == "failed"


def test_an_evaluation_that_failed_is_made_up_for(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    play, count = session.Session.play, 0

    def fail_at_last(*arguments: Any) -> session.Scores:
        nonlocal count
        count += 1
        if count == 4:
            raise RunError("the environment failed")
        return play(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "play", fail_at_last)
        with pytest.raises(RunError):
            small.train("failed")
    resumed = polyak.resume("failed")
    assert resumed.scores == finished.scores
    assert small.rows(Path("failed/evaluations.csv")) == small.rows(finished.folder / "evaluations.csv")


def test_a_curve_that_cannot_be_drawn_does_not_fail_the_run():
    with pytest.MonkeyPatch.context() as patch:
        small.before_iteration(patch, 3, Path("undrawn/curve.png").mkdir)
        run = small.train("undrawn")
    assert polyak.load("undrawn").record.status == "finished"
    assert set(run.scores) == {"best", "final"}


def test_the_best_policy_is_the_one_of_the_best_evaluation(monkeypatch: pytest.MonkeyPatch):
    # of two seeds before learning, which is no candidate, and in three evaluations
    returns = iter([[9.0, 9.0], [1.0, 5.0], [3.0, 4.0], [2.0, 6.0]])
    seen: list[Any] = []

    def play(one: session.Session, policies: Any, episodes: int, lanes: np.ndarray) -> session.Scores:
        seen.append(policies.actor.mlp.layers[0].weight)
        scores = np.tile(np.array(next(returns))[:, None], episodes)
        return session.Scores(scores, np.ones_like(scores, dtype=int), np.zeros_like(scores, dtype=bool))

    monkeypatch.setattr(session.Session, "play", play)
    run = small.train("best")
    best = run.saved.tree("best").actor.mlp.layers[0].weight
    np.testing.assert_array_equal(best, np.stack([seen[2][0], seen[3][1]]))
    assert run.policy.seed == 1


def test_a_run_stopped_before_its_first_evaluation_after_learning_has_the_newest_as_its_best():
    small.train_and_stop("stopped", iteration=2)
    saved = polyak.load("stopped").saved
    np.testing.assert_array_equal(saved.policy("best", 1)(np.ones(3)), saved.policy("final", 1)(np.ones(3)))
    assert {steps for (steps,) in small.rows(Path("stopped/evaluations.csv"), "env_steps")} == {"0"}


def test_without_evaluations_the_best_policy_is_the_newest():
    run = small.train("unjudged", plan={"evaluations": 0})
    np.testing.assert_array_equal(run.saved.policy("best", 1)(np.ones(3)), run.saved.policy("final", 1)(np.ones(3)))
    assert not Path("unjudged/curve.png").exists()


@pytest.mark.parametrize("world", ["Raising", "Blind"])
def test_by_command_a_failing_environment_is_one_line(world: str, capfd: pytest.CaptureFixture[str]):
    flags = [*small.FLAGS, "--plan.evaluations", "0", "--out", "failed", "--seed", "8", "--json"]
    assert small.command("train", "ddpg", f"tests.fixtures.envs:{world}-v0", *flags) == 1
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    for word in ("polyak: error: the environment", "step", "of seed 8", "episode"):
        assert word in err
    record = polyak.load("failed").record
    assert (record.status, record.env_steps) == ("failed", 40)
    assert Path("failed/metrics.csv").read_text().count("\n") == 5
    assert Path("failed/checkpoint/checkpoint.json").exists()


def test_by_command_ctrl_c_says_how_to_resume_and_resuming_finishes(capsys: pytest.CaptureFixture[str]):
    process = small.in_a_process(
        "train", "ddpg", "tests.fixtures.envs:Slow-v0", *small.FLAGS, "--out", "run", "--plan.score-episodes", "1"
    )
    while process.poll() is None and not _lines("run/metrics.csv"):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "polyak resume run" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert polyak.load("run").record.status == "interrupted"
    assert small.command("resume", "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["run"] == "run"
    assert polyak.load("run").record.status == "finished"


def _lines(path: str) -> int:
    return Path(path).read_text().count("\n") if Path(path).exists() else 0


class OnlyOne(Lopsided):
    """Cannot be opened a second time before it is closed; its episodes are longer than a rollout."""

    is_open = False

    def __init__(self) -> None:
        if OnlyOne.is_open:
            raise OSError("the port is in use")
        super().__init__()
        OnlyOne.is_open = True

    def close(self) -> None:
        OnlyOne.is_open = False


ALONE: dict[str, Any] = {"env": OnlyOne, "seeds": [3], "plan": {"evaluation_envs": 0}}


@pytest.mark.parametrize("algorithm", ["ddpg", "ppo"])
def test_an_environment_of_which_only_one_can_be_open_is_trained_and_evaluated(algorithm: str):
    by_rollout = {"config": {}, "plan": {"evaluation_envs": 0, "rollout_length": 50, "evaluations": 3}}
    if algorithm == "ddpg":
        run = small.train("alone", **ALONE)
    else:
        run = polyak.train("ppo", OnlyOne, seeds=[3], steps=400, out="alone", **by_rollout)
    assert len(small.rows(Path("alone/evaluations.csv"))) == 4 * run.record.plan["evaluation_episodes"]
    assert run.evaluate(2)["length_mean"] <= 20
    assert not OnlyOne.is_open


def test_a_run_that_evaluates_in_its_training_environment_resumes_to_the_same_bits():
    whole = small.train("whole", **ALONE)
    small.train_and_stop("parts", iteration=16, **ALONE)
    parts = polyak.resume("parts", env=OnlyOne)
    small.assert_same_policies(whole, parts)
    assert parts.scores == whole.scores
    for table in ("metrics.csv", "evaluations.csv"):
        assert small.rows(Path("parts", table), "seed", "return") == small.rows(Path("whole", table), "seed", "return")


def test_evaluating_in_the_training_environment_needs_a_single_seed():
    with pytest.raises(polyak.UsageError, match=r"evaluation_envs = 0 .*: it needs one seed, not 2"):
        small.train("refused", env=OnlyOne, plan={"evaluation_envs": 0})
    assert not OnlyOne.is_open


def test_an_environment_without_a_time_limit_is_told_at_the_start(capsys: pytest.CaptureFixture[str]):
    quick = {"seeds": 1, "steps": 80, "plan": {"evaluations": 0}, "quiet": False}
    small.train("endless", **quick)
    said = "has no time limit: evaluation episodes are cut after 1,000 steps"
    assert said in capsys.readouterr().err
    small.train("limited", **quick, env_kwargs={"max_episode_steps": 9})
    assert said not in capsys.readouterr().err
