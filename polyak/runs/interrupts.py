"""Ctrl-C and requests to terminate: noticed at any moment, obeyed where nothing is lost.

A signal handler that raises is not enough: exceptions in callbacks of JAX or the garbage collector are printed and
dropped, and no handler runs while the main thread is inside compiled code. Every press is therefore counted and checked
again at safe points (`Interrupts.check`), and in the command's own process a thread receives the signals too
(`Interrupts.guard`) and ends the process if the main thread does not.
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
GRACE = 1.2  # seconds for environments to close after the final press


class Stop(KeyboardInterrupt):
    """A request to stop, raised between two steps, where nothing is left half done."""


class Interrupts:
    """The presses of Ctrl-C so far, and what the next one does.

    While `patient`, the first press asks to stop and the second interrupts; otherwise the first interrupts.
    `last_words` returns the sentence that says what is saved; `before_force` is called before the process is killed.
    """

    def __init__(self) -> None:
        self.patient = False
        self.starting = False  # during imports and JAX's start it is safe to exit, but not to raise
        self.last_words: Callable[[], str] = lambda: "stopped"
        self.before_force: Callable[[], None] = lambda: None
        self.handled, self.counted = 0, 0  # presses seen by the main thread, and by the guard
        self.held = False
        self.before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self.ends: tuple[socket.socket, ...] = ()
        self.announced, self.told = threading.Lock(), threading.Lock()  # acquired once, by the first to print

    @property
    def asked(self) -> bool:
        """Whether there was a press."""
        return max(self.handled, self.counted) > 0

    @property
    def final(self) -> bool:
        """Whether there was a press that does not wait for saving."""
        return max(self.handled, self.counted) >= (2 if self.patient else 1)

    def check(self) -> None:
        """Raise Stop if there was a press; called wherever it is safe to stop."""
        if self.asked:
            raise Stop

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Defer interrupts within this context, which must be short."""
        self.held = True
        try:
            yield
        finally:
            self.held = False

    def listen(self) -> None:
        """Install the signal handlers."""
        self.before = {number: signal.signal(number, self._hear) for number in SIGNALS}

    def restore(self) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self.ends:
            signal.set_wakeup_fd(-1)

    def guard(self) -> None:
        """End this process GRACE seconds after a final press, whatever the main thread is doing. Irreversible."""
        self.starting = True
        self.ends = ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)  # delivers signals without the main thread
        threading.Thread(target=self._guard, args=(ours,), daemon=True).start()
        atexit.register(_ignore_signals)  # registered first, so called last
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
        """Print the last words, unless they have been printed."""
        if self.told.acquire(blocking=False):
            _say(sentence)


def end_at_once(code: int) -> None:
    """End this process like `sys.exit`, but without finalizing the interpreter.

    Finalization takes seconds, and crashes, if a compilation of JAX was interrupted.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    atexit._run_exitfuncs()
    os._exit(code)


def _say(sentence: str) -> None:
    """Write a line to standard error, bypassing Python's buffer, which the signal may have interrupted."""
    with contextlib.suppress(OSError):
        line = "\r\x1b[2K" * os.isatty(2) + f"polyak: {sentence}\n"  # replaces a progress line
        encoding, errors = getattr(sys.stderr, "encoding", None), getattr(sys.stderr, "errors", None)
        os.write(2, line.encode(encoding or "utf-8", errors or "backslashreplace"))


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # otherwise finalization restores the defaults, which kill the process


_listening: Interrupts | None = None  # for this process


def active() -> Interrupts:
    """Return the enclosing `listening` context's interrupts; in other threads, ones that hear nothing."""
    return _listening if _listening and _in_main_thread() else Interrupts()


@contextlib.contextmanager
def listening(guarded: bool = False) -> Iterator[Interrupts]:
    """Handle signals in this context, or until the process ends if `guarded`; presses surface as Interrupted."""
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
        # the code of environments or of JAX may turn the interrupt into any exception
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
    """Restore the previous signal handlers in a forked process, such as a helper of an environment."""
    global _listening
    if _listening is not None:
        _listening.restore()
        _listening = None


restore_in_forks(_leave_signals_to_child)
