"""Standard streams at the level of file descriptors, which C code and child processes use instead of `sys.stdout`."""

import contextlib
import ctypes
import io
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def keeping_quiet(json: bool) -> Iterator[None]:
    """Redirect what an environment prints to standard error if standard output is to hold a single JSON object.

    C code and the programs that an environment starts write to the file descriptor, not to `sys.stdout`.
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
    """What was printed; `text` is set when the context ends."""

    text = ""


@contextlib.contextmanager
def capturing() -> Iterator[Captured]:
    """Capture what Python, C code and child processes print to standard output."""
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
    """Open any closed standard stream on the null device, so that output of C code never ends up in another file."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(number)


def point(descriptor: int, to: int) -> None:
    """Make a file descriptor refer to the open file `to`."""
    with contextlib.suppress(OSError):
        os.dup2(to, descriptor)


def flush_c() -> None:
    """Flush the buffers of C code, which Python does not flush."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
