"""Runs small enough for tests: tiny networks, a few hundred steps of a little world."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import polyak
from polyak.cli import main
from polyak.errors import Interrupted
from polyak.training.host import Training

ENV = "tests.runs.worlds:Lopsided-v0"
STEPS = 400
CONFIG = {"actor_layers": (8,), "critic_joint_layers": (8,)}
PLAN = {
    "rollout_length": 10,
    "batch": 8,
    "capacity": 150,
    "warmup": 40,
    "evaluations": 3,
    "evaluation_episodes": 2,
    "score_episodes": 3,
}

FLAGS = [  # the same, shorter, for the command
    *(
        "--config.actor-layers",
        "8",
        "--config.critic-joint-layers",
        "8",
        "--plan.rollout-length",
        "10",
        "--plan.batch",
        "8",
    ),
    *("--plan.capacity", "150", "--plan.warmup", "40", "--steps", "200"),
    *("--plan.evaluations", "2", "--plan.evaluation-episodes", "2", "--plan.score-episodes", "3"),
]


def train(out: Path | str, **changes: Any) -> polyak.Run:
    """Train two tiny agents; `config` and `plan` add to the small settings, all else replaces them."""
    merged = {"config": {**CONFIG, **changes.pop("config", {})}, "plan": {**PLAN, **changes.pop("plan", {})}}
    settings: dict[str, Any] = {"algorithm": "ddpg", "env": ENV, "steps": STEPS, "seeds": 2, **merged, **changes}
    return polyak.train(settings.pop("algorithm"), settings.pop("env"), out=out, **settings)


def before_iteration(monkeypatch: pytest.MonkeyPatch, number: int, happens: Any) -> None:
    """Let something happen just before one iteration, counted from 1, of the trainings in this test."""
    advance, count = Training.advance, 0

    def counted(training: Training) -> Any:
        nonlocal count
        count += 1
        if count == number:
            happens()
        return advance(training)

    monkeypatch.setattr(Training, "advance", counted)


def press_ctrl_c() -> None:
    """Send this process what Ctrl-C sends."""
    signal.raise_signal(signal.SIGINT)


def train_and_stop(out: Path | str, iteration: int, **changes: Any) -> str:
    """Train until Ctrl-C is pressed during an iteration; return what the interrupt said."""
    with pytest.MonkeyPatch.context() as patch:
        before_iteration(patch, iteration, press_ctrl_c)
        with pytest.raises(KeyboardInterrupt) as interrupted:  # wider than Interrupted: else pytest itself would stop
            train(out, **changes)
    assert isinstance(interrupted.value, Interrupted)
    return str(interrupted.value)


def command(*words: str) -> int:
    """Run the command in this process; return its exit code."""
    try:
        main(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def in_a_process(*words: str, **options: Any) -> "subprocess.Popen[str]":
    """Start the command as a process of its own, which finds the worlds of these tests."""
    paths = {"PYTHONPATH": str(Path(__file__).parents[2])}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, "-m", "polyak.cli", *words], env={**os.environ, **paths}, **{**pipes, **options}
    )


def wait_until_it_listens(process: "subprocess.Popen[str]") -> None:
    """Wait until a process hears requests to terminate: before that Python itself starts, and is what Ctrl-C ends."""
    heard, status = 0, Path(f"/proc/{process.pid}/status")
    while not heard >> signal.SIGTERM - 1 & 1:
        time.sleep(0.005)
        heard = int(status.read_text().partition("SigCgt:")[2].split()[0], 16)


def rows(path: Path, *columns: str) -> list[tuple[str, ...]]:
    """Read some columns of a CSV file, or all."""
    with open(path, newline="") as file:
        return [tuple(row[name] for name in columns or row) for row in csv.DictReader(file)]


def assert_same_policies(one: polyak.Run, other: polyak.Run) -> None:
    """Compare the policies of two runs bit for bit."""
    for which in ("final", "best"):
        for a, b in zip(*(jax.tree.leaves(run.saved.tree(which)) for run in (one, other)), strict=True):
            np.testing.assert_array_equal(a, b)
