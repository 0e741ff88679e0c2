"""Runs that start from another run: from its settings, or from what it has learned."""

import shutil
import sys
from typing import Any

import jax
import numpy as np
import pytest

import polyak
from polyak import UsageError
from polyak.runs import starting
from polyak.runs.starting import in_order
from tests.fixtures import small


def test_a_run_like_another_has_the_same_bits(finished: polyak.Run):
    again = polyak.train(like=finished.folder, out="again", trust=True)
    small.assert_same_policies(again, finished)
    told = {"started", "updated", "seconds", "commit"}
    assert {k: v for k, v in vars(again.record).items() if k not in told} == {
        k: v for k, v in vars(finished.record).items() if k not in told
    }


def test_by_command_what_is_given_differs(finished: polyak.Run):
    changes = ["--steps", "100", "--seeds", "7", "--seed", "2", "--config.gamma", "0.5", "--plan.score-episodes", "1"]
    assert small.command("train", "--like", str(finished.folder), *changes, "--seeds", "1", "--out", "new") == 0
    record, before = polyak.load("new").record, polyak.load(finished.folder).record
    assert (record.seeds, record.config["gamma"], record.env_steps) == ([2], 0.5, 100)
    assert record.config == {**before.config, "gamma": 0.5}
    changed = {"env_steps": 100, "score_episodes": 1, "warmup": 20}
    assert record.plan == {**before.plan, **changed}
    assert record.fitted == ["to fit 100 steps: warmup = 20 instead of 40"]


@pytest.mark.parametrize("words", [["Pendulum-v1"], ["ddpg", "Pendulum-v1"], ["Pendulum-v1", "DDPG"]])
def test_another_environment(words: list[str], finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []
    monkeypatch.setattr("polyak.runs.request.make_envs", lambda *given: asked.append(given) or pytest.skip())
    with pytest.raises(pytest.skip.Exception):
        polyak.cli.main.main(["train", *words, "--like", str(finished.folder)])  # type: ignore[attr-defined]
    _, source, lanes, plan = asked[0]
    assert (source.maker, lanes, plan.batch) == ("Pendulum-v1", [0, 1], 8)


def test_what_another_run_names_is_not_imported_without_trust(finished: polyak.Run, tmp_path: Any):
    shutil.copytree(finished.folder, tmp_path / "strange")
    path = tmp_path / "strange" / "run.json"
    path.write_text(path.read_text().replace('"algorithm": "ddpg"', '"algorithm": "antigravity"'))
    for run in (lambda: polyak.train(like="strange"), lambda: polyak.cli.main.main(["train", "--like", "strange"])):
        with pytest.raises((UsageError, SystemExit)):
            run()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"algorithm": "td3"}, "trained ddpg, whose settings do not fit td3: leave out the algorithm"),
        ({"preset": "paper"}, "the settings are either those of .* or of a preset"),
        ({"config": {"actor_layers": (0,)}}, "actor_layers = 0 is too small"),
        ({"like": "nowhere"}, "there is no run folder nowhere"),
        ({"like": None}, 'name an algorithm and an environment, or a run to repeat: like="runs/a"'),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any], says: str, finished: polyak.Run):
    with pytest.raises(UsageError, match=says):
        polyak.train(**{"like": finished.folder, "out": "new", **wrong})


@pytest.mark.parametrize("flag", ["--like", "--from"])
def test_by_command_another_algorithm_is_refused(flag: str, finished: polyak.Run, capsys: pytest.CaptureFixture[str]):
    assert small.command("train", "ppo", "CartPole-v1", flag, str(finished.folder)) == 2
    assert "trained ddpg, whose settings do not fit ppo" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("Pendulum-v1", "DDPG"), ("ddpg", "Pendulum-v1"), ("ppo", "sac"), ("a", "b")])
def test_algorithm_and_environment_may_be_named_in_either_order(words: tuple[str, str]):
    assert in_order(*words) == (("DDPG", "Pendulum-v1") if "DDPG" in words else words)


def test_words_that_are_swapped_are_understood_from_python():
    wish = starting.Wish("Pendulum-v1", "ddpg")
    start = starting.start_of(wish)
    assert (start.name, start.source.maker) == ("ddpg", "Pendulum-v1")


SHORT: dict[str, Any] = {"steps": 60, "plan": {"warmup": 50, "evaluations": 0, "score_episodes": 1}}


@pytest.mark.parametrize("seeds", [2, [1, 7], 1, 3])
def test_training_begins_with_what_another_run_has_learned(seeds: Any, finished: polyak.Run):
    run = polyak.train("ddpg", small.ENV, start_from=finished.folder, seeds=seeds, out="new", **SHORT, on_report=stop)
    lanes = len(run.record.seeds)
    best_seed = finished.record.seeds.index(finished.saved.record.best_seed)
    of_theirs = [0, 1] if lanes == 2 else [best_seed] * lanes
    begun, theirs = polyak.load("new").saved.tree("final"), finished.saved.tree("final")
    jax.tree.map(lambda new, old: np.testing.assert_array_equal(new, old[of_theirs]), begun, theirs)
    assert run.record.config == finished.record.config
    assert "had learned after 400 steps, " in run.record.fitted[-1]
    assert ("each seed's counterpart" if lanes == 2 else f"its seed {best_seed}") in run.record.fitted[-1]


def stop(progress: polyak.Progress) -> bool:
    """End training at its first report, which is within the warm-up: nothing is learned before."""
    assert progress.updates[0] == 0
    return True


def test_a_run_that_started_from_another_resumes_to_the_same_bits(finished: polyak.Run):
    plan = {**small.PLAN, "evaluations": 0}
    begin: dict[str, Any] = {"algorithm": "ddpg", "env": small.ENV, "start_from": finished.folder, "steps": 200}
    one = polyak.train(**begin, plan=plan, out="one", seeds=2)
    assert not np.array_equal(*(jax.tree.leaves(run.saved.tree("final"))[0] for run in (one, finished)))
    with pytest.MonkeyPatch.context() as patch:
        small.before_iteration(patch, 9, small.press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            polyak.train(**begin, plan=plan, out="other", seeds=2)
    polyak.resume("other", env=small.ENV)
    small.assert_same_policies(one, polyak.load("other"))


def test_by_command_and_compiled(tmp_path: Any):
    flags = ["--config.actor-layers", "8", "--config.value-layers", "8", "--plan.evaluations", "0", "--seeds", "1"]
    compiled = ["--backend", "device", "--plan.score-episodes", "1", "--plan.rollout-length", "10", "--plan.envs", "2"]
    assert small.command("train", "a2c", "CartPole-v1", *flags, *compiled, "--steps", "40", "--out", "one") == 0
    words = ["train", "a2c", "CartPole-v1", *compiled, "--steps", "20", "--from", "one", "--plan.evaluations", "0"]
    assert small.command(*words, "--out", "two") == 0
    one, two = (polyak.load(name) for name in ("one", "two"))
    assert two.record.config == one.record.config
    assert "starts from what one had learned after 40 steps" in two.record.fitted[-1]
    assert two.record.updates == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"algorithm": "td3"}, "trained ddpg, whose settings do not fit td3: train the same algorithm"),
        (
            {"env": "Pendulum-v1"},
            "was trained on different spaces: observations of 3 numbers and actions Box.*2.*, not",
        ),
        ({"config": {"actor_layers": (9,)}}, "do not fit these settings: keep the settings of that run"),
        ({"config": {"normalize_observations": True}}, "do not fit these settings"),
        ({"preset": "paper"}, "do not fit these settings"),
        ({"start_from": "nowhere"}, "there is no run folder nowhere"),
    ],
    ids=str,
)
def test_what_cannot_be_started_from_is_refused(wrong: dict[str, Any], says: str, finished: polyak.Run):
    given = {"algorithm": "ddpg", "env": small.ENV, "start_from": finished.folder, "out": "new", **wrong}
    with pytest.raises(UsageError, match=says):
        polyak.train(**given)
