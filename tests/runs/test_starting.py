"""Runs that start from another run: from its settings."""

import shutil
import sys
from typing import Any

import pytest

import polyak
from polyak import UsageError
from tests.runs import small


def test_a_run_like_another_has_the_same_bits(finished: polyak.Run):
    again = polyak.train(like=finished.folder, out="again", trust=True)
    small.assert_same_policies(again, finished)
    told = {"started", "updated", "seconds", "commit"}
    assert {k: v for k, v in again.facts.items() if k not in told} == {
        k: v for k, v in finished.facts.items() if k not in told
    }


def test_by_command_what_is_given_differs(finished: polyak.Run):
    changes = ["--steps", "100", "--seeds", "7", "--seed", "2", "--config.gamma", "0.5", "--plan.score-episodes", "1"]
    assert small.command("train", "--like", str(finished.folder), *changes, "--seeds", "1", "--out", "new") == 0
    facts, before = polyak.load("new").facts, polyak.load(finished.folder).facts
    assert (facts["seeds"], facts["config"]["gamma"], facts["env_steps"]) == ([2], 0.5, 100)
    assert facts["config"] == {**before["config"], "gamma": 0.5}
    changed = {"env_steps": 100, "score_episodes": 1, "warmup": 20}
    assert facts["plan"] == {**before["plan"], **changed}
    assert facts["fitted"] == ["to fit 100 steps: warmup = 20 instead of 40"]


@pytest.mark.parametrize("words", [["Pendulum-v1"], ["ddpg", "Pendulum-v1"], ["Pendulum-v1", "DDPG"]])
def test_another_environment(words: list[str], finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []
    monkeypatch.setattr("polyak.runs.request.make_worlds", lambda *given: asked.append(given) or pytest.skip())
    with pytest.raises(pytest.skip.Exception):
        polyak.cli.main(["train", *words, "--like", str(finished.folder)])  # type: ignore[attr-defined]
    _, source, lanes, plan = asked[0]
    assert (source.maker, lanes, plan.batch) == ("Pendulum-v1", [0, 1], 8)


def test_what_another_run_names_is_not_imported_without_trust(finished: polyak.Run, tmp_path: Any):
    shutil.copytree(finished.folder, tmp_path / "strange")
    path = tmp_path / "strange" / "run.json"
    path.write_text(path.read_text().replace('"algorithm": "ddpg"', '"algorithm": "antigravity"'))
    for run in (lambda: polyak.train(like="strange"), lambda: polyak.cli.main(["train", "--like", "strange"])):
        with pytest.raises((UsageError, SystemExit)):
            run()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"algorithm": "td3"}, "trained ddpg, whose settings are for no other algorithm"),
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
