"""Restore the handling of signals in processes forked from this one, such as helpers of an environment."""

import os
import signal
import threading
from collections.abc import Callable

SIGNALS = {signal.SIGINT, signal.SIGTERM}


def restore_in_forks(restore: Callable[[], None]) -> None:
    """Call `restore`, which resets the handlers of SIGINT and SIGTERM, in every process forked from now on.

    A signal that arrives earlier in such a process is delivered afterwards.
    """
    mask = threading.local()

    def block() -> None:
        mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask.before)

    def restore_and_unblock() -> None:
        restore()
        unblock()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=restore_and_unblock)
