"""Whose code runs: what the user types is imported; what a run's files name is not, unless the user says so."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak import UsageError
from polyak.envs.names import from_name, refuse_untrusted
from polyak.errors import command_line
from polyak.runs import trust
from tests.fixtures import small, tampering
from tests.fixtures.envs import Lopsided

SHADOWS = (
    *("jax.py", "numpy/__init__.py", "matplotlib.py", "gymnasium.py"),
    *("rich.py", "tyro.py", "conftest.py", "mujoco.py"),
)
RUNS_CODE = "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch(); raise SystemExit(99)\n"


@pytest.fixture
def given(finished: polyak.Run, tmp_path: Path) -> Path:
    """A run that somebody gives away, in a folder of its own."""
    return shutil.copytree(finished.folder, tmp_path / "given")


@pytest.mark.parametrize(
    "name",
    ["os:abort", "http.server:test", "builtins:breakpoint", "pytest:main", "hostile:Env", "hostile:Other-v0", "a:b:c"],
)
def test_an_environment_that_a_file_names_is_not_imported(name: str, given: Path, monkeypatch: pytest.MonkeyPatch):
    (given / "hostile.py").write_text(RUNS_CODE)
    monkeypatch.syspath_prepend(given)
    tampering.change(given, "run.json", env=name, status="interrupted")
    run = polyak.load(given)
    for use in (lambda: run.evaluate(1), lambda: polyak.resume(given), run.source):
        with pytest.raises(UsageError) as refused:
            use()
        assert f"run.json names the environment '{name}', which would import {name.partition(':')[0]} and" in str(
            refused.value
        )
        assert "pass trust=True" in str(refused.value)
    assert "hostile" not in sys.modules
    assert run.policy(np.zeros(3)).shape == (2,)  # acting needs no environment


@pytest.mark.parametrize("name", ["hostile", "polyak.cli", "os", "antigravity", "hostile.deeper"])
def test_an_algorithm_that_a_file_names_is_not_imported(name: str, given: Path, monkeypatch: pytest.MonkeyPatch):
    (given / "hostile.py").write_text(RUNS_CODE)
    monkeypatch.syspath_prepend(given)
    for file in ("run.json", "policy/policy.json"):
        tampering.change(given, file, algorithm=name)
    tampering.change(given, "run.json", status="interrupted")
    uses: list[Any] = [lambda: polyak.load(given).policy, lambda: polyak.load(given).evaluate(1, env=Lopsided)]
    for use in (*uses, lambda: polyak.resume(given, env=Lopsided)):
        with pytest.raises(UsageError, match=f"names the algorithm '{name}', which would import {name} and"):
            use()
    assert "hostile" not in sys.modules
    assert "antigravity" not in sys.modules


def test_what_is_registered_needs_no_trust(given: Path):
    assert from_name("Pendulum-v1", given) == "Pendulum-v1"
    assert from_name(small.ENV, given) == "Lopsided-v0"  # these tests have registered it: nothing is imported for it
    assert polyak.load(given).evaluate(1)["episodes"] == 1


@pytest.mark.parametrize(
    ("changed", "needed"),
    [
        ({}, False),
        ({"env": "module:Id-v0"}, True),
        ({"env": "module:Outer.Env"}, True),
        ({"env": "__main__:World"}, False),  # trust does not help: it cannot be found
        ({"env": "module:<lambda>"}, False),
        ({"env_kwargs": {"file": "robot.xml"}}, True),
        ({"env_kwargs": {"g": 9.8}}, False),
        ({"algorithm": "own_algorithm"}, True),
    ],
    ids=str,
)
def test_a_command_for_a_run_has_the_word_of_trust_where_it_is_needed(changed: dict[str, Any], needed: bool):
    record = small.record(**changed)
    assert trust.command("resume", "runs/a", record) == f'polyak.resume("runs/a"{", trust=True" * needed})'
    with command_line():
        assert trust.command("watch", "runs/a", record) == f"polyak watch runs/a{' --trust' * needed}"


def test_an_environment_that_the_user_gives_needs_no_trust(given: Path):
    tampering.change(given, "run.json", env="os:abort", status="interrupted")
    assert polyak.load(given).evaluate(1, env=Lopsided)["episodes"] == 1


def test_with_trust_names_are_imported(given: Path):
    tampering.change(given, "run.json", env="tests.fixtures.envs:Lopsided")
    with pytest.raises(UsageError, match="would import tests"):
        polyak.load(given).evaluate(1)
    assert polyak.load(given, trust=True).evaluate(1)["episodes"] == 1
    assert small.command("evaluate", str(given), "--episodes", "1") == 2
    assert small.command("evaluate", str(given), "--episodes", "1", "--trust") == 0


def test_arguments_that_could_name_files_or_modules_are_not_passed(given: Path):
    refuse_untrusted({"g": 9.8, "sutton_barto_reward": True, "map_name": "8x8", "limit": None}, given)
    for wrong in ("http://x", "../robot.xml", "os:abort", "a.b", ["x.xml"], {"path": "x"}):
        with pytest.raises(UsageError, match=r"has the argument file = .*, which may name a file or a module: if you"):
            refuse_untrusted({"file": wrong}, given)
        refuse_untrusted({"file": wrong}, None)
    tampering.change(given, "run.json", env_kwargs={"file": "robot.xml"})
    with pytest.raises(UsageError, match="has the argument file"):
        polyak.load(given).evaluate(1)


def run_command(where: Path, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in a folder, as its installed script does."""
    script = where.parent / "bin" / "polyak"
    script.parent.mkdir(exist_ok=True)
    script.write_text("from polyak.cli.main import main\nmain()\n")
    paths = {"PYTHONPATH": str(Path(polyak.__file__).parents[1]), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, str(script), *words],
        cwd=where,
        env={**os.environ, **paths, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "words", ["evaluate . --episodes 1", "plot . --out curve.png", "list", "train ddpg Pendulum-v1 --help"]
)
def test_modules_beside_a_run_are_not_run(words: str, given: Path):
    tampering.change(given, "run.json", env="Pendulum-v1")
    for name in SHADOWS:
        (given / name).parent.mkdir(exist_ok=True)
        (given / name).write_text(RUNS_CODE)
    done = run_command(given, *words.split())
    assert done.returncode == (2 if "evaluate" in words else 0), done.stderr  # of an environment with other spaces
    assert "Traceback" not in done.stderr
    assert not list(given.rglob("*.ran"))


@pytest.mark.parametrize("safe", ["", "1"])
def test_the_users_own_modules_are_found_in_the_current_folder_after_all_others(safe: str, tmp_path: Path):
    here = tmp_path / "here"
    here.mkdir()
    (here / "my_world.py").write_text("import jax, numpy\nraise RuntimeError('found ' + str(jax.__version__ > '0'))\n")
    (here / "jax.py").write_text(RUNS_CODE)
    done = run_command(here, "train", "ddpg", "my_world:Own-v0", PYTHONSAFEPATH=safe)
    assert done.returncode == 2
    assert ("there is no module 'my_world'" if safe else "RuntimeError: found True") in done.stderr
    assert not list(here.rglob("*.ran"))


def test_a_folder_of_its_own_comes_last_where_python_is_asked_for_the_module(tmp_path: Path):
    for name in SHADOWS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(RUNS_CODE)
    with small.in_a_process("list", cwd=tmp_path) as process:
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert not list(tmp_path.rglob("*.ran"))
