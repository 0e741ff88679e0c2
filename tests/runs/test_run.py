"""The four things done with a run, from Python: train, resume, load, evaluate."""

import contextlib
import functools
import io
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import polyak
from polyak import UsageError
from polyak.algorithms import ddpg, ppo
from polyak.envs.gymnasium import VectorEnv
from polyak.runs import request, sizes
from polyak.runs.watch import watch
from polyak.training.learn import Task
from tests.fixtures import small
from tests.fixtures.envs import Lopsided

SHORT = {"steps": 80, "seeds": [4], "plan": {"evaluations": 0}}


def test_a_loaded_run_is_the_trained_one(finished: polyak.Run):
    loaded = polyak.load(str(finished.folder))
    assert {"format": 2, **loaded.record.to_json()} == json.loads((finished.folder / "run.json").read_text())
    assert loaded.scores == finished.scores
    np.testing.assert_array_equal(loaded.policy(np.ones(3)), finished.policy(np.ones(3)))


def test_a_run_says_what_made_it(finished: polyak.Run):
    record = finished.record
    assert (record.status, record.error, record.algorithm, record.env) == ("finished", None, "ddpg", small.ENV)
    assert (record.seeds, record.env_steps, record.updates) == ([0, 1], 400, 360)
    assert record.versions.keys() >= {"python", "polyak", "jax", "numpy", "gymnasium"}
    assert record.config.keys() == set(ddpg.Config.__dataclass_fields__)
    assert record.plan["rollout_length"] == small.PLAN["rollout_length"]
    assert "cpu" in record.device
    assert record.seconds.keys() == {"setup", "compiling", "training", "evaluation"}


def test_the_first_line_says_what_is_trained_where(capsys: pytest.CaptureFixture[str]):
    small.train("shown", **SHORT, quiet=False)
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"ddpg on {small.ENV}: 1 seed, 1 device (cpu, ")
    assert first.endswith("environments in Python, replay buffer 3.4 KiB")


def test_an_algorithm_can_be_a_module_and_an_environment_a_callable():
    small.train("called", algorithm=ddpg, env=Lopsided, **SHORT)
    loaded = polyak.load("called", trust=True)
    assert (loaded.record.algorithm, loaded.record.env) == ("ddpg", "tests.fixtures.envs:Lopsided")
    assert loaded.evaluate(2)["per_seed"][0]["seed"] == 4
    by_id = small.train("by_id", **SHORT)
    small.assert_same_policies(by_id, loaded)


def test_an_environment_that_has_no_name_is_given_again():
    trained = small.train("unnamed", env=lambda: Lopsided(), **SHORT)
    run = polyak.load("unnamed")
    with pytest.raises(UsageError, match="cannot import again by name: pass it as env"):
        run.evaluate(2)
    assert run.evaluate(2, env=Lopsided) == trained.evaluate(2)
    with pytest.raises(UsageError, match="the policy was made for"):
        run.evaluate(2, env="Pendulum-v1")
    with pytest.raises(UsageError, match="seed = -1 is too small"):
        run.evaluate(2, seed=-1, env=Lopsided)


def test_an_algorithm_of_the_users_own_needs_no_registration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_algorithm.py").write_text("from polyak.algorithms.ddpg import *\n")
    monkeypatch.syspath_prepend(tmp_path)
    small.train("own", algorithm="my_algorithm", **SHORT)
    run = polyak.load("own", trust=True)
    assert run.record.algorithm == "my_algorithm"
    assert run.policy(np.zeros(3)).shape == (2,)


def test_a_seed_learns_and_scores_the_same_whatever_other_seeds_there_are(finished: polyak.Run):
    assert len(jax.local_devices()) >= 2, "lanes that share a device are batched, which may round differently"
    alone = small.train("alone", seeds=[1])
    one, both = alone.saved.tree("final"), finished.saved.tree("final")
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[1]), one, both)
    assert alone.scores["best"]["per_seed"][0] == finished.scores["best"]["per_seed"][1]
    assert alone.evaluate(4)["per_seed"][0] == finished.evaluate(4)["per_seed"][1]


def test_an_evaluation_tells_all_that_is_owed(finished: polyak.Run):
    result = finished.evaluate(5, "final")
    assert result.keys() == {
        *("which", "deterministic", "episodes", "cut_episodes", "return_mean", "return_std", "return_iqm"),
        *("statistic", "ci95", "ci95_over", "length_mean", "per_seed"),
    }
    assert (result["which"], result["deterministic"], result["episodes"]) == ("final", True, 5)
    assert [row["seed"] for row in result["per_seed"]] == [0, 1]
    assert result["per_seed"][0].keys() == {"seed", "return_mean", "return_std", "length_mean"}
    assert result["return_mean"] == pytest.approx(np.mean([row["return_mean"] for row in result["per_seed"]]))
    assert result["ci95"][0] <= result["return_iqm"] <= result["ci95"][1]
    assert 1 <= result["length_mean"] <= 20
    json.dumps(result, allow_nan=False)


def test_evaluations_repeat_and_a_seed_chooses_other_episodes(finished: polyak.Run):
    first = finished.evaluate(3)
    assert finished.evaluate(3) == first
    assert finished.evaluate(3, seed=1)["return_mean"] != first["return_mean"]
    assert finished.evaluate(3, deterministic=False)["return_mean"] != first["return_mean"]
    assert finished.scores["best"] == first  # the run scores itself on the very same three episodes


def test_best_and_final_are_different_policies_scored_apart(finished: polyak.Run):
    assert finished.scores.keys() == {"best", "final"}
    for which in ("best", "final"):
        assert finished.evaluate(3, which) == finished.scores[which]
    with pytest.raises(UsageError, match="choose best or final"):
        finished.evaluate(3, "worst")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"algorithm": "dpg"}, "did you mean 'ddpg'"),
        ({"algorithm": "polyak.numerics.draws"}, "is not an algorithm: it has no Config"),
        ({"env": "Pendulm-v1"}, "did you mean 'Pendulum-v1'"),
        ({"env": "Pendulum-v77"}, "unknown environment 'Pendulum-v77'"),
        ({"env": "no_such_module:Thing-v0"}, "no module 'no_such_module'"),
        ({"env": dict}, "returned a dict, not a gymnasium.Env"),
        ({"env": Lopsided()}, "give a callable"),
        ({"config": {"gama": 0.9}}, "did you mean 'gamma'"),
        ({"config": {"gamma": "high"}}, "gamma"),
        ({"plan": {"rollout_lengths": 3}}, "did you mean 'rollout_length'"),
        ({"plan": {"batch": "64"}}, "batch"),
        ({"preset": "papr"}, "did you mean 'paper'"),
        ({"seeds": 0}, "at least 1"),
        ({"seeds": []}, "at least 1"),
        ({"seeds": [1, 1]}, "must be different"),
        ({"seeds": [-1]}, "from 0 to"),
        ({"seeds": [2**32]}, "from 0 to"),
        ({"steps": 0}, "steps = 0 must be a whole number"),
        ({"steps": 40}, "lower it .plan=..warmup.: …"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, Any], says: str):
    with pytest.raises(UsageError, match=says):
        small.train(tmp_path / "new", **wrong)
    assert not list(tmp_path.iterdir())


def test_a_buffer_larger_than_memory_is_refused_with_a_capacity_that_fits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("polyak.training.devices.memory", lambda lanes: 2**20)
    with pytest.raises(UsageError, match=r"would take 83.9 MiB \(2 × 1,000,000 transitions\)") as refused:
        small.train("large", steps=2_000_000, plan={"capacity": 1_000_000})
    most = int(str(refused.value).split("capacity of ")[1].split()[0].replace(",", ""))
    spec = VectorEnv(small.ENV, [0], 1).spec

    def plan(capacity: int) -> polyak.ReplayPlan:
        return polyak.ReplayPlan(capacity=capacity, env_steps=10**6, batch=8, rollout_length=10)

    sizes.refuse_too_large(Task(ddpg, plan(most), spec), ddpg.Config(), lanes=2)
    with pytest.raises(UsageError):
        sizes.refuse_too_large(Task(ddpg, plan(most + 1), spec), ddpg.Config(), lanes=2)
    with pytest.raises(UsageError):  # there are priorities too
        sizes.refuse_too_large(Task(ddpg, plan(most), spec), ddpg.Config(priority_alpha=0.6), lanes=2)
    too_much = polyak.ReplayPlan(env_steps=10**6, batch=900, rollout_length=10)
    with pytest.raises(UsageError, match="the minibatches of one iteration"):  # no capacity would hold a batch too
        sizes.refuse_too_large(Task(ddpg, too_much, spec), ddpg.Config(), lanes=2)
    # what learns from rollouts has no replay
    sizes.refuse_too_large(Task(ppo, plan(most + 1), spec), ppo.Config(), lanes=2)


def test_a_rollout_larger_than_memory_is_refused_with_a_length_that_fits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("polyak.training.devices.memory", lambda lanes: 2**20)
    spec = VectorEnv(small.ENV, [0], 1).spec

    def check(rollout_length: int, epochs: int) -> None:
        unit = 4 * rollout_length
        plan = polyak.RolloutPlan(env_steps=10**9 // unit * unit, envs=4, rollout_length=rollout_length)
        sizes.refuse_too_large(Task(ppo, plan, spec), ppo.Config(epochs=epochs), lanes=2)

    with pytest.raises(UsageError, match=r"would take .* of 1\.0 MiB of memory during the update") as refused:
        check(10**6, epochs=3)
    most = int(str(refused.value).split("rollout_length of ")[1].split()[0].replace(",", ""))
    assert 5 * spec.transition_bytes * 4 * 2 * most <= 0.8 * 2**20
    check(most, epochs=3)
    for rollout_length, epochs in ((most + 1, 3), (most, 4)):
        with pytest.raises(UsageError):
            check(rollout_length, epochs)


def test_what_is_too_large_is_refused_before_workers_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("polyak.training.devices.memory", lambda lanes: 2**20)
    monkeypatch.setattr(request, "Workers", None)  # which could not be called
    with pytest.raises(UsageError, match="would take"):
        small.train("large", steps=2_000_000, plan={"capacity": 1_000_000, "workers": 1})


def test_settings_objects_are_taken_as_they_are():
    plan = polyak.ReplayPlan(env_steps=100, warmup=50, capacity=60, batch=4, rollout_length=5, evaluations=0)
    config = ddpg.Config(actor_layers=(4,), critic_joint_layers=(4,))
    run = polyak.train("ddpg", small.ENV, config=config, plan=plan, steps=80, out="given")
    assert (run.record.plan["env_steps"], run.record.plan["rollout_length"], run.record.seeds) == (80, 5, [0])
    assert run.record.config["actor_layers"] == (4,)
    with pytest.raises(UsageError, match=r"config is a ReplayPlan: give ddpg\.Config"):
        polyak.train("ddpg", small.ENV, config=plan)


def test_a_run_without_a_name_gets_a_folder_of_its_own():
    runs = [polyak.train("ddpg", small.ENV, steps=80, config=small.CONFIG, plan=small.PLAN) for _ in range(2)]
    names = [run.folder.name for run in runs]
    assert len(set(names)) == 2
    assert all(run.folder.parent == Path("runs") and run.folder.name.startswith("ddpg-Lopsided-v0-") for run in runs)


def test_a_folder_that_holds_something_is_not_written_to(stopped: Path):
    before = (stopped / "run.json").read_bytes()
    with pytest.raises(
        UsageError, match=r'another out=…, or replace it with force=True, or continue it with polyak.resume\("'
    ):
        small.train(stopped)
    with pytest.raises(UsageError, match="gamma"):
        small.train(stopped, config={"gamma": 2}, force=True)
    assert (stopped / "run.json").read_bytes() == before
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("the only copy")
    for wrong in ("mine", "mine/thesis.txt", "mine/thesis.txt/deeper"):
        with pytest.raises(UsageError, match=r"not a run|cannot make"):
            small.train(wrong, force=True)
    assert Path("mine/thesis.txt").read_text() == "the only copy"


def test_force_replaces_a_run(stopped: Path):
    run = small.train(stopped, force=True, **SHORT)
    assert (run.record.seeds, run.record.env_steps) == ([4], 80)
    assert {row[0] for row in small.rows(stopped / "metrics.csv", "seed")} == {"4"}


def test_a_run_is_shown_in_two_lines(finished: polyak.Run, stopped: Path):
    first, second = repr(finished).splitlines()
    where = f"Run in {finished.folder}: ddpg on {small.ENV}"
    assert first == f"{where}, finished, 400 environment steps of 2 seeds"
    score = finished.scores["final"]["return_iqm"]
    assert second.startswith(f"final policies {score:.1f} [")
    assert second.endswith("(IQM and 95 % interval over seeds)")
    first, second = repr(polyak.load(stopped)).splitlines()
    assert "interrupted, 180 environment steps" in first
    assert second.startswith("no scores yet")


@pytest.mark.parametrize("scores", [{"final": {}}, {"final": None}, [1], {"final": {"ci95": [None, "x"]}}], ids=repr)
def test_a_run_with_damaged_scores_can_be_looked_at(scores: object):
    record = small.record(status="finished", scores=scores)
    assert repr(polyak.Run(Path("x"), record)).endswith("the scores cannot be read: run.json is damaged or was changed")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


Notebook = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})


@pytest.mark.parametrize(
    ("stream", "quiet", "shown"),
    [
        (Terminal, None, True),
        (Notebook, None, True),
        (io.StringIO, None, False),
        (io.StringIO, False, True),
        (Terminal, True, False),
    ],
)
def test_progress_is_shown_where_someone_looks(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], quiet: bool | None, shown: bool
):
    errors = stream()
    monkeypatch.setattr(sys, "stderr", errors)
    small.train("shown", **SHORT, quiet=quiet)
    assert bool(errors.getvalue()) == shown


def heavy(weight: float, render_mode: str | None = None) -> Lopsided:
    env = Lopsided(render_mode)
    env.weight = weight  # type: ignore[attr-defined]
    env.push = lambda action: action / env.weight  # type: ignore[attr-defined,method-assign]
    return env


def test_arguments_of_the_environment_are_kept_and_used_by_all_that_comes_after():
    stopped = {**SHORT, "env": f"{__name__}:heavy", "env_kwargs": {"weight": 10.0, "max_episode_steps": 7}}
    small.train_and_stop("heavy", iteration=5, **stopped)
    assert polyak.load("heavy").record.env_kwargs == {"weight": 10.0, "max_episode_steps": 7}
    run = polyak.resume("heavy", trust=True)
    assert run.scores["final"]["length_mean"] == run.evaluate(2)["length_mean"] == 7
    loaded = polyak.load("heavy", trust=True)
    assert loaded.evaluate(2) == run.evaluate(2)
    assert loaded.evaluate(2, env_kwargs={"weight": 10.0})["length_mean"] == 20
    assert loaded.evaluate(2, env=Lopsided)["length_mean"] == 20
    assert "7 steps" in watch_lines(loaded)


def watch_lines(run: polyak.Run) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        watch(run.policy, run.source(), "agent.gif", 1, 0)
    return said.getvalue()


def test_arguments_by_command_are_those_from_python(capsys: pytest.CaptureFixture[str]):
    name = f"{__name__}:heavy"
    assert small.command("train", "ddpg", name, *small.FLAGS, "--env.weight", "10.0", "--out", "heavy") == 0
    assert f"ddpg on {name} (weight = 10.0): 1 seed" in capsys.readouterr().err
    assert polyak.load("heavy").record.env_kwargs == {"weight": 10.0}
    assert small.command("train", "ddpg", name, "--env.mass", "10.0", "--out", "other") == 2
    assert (
        "has no argument 'mass': it takes weight, render_mode, max_episode_steps, action_bounds"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("given", [{"spec": object()}, {1: 2}, [1], {"x": float("nan")}])
def test_arguments_that_no_file_can_hold_are_refused(given: Any):
    with pytest.raises(UsageError, match="env_kwargs"):
        small.train("refused", env=heavy, env_kwargs=given)


partial_world = functools.partial(heavy, weight=1.0)


def test_the_name_that_was_typed_is_kept_and_found_again(capsys: pytest.CaptureFixture[str]):
    name = f"{__name__}:partial_world"
    assert small.command("train", "ddpg", name, *small.FLAGS, "--out", "typed") == 0
    assert "cannot be found by this name" not in capsys.readouterr().err
    assert polyak.load("typed").record.env == name
    assert small.command("evaluate", "typed", "--episodes", "2", "--trust") == 0


def test_an_environment_that_cannot_be_found_again_says_so_at_the_start(capsys: pytest.CaptureFixture[str]):
    small.train("unnamed", env=partial_world, **SHORT, quiet=False)
    assert "functools:partial() cannot be found by this name later" in capsys.readouterr().err
