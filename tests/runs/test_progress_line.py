"""The progress line, above all where standard error is full, closed, broken or not there."""

import errno
import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from polyak.runs.forgiving import Forgiving
from polyak.runs.progress_line import ProgressLine
from polyak.training.host import Report
from polyak.types import Episode
from tests.runs import small


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
    progress = ProgressLine(total=1000, seeds=2, shown=True)
    progress.say("ddpg on Pendulum-v1")
    for steps in range(0, 1001, 50):
        progress.update(Report([Episode(0, 0, -12.5, 10)], None, np.zeros(1)), steps, steps / 1000)
    progress.say("done")
    progress.close()


@pytest.mark.parametrize("name", STREAMS)
def test_the_command_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr(sys, "stderr", STREAMS[name]())
    assert small.command("plot", "nowhere") == 2


def test_no_file_takes_the_place_of_a_closed_standard_error():
    code = "import os; from polyak.cli import main; main(['--version']); print(os.open(os.devnull, os.O_RDONLY))"
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
    for steps in range(0, 1001, 50):
        progress.update(Report([Episode(0, 0, -12.5, 10)], None, np.zeros(1)), steps, steps / 1000)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["250", "500", "750", "1,000"]
    assert "exploring return -12.5" in lines[0]


def test_a_progress_line_that_is_not_shown_is_silent(capsys: pytest.CaptureFixture[str]):
    progress = ProgressLine(1000, 1, shown=False)
    progress.say("what is trained")
    progress.update(None, 500, 0.5, "compiling…")
    progress.close()
    assert capsys.readouterr() == ("", "")
