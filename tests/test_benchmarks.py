"""The benchmarks are run by hand; that they can be imported, and say what they do, is seen here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if "import torch" not in path.read_text())


def test_there_are_programs() -> None:
    assert {"throughput", "claims", "steady_state", "learning", "scaling"} <= set(PROGRAMS)


def test_every_program_can_be_imported_without_the_peers() -> None:
    code = f"import importlib\nfor name in {PROGRAMS}: importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", ["throughput", "cold_start", "learning"])
def test_says_what_it_does(program: str) -> None:
    words = [sys.executable, f"{program}.py", "--help"]
    assert f"{program}.py" in subprocess.run(words, cwd=FOLDER, capture_output=True, text=True, check=True).stdout


def test_every_task_has_settings_that_a_plan_accepts() -> None:
    program = "import steady_state; [steady_state.polyak_settings(task) for task in steady_state.TASKS.values()]"
    subprocess.run([sys.executable, "-c", program], cwd=FOLDER, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["polyak", "device"])
def test_a_rate_is_measured(system: str) -> None:
    words = ["steady_state.py", system, "--task", "small", "--seconds", "0.1"]
    done = subprocess.run([sys.executable, *words], cwd=FOLDER, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["env_steps_per_second"] > 0
