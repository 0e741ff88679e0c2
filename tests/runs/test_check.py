"""`polyak.check_env` and `polyak check`: the report in words and in JSON, and the exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak.algorithms import REGISTRY
from polyak.errors import UsageError
from polyak.types import Discrete
from tests.fixtures.small import ENV, command, in_a_process
from tests.fixtures.small_faults import Good, with_

WORLDS = "tests.fixtures.envs"


def test_a_report_in_words():
    report = polyak.check_env("MountainCar-v0", steps=50, episodes=1)
    first, _, *described = str(report).splitlines()
    assert first == "polyak can train on MountainCar-v0"
    assert described[0] == "  observation  2 numbers"
    assert described[1] == "  action       one of 3"
    assert "  time limit   200 steps" in described
    assert "  random play  1 episode of 50 steps, return -50" in described
    able = [name for name, module in REGISTRY.items() if Discrete in module.acts_on]
    assert f"  algorithms   {', '.join(able)}" in described
    assert "1 warning:" in described
    assert (report.exit_code, report.errors, len(report.warnings)) == (0, [], 1)


def test_nothing_to_say():
    assert str(polyak.check_env("CartPole-v1", steps=50)).endswith("\n\nNo problems found.")


class Outer:
    """Holds an environment that can be found by its name."""

    class Endless(Good):
        length = 10**9


def test_what_train_would_say_is_said():
    nameless, limitless = polyak.check_env(with_(length=10**9), steps=20).warnings
    assert "cannot be found by this name later" in nameless
    assert "has no time limit: evaluation episodes are cut after" in limitless
    assert [said[-20:] for said in polyak.check_env(Outer.Endless, steps=20).warnings] == [limitless[-20:]]
    assert polyak.check_env(Good, steps=20).warnings == []  # truncates by itself


def test_wrong_arguments_are_refused():
    with pytest.raises(UsageError, match="give a callable that makes the environment"):
        polyak.check_env(Good())
    with pytest.raises(UsageError, match="steps = 0 is too small"):
        polyak.check_env(Good, steps=0)
    with pytest.raises(UsageError, match="env_kwargs"):
        polyak.check_env(Good, env_kwargs={"a": object()})


@pytest.mark.parametrize(
    ("env", "code", "printed"),
    [
        (ENV, 0, "polyak can train on"),
        ("Unbounded-v0", 2, "is unbounded"),
        ("Exiting-v0", 1, "it called sys.exit(0)"),
        ("Blind-v0", 1, "an observation that is not finite"),
        ("Missing-v0", 2, "no such id is registered"),
    ],
)
def test_exit_codes(env: str, code: int, printed: str, capsys: pytest.CaptureFixture[str]):
    assert command("check", env if ":" in env else f"{WORLDS}:{env}", "--steps", "60") == code
    out, err = capsys.readouterr()
    assert (printed in " ".join(out.split()), err) == (True, "")


def test_arguments_of_the_environment(capsys: pytest.CaptureFixture[str]):
    unbounded = ("check", f"{WORLDS}:Unbounded-v0", "--steps=30", "--env.action-bounds", "-1", "1")
    assert command(*unbounded, "--env.max-episode-steps", "6") == 0
    assert "time limit   6 steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name one environment to check, for example: polyak check CartPole-v1"),
        (["CartPole-v1", "Pendulum-v1"], "name one environment to check,"),
        (["CartPole-v1", "--steps", "0"], "steps = 0 is too small"),
        (["CartPole-v1", "--step", "9"], "did you mean '--steps'?"),
    ],
)
def test_wrong_words(words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert command("check", *words) == 2
    assert message in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]):
    assert command("check", "--help") == 0
    assert "--episodes" in capsys.readouterr().out


def test_json_is_one_object_whatever_is_printed(tmp_path: Path):
    process = in_a_process("check", f"{WORLDS}:Talking-v0", "--json", "--steps", "40", cwd=tmp_path)
    out, _ = process.communicate(timeout=60)
    report: dict[str, Any] = json.loads(out)
    assert (process.returncode, report["can_be_trained"], report["errors"]) == (0, True, [])
    assert [said[:28] for said in report["warnings"]] == ["it prints to standard output"]
    assert report["facts"]["limit"] is None
