"""Standard streams as programs and code in C see them, too: file descriptors, which Python's `sys.stdout` is not."""

import contextlib
import ctypes
import io
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def keeping_quiet(json: bool) -> Iterator[None]:
    """Send what an environment prints to standard error where standard output is to hold one JSON object only.

    Programs that an environment starts, and code in C, write to the file descriptor, not to `sys.stdout`.
    """
    if not json:
        yield
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    kept = os.dup(1)
    point(1, 2)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        flush_c()
        point(1, kept)
        os.close(kept)


class Captured:
    """What was printed: the text, once it is known."""

    text = ""


@contextlib.contextmanager
def capturing() -> Iterator[Captured]:
    """Keep what is printed to standard output, by Python, by code in C or by programs that are started, to be read."""
    captured, ours = Captured(), io.StringIO()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1)
        point(1, file.fileno())
        try:
            with contextlib.redirect_stdout(ours):
                yield captured
        finally:
            flush_c()
            point(1, kept)
            os.close(kept)
            file.seek(0)
            captured.text = ours.getvalue() + file.read().decode(errors="replace")


def occupy_standard_streams() -> None:
    """Open those of the first three files that were closed, lest a file of ours gets what C code reports there."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(number)


def point(descriptor: int, to: int) -> None:
    """Let a file descriptor be another name of what is open as `to`."""
    with contextlib.suppress(OSError):
        os.dup2(to, descriptor)


def flush_c() -> None:
    """Write out what code in C has printed: its buffers are not Python's."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
