"""Ctrl-C at any moment: what the first press asks for, what the second ends, and that none is lost."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak.errors import Interrupted, RunError
from polyak.runs import files, interrupts
from polyak.runs.interrupts import SAVING, Interrupts, Stop, listening
from polyak.training import evaluate
from tests.fixtures import small


@pytest.fixture
def heard() -> Iterator[Interrupts]:
    with contextlib.suppress(Interrupted), listening() as heard:
        yield heard


def test_the_first_press_asks_and_the_second_interrupts(heard: Interrupts, capfd: pytest.CaptureFixture[str]):
    heard.patient = True
    heard.check()
    small.press_ctrl_c()
    assert capfd.readouterr().err == f"polyak: {SAVING}\n"
    assert (heard.asked, heard.final) == (True, False)
    with pytest.raises(Stop):
        heard.check()
    with pytest.raises(KeyboardInterrupt):
        small.press_ctrl_c()
    assert capfd.readouterr().err == ""


def test_a_press_that_was_swallowed_is_remembered(heard: Interrupts):
    with contextlib.suppress(KeyboardInterrupt):  # as callbacks of JAX's do
        small.press_ctrl_c()
    with pytest.raises(Stop):
        heard.check()


def test_what_a_press_leads_to_comes_out_as_one_sentence():
    @listening()
    def spoil() -> None:
        interrupts.active().last_words = lambda: "all is well"
        try:
            small.press_ctrl_c()
        except KeyboardInterrupt as error:
            raise ImportError("half a module") from error

    with pytest.raises(Interrupted, match="all is well") as interrupted:
        spoil()
    assert interrupted.value.__cause__ is None


def test_other_errors_come_out_as_they_are():
    @listening()
    def fail() -> None:
        interrupts.active().patient = True
        small.press_ctrl_c()
        raise RunError("disk")

    with pytest.raises(RunError, match="disk"):
        fail()


def test_a_short_write_is_not_interrupted(heard: Interrupts):
    with heard.holding():
        small.press_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        small.press_ctrl_c()


def test_inner_listening_is_the_outer_one_and_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with listening() as outer:
        with listening() as inner:
            assert inner is outer
        assert signal.getsignal(signal.SIGTERM) == outer._hear
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_hears_nothing(heard: Interrupts):
    found: list[Interrupts] = []
    thread = threading.Thread(target=lambda: found.append(interrupts.active()))
    thread.start()
    thread.join()
    assert found[0] is not heard


# in a process of the command's own


def process(script: str) -> "subprocess.Popen[str]":
    begin = "import os, signal, sys, time\nfrom polyak.runs.interrupts import listening\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", begin + script], env=environment, **pipes)


STUCK = """
import hashlib
with listening(guarded=True) as heard:
    heard.starting, heard.patient = {starting}, {patient}
    heard.held = True  # if it is not in C yet
    heard.last_words = lambda: "the checkpoint has 3"
    heard.before_force = lambda: print("forced", flush=True)
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # in C, where no handler of Python's runs
"""


@pytest.mark.parametrize(("starting", "patient"), [(False, True), (False, False), (True, False)])
def test_a_final_press_ends_a_process_that_is_stuck_in_c(starting: bool, patient: bool):
    stuck = process(STUCK.format(starting=starting, patient=patient))
    assert stuck.stdout.readline() == "ready\n"  # type: ignore[union-attr]
    if patient:
        stuck.send_signal(signal.SIGINT)
        assert stuck.stderr.readline() == f"polyak: {SAVING}\n"  # type: ignore[union-attr]
    stuck.send_signal(signal.SIGTERM)
    began = time.monotonic()
    out, err = stuck.communicate(timeout=30)
    assert (stuck.returncode, out, err) == (130, "forced\n", "polyak: the checkpoint has 3\n")
    assert time.monotonic() - began < (1 if starting else 2)


FORKS = """
ends = []
with listening(guarded={guarded}) as heard:
    heard.starting = False
    for _ in range(50):
        child = os.fork()
        if not child:
            time.sleep(60)
        os.kill(child, signal.SIGTERM)  # perhaps before the child has done anything
        ends.append(os.WTERMSIG(os.waitpid(child, 0)[1]))
    time.sleep(0.1)
    print(set(ends), heard.asked)
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_a_forked_helper_ends_when_it_is_told_to_and_is_not_taken_for_us(guarded: bool):
    out, err = process(FORKS.format(guarded=guarded)).communicate(timeout=30)
    assert (out, err) == ("{15} False\n", "")


def test_by_command_ctrl_c_while_modules_are_imported_is_one_line():
    started = small.in_a_process("list")
    small.wait_until_it_listens(started)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=30)
    assert (started.returncode, out, err) == (130, "", "polyak: stopped\n")


# in training


def test_ctrl_c_in_an_evaluation_is_heard_between_steps(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    step, steps = evaluate._step, list[int]()

    def counted(*arguments: Any) -> Any:
        steps.append(len(steps))
        if len(steps) == 3:
            small.press_ctrl_c()
        return step(*arguments)

    with monkeypatch.context() as patch:
        small.before_iteration(patch, 9, lambda: patch.setattr(evaluate, "_step", counted))
        with pytest.raises(KeyboardInterrupt) as interrupted:
            small.train("parts")
    assert re.match("stopped at [1-9][0-9]* of 400 steps; everything is saved", str(interrupted.value))
    assert 3 <= len(steps) <= 4
    small.assert_same_policies(polyak.resume("parts"), finished)
    assert small.rows(Path("parts/evaluations.csv")) == small.rows(finished.folder / "evaluations.csv")


@pytest.mark.parametrize(("number", "kept"), [(1, 0), (2, 0), (3, 180)])  # arrays, checkpoint.json, policies
def test_a_second_press_in_a_save_leaves_one_checkpoint_whole(
    number: int, kept: int, finished: polyak.Run, monkeypatch: pytest.MonkeyPatch
):
    replace, count = os.replace, 0

    def pressed(*paths: Any) -> None:
        nonlocal count
        count += 1
        if count == number:
            small.press_ctrl_c()
        replace(*paths)

    def press() -> None:
        small.press_ctrl_c()
        monkeypatch.setattr(files.os, "replace", pressed)

    with monkeypatch.context() as patch:
        small.before_iteration(patch, 18, press)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            small.train("parts")
        monkeypatch.setattr(files.os, "replace", replace)
    assert json.loads(Path("parts/checkpoint/checkpoint.json").read_text())["env_steps"] == [kept, kept]
    assert isinstance(interrupted.value, Interrupted)
    assert polyak.load("parts").record.status == "interrupted"
    small.assert_same_policies(polyak.resume("parts"), finished)


def test_ctrl_c_in_the_last_save_leaves_out_the_scores(monkeypatch: pytest.MonkeyPatch):
    save = polyak.runs.session.Session.save

    def pressed(session: Any) -> None:
        if session.loop.counts.done:
            small.press_ctrl_c()
        save(session)

    with monkeypatch.context() as patch:
        patch.setattr(polyak.runs.session.Session, "save", pressed)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            small.train("parts")
    assert (
        str(interrupted.value) == 'stopped at 400 of 400 steps; everything is saved: polyak.resume("parts", trust=True)'
    )
    assert set(polyak.resume("parts").scores) == {"best", "final"}


def test_an_environment_that_fails_because_of_ctrl_c_is_interrupted():
    """A terminal sends it to the environment's helper processes too."""
    said = small.train_and_stop("parts", iteration=5, env="tests.fixtures.envs:Raising-v0", plan={"evaluations": 0})
    assert said == 'stopped at 40 of 400 steps; everything is saved: polyak.resume("parts", trust=True)'
    assert np.isfinite(polyak.load("parts").policy(np.zeros(3))).all()


@pytest.mark.slow
@pytest.mark.parametrize("presses", [1, 2])
def test_by_command_no_press_is_lost_and_every_end_says_how_to_go_on(presses: int):
    draws = random.Random(presses)
    for i in range(16):
        out = f"run-{i}"
        words = ["train", "ddpg", "tests.fixtures.envs:Slow-v0", *small.FLAGS, "--out", out, "--steps", "2000"]
        process = small.in_a_process(*words)
        small.wait_until_it_listens(process)
        time.sleep(draws.uniform(0.0, 6.0))
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(draws.uniform(0.0, 0.3))
        began = time.monotonic()
        _, err = process.communicate(timeout=30)
        took, last = time.monotonic() - began, err.splitlines()[-1]
        assert process.returncode == 130, (i, err)
        assert "Traceback" not in err
        assert took < 2 or presses == 1
        trained = Path(out, "checkpoint", "checkpoint.json").exists() and "before training" not in last
        assert f"polyak resume {out}" in last if trained else last.startswith("polyak: stopped")
