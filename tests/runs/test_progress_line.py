"""The progress line, above all where standard error is full, closed, broken or not there."""

import errno
import io
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from polyak.runs.forgiving import Forgiving
from polyak.runs.progress_line import ProgressLine
from tests.fixtures import small


class Broken(io.StringIO):
    """A terminal that goes away after some writes."""

    def __init__(self, number: int, terminal: bool):
        super().__init__()
        self.left, self.terminal = number, terminal

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return super().write(text)

    def flush(self) -> None:
        if self.left <= 0:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def closed() -> Any:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {
    "none": lambda: None,
    "closed": closed,
    **{f"pipe broken after {n}": lambda n=n: Broken(n, terminal=False) for n in range(3)},
    **{f"terminal gone after {n}": lambda n=n: Broken(n, terminal=True) for n in (0, 1, 5)},
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_broken_standard_error_ends_nothing(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr(sys, "stderr", STREAMS[name]())
    monkeypatch.setenv("TERM", "xterm")
    progress = ProgressLine(total=1000, seeds=2, shown=True)
    progress.say("ddpg on Pendulum-v1")
    for steps in range(0, 1001, 50):
        progress.update(steps, steps / 1000)
    progress.say("done")
    progress.close()


@pytest.mark.parametrize("name", STREAMS)
def test_the_command_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr(sys, "stderr", STREAMS[name]())
    assert small.command("plot", "nowhere") == 2


def test_no_file_takes_the_place_of_a_closed_standard_error():
    code = "import os; from polyak.cli.main import main; main(['--version']); print(os.open(os.devnull, os.O_RDONLY))"
    words = ["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, "-c", code]
    assert int(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-1]) > 2


def test_a_full_device_ends_nothing(monkeypatch: pytest.MonkeyPatch):
    try:
        full = open("/dev/full", "w", buffering=1)  # noqa: SIM115
    except OSError:
        pytest.skip("there is no /dev/full here")
    monkeypatch.setattr(sys, "stderr", full)
    ProgressLine(total=1000, seeds=2, shown=True).say("ddpg on Pendulum-v1")
    monkeypatch.undo()
    with pytest.raises(OSError, match="No space"):
        full.close()


def test_a_stream_that_broke_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    stream = Broken(1, terminal=False)
    silent = Forgiving(stream)
    for text in ("a", "b", "c"):
        silent.write(text)
    assert (stream.getvalue(), stream.left) == ("a", -1)


def test_letters_that_the_stream_lacks_become_question_marks():
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="ascii", write_through=True)
    Forgiving(stream).write("ε → compiling…")
    assert content.getvalue() == b"? ? compiling?"


def test_the_progress_line_tells_quarters_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]):
    progress = ProgressLine(total=1000, seeds=2, shown=True)
    progress.returned([-10.0, -15.0, None])
    progress.evaluated(np.array([-12_345.6, np.nan]), np.array([-148.0, -np.inf]))
    for steps in range(0, 1001, 50):
        progress.update(steps, steps / 1000)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["250", "500", "750", "1,000"]
    assert "left, eval -12,346 (best -148.0), training -12.5, " in lines[0]


def test_before_anything_is_known_of_returns_nothing_is_said_of_them(capsys: pytest.CaptureFixture[str]):
    progress = ProgressLine(total=1000, seeds=2, shown=True)
    progress.returned([None, None])
    progress.update(0, 0.0)
    progress.update(250, 0.25)
    assert re.fullmatch(r"250 of 1,000 steps: \d+:\d\d left, [\d,]+ steps/s\n", capsys.readouterr().err)


def test_an_evaluation_before_learning_has_no_best(capsys: pytest.CaptureFixture[str]):
    progress = ProgressLine(total=1000, seeds=2, shown=True)
    progress.evaluated(np.array([1.0, 3.0]), np.full(2, -np.inf))
    progress.update(250, 0.25)
    assert "eval 2.0" in capsys.readouterr().err
    assert "best" not in progress.evaluation


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [5, 20, 40, 60, 80, 120])
def test_the_line_fits_its_terminal(monkeypatch: pytest.MonkeyPatch, columns: int):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    progress = ProgressLine(total=1_000_000, seeds=2, shown=True)
    progress.returned([-1234.5, -1234.5])
    progress.evaluated(np.array([-152.0]), np.array([-148.0]))
    for steps in (0, 250_000, 500_000):
        progress.update(steps, steps / 1e6)
    description = progress.progress.tasks[0].description
    (line,) = progress.progress.console.render_lines(progress.progress.get_renderable())
    shown = "".join(segment.text for segment in line)
    progress.close()
    assert len(shown) <= columns
    assert ("left" in shown) == (columns >= 20)
    assert columns < 20 or description in shown  # nothing is cut in the middle
    assert ("training -1,23" in shown) == (columns >= 40)
    assert ("best -148" in shown) == (columns >= 60)
    assert columns < 120 or "500,000 steps" in shown


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_that_cannot_write_over_a_line_gets_whole_lines(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", name)
    progress = ProgressLine(total=1000, seeds=1, shown=True)
    progress.update(0, 0.0, "compiling…")
    progress.update(300, 0.3)
    progress.close()
    assert terminal.getvalue().startswith("300 of 1,000 steps: ")


def test_a_progress_line_that_is_not_shown_is_silent(capsys: pytest.CaptureFixture[str]):
    progress = ProgressLine(1000, 1, shown=False)
    progress.say("what is trained")
    progress.update(500, 0.5, "compiling…")
    progress.close()
    assert capsys.readouterr() == ("", "")
