"""The command as its user meets it: what it prints where, and its exit codes."""

import ast
import contextlib
import dataclasses
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import typing
from pathlib import Path
from typing import Any, Literal

import gymnasium
import imageio.v3 as imageio
import pytest

import polyak
from polyak.algorithms.ddpg import Config
from polyak.cli import main
from polyak.runs import run as runs
from polyak.training.plan import Plan

WORLDS = "tests.runs.worlds"
ENV = f"{WORLDS}:Lopsided-v0"
TRAIN = ["train", "ddpg", ENV]
SMALL = [
    *("--config.actor-layers", "8", "--config.critic-joint-layers", "8", "--plan.chunk", "10", "--plan.batch", "8"),
    *("--plan.capacity", "150", "--plan.warmup", "40", "--steps", "200"),
    *("--plan.evaluations", "2", "--plan.evaluation-episodes", "2", "--plan.score-episodes", "3"),
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """A run trained by the command: its folder, and what `--json` printed."""
    folder, printed = str(tmp_path_factory.mktemp("runs") / "trained"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        main([*TRAIN, *SMALL, "--seeds", "2", "--seed", "5", "--out", folder, "--json"])
    return folder, json.loads(printed.getvalue())


def run(*words: str) -> int:
    """Run the command in this process; return its exit code."""
    try:
        main(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def in_a_process(*words: str, **options: Any) -> "subprocess.Popen[str]":
    """Start the command as a process of its own, which finds the worlds of these tests."""
    paths = {"PYTHONPATH": str(Path(__file__).parents[1])}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "polyak.cli", *words], env={**os.environ, **paths}, **pipes)


# wrong requests

WRONG = {
    "trian": "unknown command 'trian': did you mean 'train'?",
    "train": "for example: polyak train ddpg Pendulum-v1",
    "train ddpg": "for example: polyak train ddpg Pendulum-v1",
    "train dgpd Pendulum-v1": "unknown algorithm 'dgpd': did you mean 'ddpg'?",
    "train polyak.draws Pendulum-v1": "is not an algorithm",
    "train ddpg Pendulm-v1": "unknown environment 'Pendulm-v1': did you mean 'Pendulum-v1'?",
    "train ddpg Pendulum-v99": "unknown environment 'Pendulum-v99'",
    "train ddpg no_such_module:Thing-v0": "no module 'no_such_module'",
    f"train ddpg {WORLDS}:Lopsded-v0": "did you mean 'Lopsided-v0'?",
    "train ddpg CartPole-v1": "ddpg does not take Discrete actions, which CartPole-v1 has (Discrete(2))",
    f"train ddpg {WORLDS}:Unbounded-v0": "is unbounded: wrap the environment in gymnasium.wrappers.RescaleAction",
    f"train ddpg {WORLDS}:Empty-v0": "is empty",
    f"train ddpg {WORLDS}:Sizeless-v0": "is empty",
    f"train ddpg {WORLDS}:Several-v0": "actions are a MultiDiscrete space: use Box or Discrete",
    f"train ddpg {WORLDS}:Images-v0": "observations are images (8, 8, 3), which are not supported yet",
    f"train ddpg {WORLDS}:Worded-v0": "observations are a Text space",
    "train ddpg Pendulum-v1 --confg.gamma 1": "unknown flag --confg.gamma: did you mean '--config.gamma'?",
    "train ddpg Pendulum-v1 --config.gama 1": "unknown flag --config.gama: did you mean '--config.gamma'?",
    "train ddpg Pendulum-v1 --plan.chnk=3": "did you mean '--plan.chunk'?",
    "train ddpg Pendulum-v1 --config.gamma 3": "gamma = 3.0 is too large: it must be at most 1",
    "train ddpg Pendulum-v1 --config.gamma nan": "gamma is not a number",
    "train ddpg Pendulum-v1 --config.loss hubr": "'huber'",
    "train ddpg Pendulum-v1 --preset papr": "ddpg has no preset 'papr': did you mean 'paper'?",
    "train ddpg Pendulum-v1 --steps": "--steps",
    "train ddpg Pendulum-v1 --steps many": "--steps",
    "train ddpg Pendulum-v1 --steps 0": "env_steps = 0 is too small: it must be at least 1",
    "train ddpg Pendulum-v1 --steps -5": "env_steps = -5 is too small",
    "train ddpg Pendulum-v1 --seeds 0": "seeds is too small: it must be at least 1",
    "train ddpg Pendulum-v1 --seeds -2": "seeds is too small",
    "train ddpg Pendulum-v1 --seed -1": "from 0 to",
    "train ddpg Pendulum-v1 --plan.batch 0": "batch = 0 is too small",
    "train ddpg Pendulum-v1 --plan.capacity 0": "capacity = 0 is too small",
    "train ddpg Pendulum-v1 --plan.capacity -1": "capacity = -1 is too small",
    "train ddpg Pendulum-v1 --plan.envs 0": "envs = 0 is too small",
    "train ddpg Pendulum-v1 --plan.chunk 0": "chunk = 0 is too small",
    "train ddpg Pendulum-v1 --plan.updates 0": "updates = 0.0 is too small",
    "train ddpg Pendulum-v1 --plan.batch 100 --plan.capacity 90": "batch = 100 is larger than capacity = 90",
    "train ddpg Pendulum-v1 --steps 900": "warmup = 1000 leaves none of env_steps = 900",
    "train ddpg Pendulum-v1 --plan.warmup 20000": "warmup = 20000 leaves none of env_steps = 20000",
    "train ddpg Pendulum-v1 --plan.envs 3": "env_steps = 20000 is not a multiple of envs = 3: use 20001",
    f"train ddpg Pendulum-v1 --steps {10**12} --plan.capacity {10**12}": "GiB of memory: use a capacity of",
    "resume": "polyak resume RUN",
    "resume nowhere": "there is no run folder nowhere",
    "evaluate nowhere": "there is no run folder nowhere",
    "evaluate .": ". holds no run: it has no run.json",
    "evaluate a b": "name one run folder",
    "watch nowhere": "there is no run folder nowhere",
    "plot": "plot which runs?",
    "plot nowhere": "there is no run folder nowhere",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_request_is_one_line_and_leaves_nothing(words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert run(*words.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("polyak: error: ")
    assert WRONG[words] in err
    assert not list(tmp_path.iterdir())


def test_a_wrong_request_about_a_run(trained: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]):
    wrong = {
        "evaluate --which worst": "'best', 'final'",
        "evaluate --episodes 0": "episodes = 0 is too small",
        "evaluate --epsodes 3": "did you mean '--episodes'?",
        "resume": "is finished: there is nothing to resume",
        "watch --record agent.txt": "use a name ending in .gif or .mp4",
        "watch --record agent.gif --seed 3": "the run has no seed 3: its seeds are 5, 6",
        "plot --out curves.txt": "use a name ending in .png",
    }
    for words, says in wrong.items():
        command, *flags = words.split()
        assert run(command, trained[0], *flags) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert says in err


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def missing(*_: Any, **__: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("Box2D is not installed, run `pip install swig`\nand more")

    monkeypatch.setattr(gymnasium, "make", missing)
    assert run("train", "ddpg", "LunarLanderContinuous-v3") == 2
    assert capsys.readouterr().err == (
        'polyak: error: LunarLanderContinuous-v3 needs a package that is missing: pip install "polyak[box2d]"\n'
    )


def test_a_folder_that_holds_a_run_is_kept_unless_forced(
    trained: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    before = (Path(trained[0]) / "run.json").read_bytes()
    assert run(*TRAIN, *SMALL, "--out", trained[0]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert run(*TRAIN, *SMALL, "--out", trained[0], "--force", "--config.gamma", "7") == 2
    assert (Path(trained[0]) / "run.json").read_bytes() == before


def test_a_wrong_request_in_a_process_of_its_own():
    process = in_a_process("train", "ddpg", f"{WORLDS}:Unbounded-v0")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, len(err.splitlines())) == (2, "", 1)


# flags

FIELDS = [("config", field) for field in dataclasses.fields(Config)] + [("plan", f) for f in dataclasses.fields(Plan)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command is about to train with, which then is not done."""
    asked: dict[str, Any] = {}

    def remember(algorithm: Any, config: Any, plan: Plan, worlds: Any, seeds: list[int]) -> None:
        asked.update(config=config, plan=plan, seeds=seeds)
        worlds.close()
        raise polyak.RunError("not now")

    monkeypatch.setattr(runs, "Training", remember)
    return asked


def another(group: str, field: "dataclasses.Field[Any]") -> tuple[list[str], Any]:
    """Return flags that give a field another value than its default, and the value."""
    flag = f"--{group}.{field.name.replace('_', '-')}"
    kind = typing.get_type_hints(Config if group == "config" else Plan)[field.name]
    if kind is bool:
        return [flag.replace(".", ".no-") if field.default else flag], not field.default
    if kind is int:
        return [flag, str(field.default * 2 or 2)], field.default * 2 or 2
    if typing.get_origin(kind) is Literal:
        choice = next(choice for choice in typing.get_args(kind) if choice != field.default)
        return [flag, choice], choice
    return ([flag, "32", "16"], (32, 16)) if typing.get_origin(kind) is tuple else ([flag, "0.25"], 0.25)


@pytest.mark.parametrize(("group", "field"), FIELDS, ids=[f"{group}.{field.name}" for group, field in FIELDS])
def test_every_setting_has_a_flag(group: str, field: "dataclasses.Field[Any]", asked: dict[str, Any]):
    flags, value = another(group, field)
    assert run("train", "ddpg", "MountainCarContinuous-v0", *flags) == 1
    unset = {"config": Config(), "plan": Plan(warmup=5_000)}  # as the default preset has it
    expected = {**unset, group: dataclasses.replace(unset[group], **{field.name: value})}
    assert {"config": asked["config"], "plan": asked["plan"]} == expected


def test_the_other_flags_of_train(asked: dict[str, Any]):
    run("train", "ddpg", "Pendulum-v1", "--seed", "3", "--seeds", "2", "--out", "x/y", "--steps", "5000")
    assert (asked["seeds"], asked["plan"].env_steps) == ([3, 4], 5000)
    assert Path("x/y").is_dir()
    run("train", "ddpg", "Pendulum-v1", "--preset=review", "--config.tau", "0.5")
    assert (asked["config"].bound, asked["config"].tau, asked["plan"].env_steps) == ("clip", 0.5, 40_000)


@pytest.mark.parametrize(
    "flags",
    [
        "--steps 100000 --plan.warmup 50000",
        "--steps 3000 --plan.envs 3 --plan.warmup 999",
        "--steps 500 --plan.warmup 100",
    ],
)
def test_steps_count_before_the_plan_is_judged(flags: str, asked: dict[str, Any]):
    assert run("train", "ddpg", "Pendulum-v1", *flags.split()) == 1
    assert asked


def test_help_explains_every_flag(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert run("train", "ddpg", "Pendulum-v1", "--help") == 0
    printed = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    for group, field in FIELDS:
        assert f"--{group}.{field.name.replace('_', '-')}" in printed
    for cls in (Config, Plan):
        for explanation in _explanations(cls):
            assert explanation in printed


def _explanations(cls: type) -> list[str]:
    """Collect the docstrings of a dataclass's fields: strings that stand alone, without its own and its methods'."""
    body = typing.cast(ast.ClassDef, ast.parse(inspect.getsource(cls)).body[0]).body[1:]
    texts = [node.value.value for node in body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    assert len(texts) == len(dataclasses.fields(cls))
    return [" ".join(str(text).split()) for text in texts]


def test_help_is_quick():
    code = "import sys; from polyak.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("train", "resume", "evaluate", "watch", "plot", "list"):
        assert f"polyak {command}" in done.stdout
    for slow in ("jax", "gymnasium", "matplotlib", "scipy", "numpy"):
        assert f"'{slow}'" not in done.stderr


@pytest.mark.parametrize("words", ["", "--help", "-h", "train --help", "--version"])
def test_questions_are_answered(words: str, capsys: pytest.CaptureFixture[str]):
    assert run(*words.split()) == 0
    out, err = capsys.readouterr()
    assert "polyak" in out
    assert err == ""


@pytest.mark.parametrize("command", ["resume", "evaluate", "watch", "plot"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]):
    assert run(command, "--help") == 0
    assert f"usage: polyak {command} RUN" in capsys.readouterr().out


def test_the_list_names_what_there_is(capsys: pytest.CaptureFixture[str]):
    assert run("list") == 0
    out = capsys.readouterr().out
    for name in ("ddpg", "default", "tutorial", "review", "paper", "Pendulum-v1", "module:Id"):
        assert name in out


# what is printed


def test_json_of_training_holds_the_scores(trained: tuple[str, dict[str, Any]]):
    folder, printed = trained
    assert printed.keys() == {"run", "scores", "seconds"}
    assert printed["run"] == folder
    assert printed["scores"] == polyak.load(folder).scores
    assert [row["seed"] for row in printed["scores"]["final"]["per_seed"]] == [5, 6]


def test_json_of_an_evaluation_is_one_object(trained: tuple[str, dict[str, Any]], capfd: pytest.CaptureFixture[str]):
    assert run("evaluate", trained[0], "--episodes", "4", "--which", "final", "--json") == 0
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert err == ""
    assert (result["which"], result["episodes"], result["deterministic"]) == ("final", 4, True)
    assert len(result["ci95"]) == 2
    assert result.keys() >= {"return_mean", "return_std", "return_iqm", "length_mean"}
    assert [row.keys() for row in result["per_seed"]] == [{"seed", "return_mean", "return_std", "length_mean"}] * 2
    assert run("evaluate", trained[0], "--episodes", "4", "--explore", "--seed", "9", "--json") == 0
    assert json.loads(capfd.readouterr().out)["deterministic"] is False


def test_an_evaluation_is_shown_as_a_table(trained: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]):
    assert run("evaluate", trained[0], "--episodes", "3") == 0
    out = capsys.readouterr().out
    assert "without exploration, 3 fresh episodes per seed" in out
    scores = polyak.load(trained[0]).scores["best"]
    for row in scores["per_seed"]:
        assert f"{row['seed']}" in out
        assert f"{row['return_mean']:.1f} ± {row['return_std']:.1f}" in out
    assert f"{scores['return_iqm']:.1f} [{scores['ci95'][0]:.1f}, {scores['ci95'][1]:.1f}]" in out
    assert "over seeds" in out


def test_quiet_training_prints_nothing(capfd: pytest.CaptureFixture[str]):
    assert run(*TRAIN, *SMALL, "--out", "quiet", "--quiet") == 0
    assert capfd.readouterr() == ("", "")
    assert polyak.load("quiet").facts["status"] == "finished"


def test_training_shows_progress_and_a_table(capsys: pytest.CaptureFixture[str]):
    assert run(*TRAIN, *SMALL, "--out", "shown") == 0
    out, err = capsys.readouterr()
    assert "200 of 200 steps" in err
    assert "best policy" in out
    assert "final policy" in out
    assert "over episodes" in out  # a single seed has no spread but that
    assert "run: shown  (polyak watch shown)" in out


def test_a_run_is_recorded_and_plotted(trained: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]):
    assert run("watch", trained[0], "--record", "agent.gif", "--seed", "6", "--which", "final") == 0
    assert capsys.readouterr().out.startswith("agent.gif: 1 episode, return ")
    assert len(imageio.imread("agent.gif")) > 2
    assert run("plot", trained[0], trained[0], "--out", "curves.png") == 0
    assert imageio.imread("curves.png").shape[:2] == (600, 960)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_watching_without_a_display_says_how_to_record(
    trained: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert run("watch", trained[0]) == 2
    assert "record instead, with --record agent.gif" in capsys.readouterr().err


# what goes wrong on the way


@pytest.mark.parametrize("world", ["Raising", "Blind"])
def test_a_failing_environment_is_one_line(world: str, capfd: pytest.CaptureFixture[str]):
    env = f"{WORLDS}:{world}-v0"
    assert run("train", "ddpg", env, *SMALL, "--plan.evaluations", "0", "--out", "failed", "--seed", "8", "--json") == 1
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    for word in ("polyak: error: the environment", "step", "of seed 8", "episode"):
        assert word in err
    facts = polyak.load("failed").facts
    assert (facts["status"], facts["env_steps"]) == ("failed", 40)
    assert Path("failed/metrics.csv").read_text().count("\n") == 5
    assert Path("failed/checkpoint/checkpoint.json").exists()


def test_ctrl_c_says_how_to_resume_and_resuming_finishes(capsys: pytest.CaptureFixture[str]):
    process = in_a_process("train", "ddpg", f"{WORLDS}:Slow-v0", *SMALL, "--out", "run", "--plan.score-episodes", "1")
    while process.poll() is None and not _lines("run/metrics.csv"):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "polyak resume run" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert polyak.load("run").facts["status"] == "interrupted"
    assert run("resume", "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["run"] == "run"
    assert polyak.load("run").facts["status"] == "finished"


def _lines(path: str) -> int:
    return Path(path).read_text().count("\n") if Path(path).exists() else 0
