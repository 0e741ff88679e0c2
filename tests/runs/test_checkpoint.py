"""Checkpoints: a kill at any moment leaves a whole one, and a run resumed from it ends as if never stopped."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import polyak
from polyak.algorithms import ddpg
from polyak.envs.gymnasium import VectorEnv
from polyak.runs import arrays, checkpoint, session
from polyak.runs import policy as policies
from polyak.training.host import HostLoop
from polyak.training.job import Job
from polyak.training.plans import ReplayPlan
from tests.fixtures import small


class Killed(BaseException):
    """Stands for kill -9 and power cuts: no `except` of ours catches it."""


def kill(*_: Any, **__: Any) -> None:
    raise Killed


COLUMNS = ("env_steps", "seed", "updates", "episodes", "return", "length", "critic_loss", "actor_loss")
KINDS: dict[str, dict[str, Any]] = {
    "several environments, noise with a memory, running statistics": {
        "plan": {"envs": 4, "rollout_length": 5},
        "config": {"noise": "ornstein-uhlenbeck", "normalize_observations": True, "batch_norm": "renorm"},
    },
    "updates after each episode": {
        "plan": {"updates_per": "episode", "updates": 3, "rollout_length": 20, "overlap": False}
    },
}


def test_a_resumed_run_ends_as_if_never_stopped(finished: polyak.Run, stopped: Path):
    _assert_same(finished, polyak.resume(stopped))


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_of_another_kind_ends_as_if_never_stopped(kind: str):
    small.train_and_stop("parts", iteration=17, **KINDS[kind])
    _assert_same(small.train("whole", **KINDS[kind]), polyak.resume("parts"))


def _assert_same(one: polyak.Run, other: polyak.Run) -> None:
    small.assert_same_policies(one, other)
    assert one.scores == other.scores
    assert small.rows(one.folder / "evaluations.csv") == small.rows(other.folder / "evaluations.csv")
    assert small.rows(one.folder / "metrics.csv", *COLUMNS) == small.rows(other.folder / "metrics.csv", *COLUMNS)


def test_a_run_stopped_between_two_rows_of_metrics_loses_nothing():
    settings = {
        "steps": 800,
        "seeds": 1,
        "plan": {"rollout_length": 3},
    }  # a row is due every 4 steps, not after each rollout
    small.train_and_stop("parts", iteration=19, **settings)
    _assert_same(small.train("whole", **settings), polyak.resume("parts"))


def test_a_run_killed_between_checkpoints_goes_on_from_the_last(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        small.before_iteration(patch, 12, kill)
        with pytest.raises(Killed):
            small.train("parts", plan={"checkpoint_seconds": 1e-9})
    with monkeypatch.context() as patch:  # and again, later, between two checkpoints this time
        small.before_iteration(patch, 15, kill)
        with pytest.raises(Killed):
            polyak.resume("parts")
    _assert_same(finished, polyak.resume("parts"))


@pytest.mark.parametrize("iteration", [9, 13, 16])
def test_a_killed_run_whose_lanes_are_at_different_steps_goes_on(iteration: int, monkeypatch: pytest.MonkeyPatch):
    kind = {"plan": {**KINDS["updates after each episode"]["plan"], "checkpoint_seconds": 1e-9, "evaluations": 8}}
    with monkeypatch.context() as patch:
        small.before_iteration(patch, iteration, lambda: patch.setattr(session.Session, "save", lambda _: None))
        small.before_iteration(patch, iteration + 5, kill)
        with pytest.raises(Killed):
            small.train("parts", **kind)
    _assert_same(small.train("whole", **kind), polyak.resume("parts"))


def test_rows_written_after_the_last_checkpoint_are_not_repeated(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    save = session.Session.save

    def last_one_fails(one: session.Session) -> None:
        if one.loop.counts.done:
            raise Killed
        save(one)

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "save", last_one_fails)
        with pytest.raises(Killed):
            small.train("parts", plan={"checkpoint_seconds": 1e-9})
    _assert_same(finished, polyak.resume("parts"))


def test_a_second_ctrl_c_does_not_spoil_the_checkpoint(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    step, count = VectorEnv.step, 0

    def impatient(envs: VectorEnv, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 155:  # in the middle of a rollout
            small.press_ctrl_c()
            small.press_ctrl_c()
        return step(envs, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(VectorEnv, "step", impatient)
        with pytest.raises(KeyboardInterrupt):
            small.train("parts")
    _assert_same(finished, polyak.resume("parts"))


@pytest.fixture(scope="module")
def loop() -> Iterator[HostLoop]:
    """Some iterations into a training, with a rollout that waits to be learned from."""
    plan = ReplayPlan(env_steps=400, **small.PLAN)
    envs = VectorEnv(small.ENV, [0, 1], plan.envs)
    made = HostLoop(Job(ddpg, ddpg.Config(**small.CONFIG), plan, envs, [0, 1]))
    for _ in range(7):
        made.advance()
    yield made
    envs.close()


def test_a_checkpoint_brings_back_every_number(loop: HostLoop, tmp_path: Path):
    progress = checkpoint.Progress(
        loop.policy, np.array([-np.inf, 2.5]), np.array([0, 1]), {"training": 1.5}, "asked", {}
    )
    checkpoint.save(tmp_path / "c", loop, progress)
    before = jax.tree.map(np.array, loop.snapshot())
    loop.advance()
    again = checkpoint.load(tmp_path / "c", loop, loop.policy, "asked")
    assert before["pending"] is not None
    jax.tree.map(np.testing.assert_array_equal, loop.snapshot(), before)
    jax.tree.map(np.testing.assert_array_equal, again.best, progress.best)
    np.testing.assert_array_equal(again.best_returns, progress.best_returns)
    assert (again.evaluated.tolist(), again.seconds) == ([0, 1], {"training": 1.5})


MOMENTS = [("save_file", 1), ("fsync", 1), ("replace", 1), ("fsync", 2), ("replace", 2), ("unlink", 1)]


@pytest.mark.parametrize(("call", "number"), MOMENTS)
def test_a_kill_while_saving_leaves_a_whole_checkpoint(
    loop: HostLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
):
    progress = checkpoint.Progress(loop.policy, np.zeros(2), np.zeros(2, np.int64), {}, "asked", {})
    checkpoint.save(tmp_path / "c", loop, progress)
    steps = {int(loop.counts.env_steps[0])}
    loop.advance()
    steps.add(int(loop.counts.env_steps[0]))
    with monkeypatch.context() as patch:
        kill_at(patch, call, number)
        with pytest.raises(Killed):
            checkpoint.save(tmp_path / "c", loop, progress)
    checkpoint.load(tmp_path / "c", loop, loop.policy, "asked")
    assert int(loop.counts.env_steps[0]) in steps
    checkpoint.save(tmp_path / "c", loop, progress)
    assert sorted(path.suffix for path in (tmp_path / "c").iterdir()) == [".json", ".safetensors"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_kill_while_saving_policies_leaves_whole_ones(stopped: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    saved = polyak.load(stopped).saved
    trees = {which: jax.tree.map(lambda leaf: leaf + 1, saved.tree(which)) for which in ("final", "best")}
    spaces = saved.spaces
    with monkeypatch.context() as patch:
        kill_at(patch, "replace", number)
        with pytest.raises(Killed):
            policies.save(stopped / "policy", vars(saved.record), trees, spaces)
    for which in ("final", "best"):
        polyak.load(stopped).evaluate(1, which)


def kill_at(patch: pytest.MonkeyPatch, call: str, number: int) -> None:
    """Kill at the n-th call; a half-written file stays when that call was writing one."""
    place: Any = {"save_file": arrays, "unlink": Path}.get(call, os)
    original, count = getattr(place, call), 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            if call == "save_file":
                Path(arguments[1]).write_bytes(b"half a file")
            raise Killed
        return original(*arguments, **options)

    patch.setattr(place, call, counted)
