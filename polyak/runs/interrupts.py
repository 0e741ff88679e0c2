"""Ctrl-C and requests to terminate: heard at any moment, granted where nothing is lost by it.

A handler that raises is not enough: an exception raised within a callback of JAX's or of the garbage collector's is
printed and forgotten, and no handler runs while the main thread is inside compiled code. So every press is counted, and
asked for again at each rest (`Interrupts.check`); and in a process of the command's own a thread hears the signals too
(`Interrupts.guard`), and ends the process where the main thread does not.
"""

import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from polyak.envs.forks import SIGNALS, restore_in_forks
from polyak.errors import Interrupted

SAVING = "stopping: saving what was learned; press Ctrl-C again to stop without saving"
GRACE = 1.2  # seconds that environments have to close in, after the press that ends the process


class Stop(KeyboardInterrupt):
    """The wish to stop, granted between two steps, where nothing is left half done."""


class Interrupts:
    """The presses of Ctrl-C so far, and what the next one does.

    While `patient`, the first press only asks, and the second interrupts; else the first does. `last_words` returns the
    sentence that says what is saved, and `before_force` is called before the process is ended by force.
    """

    def __init__(self) -> None:
        self.patient = False
        self.starting = False  # modules are imported and JAX starts: an exception there makes a mess, an exit does not
        self.last_words: Callable[[], str] = lambda: "stopped"
        self.before_force: Callable[[], None] = lambda: None
        self.handled, self.counted = 0, 0  # presses heard in the main thread, and by the guard
        self.held = False
        self.before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self.ends: tuple[socket.socket, ...] = ()
        self.announced, self.told = threading.Lock(), threading.Lock()  # taken once, by who is the first to speak

    @property
    def asked(self) -> bool:
        """Whether there was a press."""
        return max(self.handled, self.counted) > 0

    @property
    def final(self) -> bool:
        """Whether there was a press that does not wait for anything to be saved."""
        return max(self.handled, self.counted) >= (2 if self.patient else 1)

    def check(self) -> None:
        """Raise Stop if there was a press: called wherever it can be granted."""
        if self.asked:
            raise Stop

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Let no press interrupt what is done in here, which must be short."""
        self.held = True
        try:
            yield
        finally:
            self.held = False

    def listen(self) -> None:
        """Hear signals from now on."""
        self.before = {number: signal.signal(number, self._hear) for number in SIGNALS}

    def restore(self) -> None:
        """Leave signals to who heard them before."""
        for number, handler in self.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self.ends:
            signal.set_wakeup_fd(-1)

    def guard(self) -> None:
        """End this process GRACE seconds after a final press, whatever its main thread is doing. Cannot be undone."""
        self.starting = True
        self.ends = ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)  # signals arrive here without the main thread
        threading.Thread(target=self._guard, args=(ours,), daemon=True).start()
        atexit.register(_ignore_signals)  # the first registered is the last called
        report = sys.unraisablehook
        sys.unraisablehook = lambda what: None if what.exc_type is KeyboardInterrupt else report(what)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.handled += 1
        self._announce()
        if self.final and not self.held and not self.starting:
            raise KeyboardInterrupt

    def _guard(self, ear: socket.socket) -> None:
        while not self.final:
            self.counted += sum(number in SIGNALS for number in ear.recv(64))
            self._announce()
        if not self.starting:
            time.sleep(GRACE)
        self._force()

    def _announce(self) -> None:
        if self.asked and not self.final and self.announced.acquire(blocking=False):
            _say(SAVING)

    def _force(self) -> None:
        with contextlib.suppress(Exception):
            self.tell(self.last_words())
            self.before_force()
        os._exit(130)

    def tell(self, sentence: str) -> None:
        """Say the last words, unless they have been said."""
        if self.told.acquire(blocking=False):
            _say(sentence)


def end_at_once(code: int) -> None:
    """End this process as `sys.exit` does, without Python's own last steps.

    Those take seconds, and crash, where a compilation of JAX's was interrupted.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    atexit._run_exitfuncs()
    os._exit(code)


def _say(sentence: str) -> None:
    """Write a line to standard error past Python's buffer, in the middle of whose work a signal may have arrived."""
    with contextlib.suppress(OSError):
        line = "\r\x1b[2K" * os.isatty(2) + f"polyak: {sentence}\n"  # in the place of a progress line
        encoding, errors = getattr(sys.stderr, "encoding", None), getattr(sys.stderr, "errors", None)
        os.write(2, line.encode(encoding or "utf-8", errors or "backslashreplace"))


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # Python would set them to kill the process in its last milliseconds


_listening: Interrupts | None = None  # to the signals of this process


def active() -> Interrupts:
    """Return what listens around this call, in the main thread; elsewhere signals are not heard."""
    return _listening if _listening and _in_main_thread() else Interrupts()


@contextlib.contextmanager
def listening(guarded: bool = False) -> Iterator[Interrupts]:
    """Hear signals in here, until the process ends if `guarded`. What a press leads to comes out as Interrupted."""
    global _listening
    interrupts, outermost = active(), _listening is None and _in_main_thread()
    if outermost:
        _listening = interrupts
        interrupts.listen()
    if guarded:
        interrupts.guard()
    try:
        yield interrupts
    except BaseException as error:
        # of an environment's code, or of JAX's, there may come out anything
        if not isinstance(error, Interrupted) and (isinstance(error, KeyboardInterrupt) or interrupts.final):
            raise Interrupted(interrupts.last_words()) from None
        raise
    finally:
        if guarded:
            interrupts.held = True
        elif outermost:
            interrupts.restore()
            _listening = None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _leave_signals_to_child() -> None:
    """Give a forked process, such as a helper that an environment starts, its signals as they were before us."""
    global _listening
    if _listening is not None:
        _listening.restore()
        _listening = None


restore_in_forks(_leave_signals_to_child)
