"""The command as its user meets it: what it prints where, and its exit codes."""

import ast
import contextlib
import dataclasses
import inspect
import io
import json
import os
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any, Literal

import imageio.v3 as imageio
import pytest

import polyak
from polyak.algorithms import REGISTRY
from polyak.algorithms.ddpg import Config
from polyak.cli.main import main
from polyak.runs import execute
from polyak.training.plan import Plan
from polyak.training.plans import ReplayPlan, RolloutPlan
from tests.fixtures.small import ENV, FLAGS, command, in_a_process

WORLDS = "tests.fixtures.envs"
TRAIN = ["train", "ddpg", ENV]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """A run trained by the command: its folder, and what `--json` printed."""
    folder, printed = str(tmp_path_factory.mktemp("runs") / "trained"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        main([*TRAIN, *FLAGS, "--seeds", "2", "--seed", "5", "--out", folder, "--json"])
    return folder, json.loads(printed.getvalue())


def test_a_wrong_request_in_a_process_of_its_own():
    process = in_a_process("train", "ddpg", f"{WORLDS}:Unbounded-v0")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, len(err.splitlines())) == (2, "", 1)


# flags

FIELDS = [("config", field) for field in dataclasses.fields(Config)] + [
    ("plan", f) for f in dataclasses.fields(ReplayPlan)
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command is about to train with, which then is not done."""
    asked: dict[str, Any] = {}

    def remember(job: Any, devices: Any) -> None:
        asked.update(config=job.config, plan=job.plan, seeds=job.seeds)
        job.envs.close()
        raise polyak.RunError("not now")

    monkeypatch.setattr(execute, "HostLoop", remember)
    return asked


def another(group: str, field: "dataclasses.Field[Any]") -> tuple[list[str], Any]:
    """Return flags that give a field another value than its default, and the value."""
    flag = f"--{group}.{field.name.replace('_', '-')}"
    kind = typing.get_type_hints(Config if group == "config" else ReplayPlan)[field.name]
    if kind is bool:
        return [flag.replace(".", ".no-") if field.default else flag], not field.default
    if kind == int | None:
        return [flag, "7"], 7
    if kind is int:
        return [flag, str(field.default * 2 or 2)], field.default * 2 or 2
    if typing.get_origin(kind) is Literal:
        choice = next(choice for choice in typing.get_args(kind) if choice != field.default)
        return [flag, choice], choice
    return ([flag, "32", "16"], (32, 16)) if typing.get_origin(kind) is tuple else ([flag, "0.25"], 0.25)


@pytest.mark.parametrize(("group", "field"), FIELDS, ids=[f"{group}.{field.name}" for group, field in FIELDS])
def test_every_setting_has_a_flag(group: str, field: "dataclasses.Field[Any]", asked: dict[str, Any]):
    flags, value = another(group, field)
    plan = {"updates_per": "episode"} if field.name == "episodes" else {}  # which it needs
    flags += [word for name, choice in plan.items() for word in (f"--plan.{name}", choice)]
    assert command("train", "ddpg", "MountainCarContinuous-v0", "--seeds", "2", *flags) == 1  # 2 workers need 2 seeds
    unset: dict[str, Any] = {
        "config": Config(),
        "plan": ReplayPlan(warmup=5_000, **plan),
    }  # as the default preset has it
    expected = {**unset, group: dataclasses.replace(unset[group], **{field.name: value})}
    assert {"config": asked["config"], "plan": asked["plan"]} == expected


def test_the_other_flags_of_train(asked: dict[str, Any]):
    command("train", "ddpg", "Pendulum-v1", "--seed", "3", "--seeds", "2", "--out", "x/y", "--steps", "5000")
    assert (asked["seeds"], asked["plan"].env_steps) == ([3, 4], 5000)
    assert Path("x/y").is_dir()
    command("train", "ddpg", "Pendulum-v1", "--preset=tutorial-per-step", "--config.tau", "0.5")
    assert (asked["config"].bound, asked["config"].tau, asked["plan"].env_steps) == ("clip", 0.5, 40_000)


@pytest.mark.parametrize("words", ["DDPG Pendulum-v1", "Pendulum-v1 ddpg", "Pendulum-v1 Ddpg"])
def test_algorithms_are_found_in_any_case_and_order(words: str, asked: dict[str, Any]):
    assert command("train", *words.split(), "--steps", "2k", "--out", "x") == 1
    assert (asked["plan"].env_steps, asked["plan"].batch) == (2_000, 64)


def test_seeds_may_be_listed(asked: dict[str, Any]):
    command("train", "ddpg", "Pendulum-v1", "--seeds", "3,1,8")
    assert asked["seeds"] == [3, 1, 8]


def test_only_settings_that_are_not_given_shrink_with_the_run(asked: dict[str, Any]):
    command("train", "ddpg", "Pendulum-v1", "--steps", "500", "--plan.warmup_actions=policy")
    assert (asked["plan"].env_steps, asked["plan"].warmup, asked["plan"].warmup_actions) == (500, 100, "policy")
    command("train", "ddpg", "Pendulum-v1", "--steps", "2000", "--plan.warmup", "1000", "--plan.no-overlap")
    assert (asked["plan"].warmup, asked["plan"].overlap) == (1_000, False)


@pytest.mark.parametrize(
    "flags",
    [
        "--steps 100000 --plan.warmup 50000",
        "--steps 3000 --plan.envs 3 --plan.warmup 999",
        "--steps 500 --plan.warmup 100",
    ],
)
def test_steps_count_before_the_plan_is_judged(flags: str, asked: dict[str, Any]):
    assert command("train", "ddpg", "Pendulum-v1", *flags.split()) == 1
    assert asked


def test_help_explains_every_flag(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert command("train", "ddpg", "Pendulum-v1", "--help") == 0
    printed = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    for group, field in FIELDS:
        assert f"--{group}.{field.name.replace('_', '-')}" in printed
    for cls in (Config, *Config.__bases__, Plan, ReplayPlan):
        for explanation in _explanations(cls):
            assert explanation in printed


@pytest.mark.parametrize(("algorithm", "kind"), [("td3", ReplayPlan), ("ppo", RolloutPlan)])
def test_an_algorithm_has_the_flags_of_its_plan(algorithm: str, kind: type, capsys: pytest.CaptureFixture[str]):
    assert command("train", algorithm, "Pendulum-v1", "--help") == 0
    flags = set(re.findall(r"--plan\.(?:no-)?([a-z-]+)", capsys.readouterr().out))
    assert flags == {field.name.replace("_", "-") for field in dataclasses.fields(kind)}


def _explanations(cls: type) -> list[str]:
    """Collect the docstrings of a dataclass's fields: strings that stand alone, without its own and its methods'."""
    body = typing.cast(ast.ClassDef, ast.parse(inspect.getsource(cls)).body[0]).body[1:]
    texts = [node.value.value for node in body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    assert len(texts) == len(vars(cls)["__annotations__"])
    return [" ".join(str(text).split()) for text in texts]


def test_help_is_quick():
    code = "import sys; from polyak.cli.main import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in ("train", "resume", "evaluate", "watch", "plot", "list"):
        assert f"polyak {name}" in done.stdout
    for slow in ("jax", "gymnasium", "matplotlib", "scipy", "numpy"):
        assert f"'{slow}'" not in done.stderr


def test_help_of_training_begins_with_the_algorithms(capsys: pytest.CaptureFixture[str]):
    assert command("train", "--help") == 0
    assert re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE) == list(REGISTRY)
    assert command("train", "ddpg", "--help") == 0
    assert "--config.noise-sigma" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["", "--help", "-h", "train --help", "--version"])
def test_questions_are_answered(words: str, capsys: pytest.CaptureFixture[str]):
    assert command(*words.split()) == 0
    out, err = capsys.readouterr()
    assert "polyak" in out
    assert err == ""


@pytest.mark.parametrize("name", ["resume", "evaluate", "watch", "plot"])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]):
    assert command(name, "--help") == 0
    assert f"usage: polyak {name} RUN" in capsys.readouterr().out


def test_the_list_names_what_there_is(capsys: pytest.CaptureFixture[str]):
    assert command("list") == 0
    out = capsys.readouterr().out
    assert "MountainCarContinuous-v0 is not solved by default: its noise" in out
    for name in ("ddpg", "default", "tutorial", "tutorial-per-step", "paper", "Pendulum-v1", "module:Id"):
        assert name in out


# what is printed


def test_json_of_training_holds_the_scores(trained: tuple[str, dict[str, Any]]):
    folder, printed = trained
    assert printed.keys() == {"run", "scores", "seconds"}
    assert printed["run"] == folder
    assert printed["scores"] == polyak.load(folder).scores
    assert [row["seed"] for row in printed["scores"]["final"]["per_seed"]] == [5, 6]


def test_json_of_an_evaluation_is_one_object(trained: tuple[str, dict[str, Any]], capfd: pytest.CaptureFixture[str]):
    assert command("evaluate", trained[0], "--episodes", "4", "--which", "final", "--json") == 0
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert err == ""
    assert (result["which"], result["episodes"], result["deterministic"]) == ("final", 4, True)
    assert len(result["ci95"]) == 2
    assert result.keys() >= {"return_mean", "return_std", "return_iqm", "length_mean"}
    assert [row.keys() for row in result["per_seed"]] == [{"seed", "return_mean", "return_std", "length_mean"}] * 2
    assert command("evaluate", trained[0], "--episodes", "4", "--explore", "--seed", "9", "--json") == 0
    assert json.loads(capfd.readouterr().out)["deterministic"] is False


def test_an_evaluation_is_shown_as_a_table(trained: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]):
    assert command("evaluate", trained[0], "--episodes", "3") == 0
    out = capsys.readouterr().out
    assert "without exploration, 3 fresh episodes per seed" in out
    scores = polyak.load(trained[0]).scores["best"]
    for row in scores["per_seed"]:
        assert f"{row['seed']}" in out
        assert f"{row['return_mean']:.1f} ± {row['return_std']:.1f}" in out
    assert f"{scores['return_iqm']:.1f} [{scores['ci95'][0]:.1f}, {scores['ci95'][1]:.1f}]" in out
    assert "over seeds" in out


def test_quiet_training_prints_nothing(capfd: pytest.CaptureFixture[str]):
    assert command(*TRAIN, *FLAGS, "--out", "quiet", "--quiet") == 0
    assert capfd.readouterr() == ("", "")
    assert polyak.load("quiet").record.status == "finished"


def test_training_shows_progress_and_a_table(capsys: pytest.CaptureFixture[str]):
    assert command(*TRAIN, *FLAGS, "--out", "shown") == 0
    out, err = capsys.readouterr()
    assert "200 of 200 steps" in err
    assert "best policy" in out
    assert "final policy" in out
    assert "over episodes" in out  # a single seed has no spread but that
    assert "run: shown  (polyak watch shown --trust)" in out  # whose environment a new process must import


def test_a_run_is_recorded_and_plotted(trained: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]):
    assert command("watch", trained[0], "--record", "agent.gif", "--seed", "6", "--which", "final", "--explore") == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("episode 0: return ")
    assert last == "agent.gif: 1 episode of seed 6's policy, with exploration"
    assert len(imageio.imread("agent.gif")) > 2
    flags = ["--labels", "one", "other", "--title", "Both", "--what", "critic_loss", "--smooth", "3"]
    assert command("plot", trained[0], trained[0], "--out", "curves.png", *flags) == 0
    assert imageio.imread("curves.png").shape[:2] == (600, 960)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_watching_without_a_display_says_how_to_record(
    trained: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert command("watch", trained[0]) == 2
    assert "record instead, with --record agent.gif" in capsys.readouterr().err


def test_what_an_environment_prints_stays_out_of_the_json(capfd: pytest.CaptureFixture[str]):
    assert command("train", "ddpg", f"{WORLDS}:Talking-v0", *FLAGS, "--out", "talks", "--json") == 0
    assert json.loads(capfd.readouterr().out)["run"] == "talks"
    assert command("evaluate", "talks", "--episodes", "2", "--json") == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["episodes"] == 2
    for voice in ("I am alive", "so is my program", "and my code in C"):
        assert voice in err


def test_a_reader_that_closes_the_pipe_is_no_reason_to_complain():
    reads, writes = os.pipe()
    os.close(reads)
    process = in_a_process("--help", stdout=writes)
    os.close(writes)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
