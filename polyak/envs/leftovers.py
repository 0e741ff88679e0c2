"""What an environment leaves behind: threads and processes that outlive it, and the use of global random generators."""

import contextlib
import random
import threading
import time
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np

PATIENCE = 0.5  # seconds for threads and processes to end after the environment is closed


@dataclass(frozen=True)
class Company:
    """The threads and child processes of this process; processes are listed on Linux only."""

    threads: frozenset[threading.Thread]
    processes: frozenset[int]

    @classmethod
    def now(cls) -> "Company":
        """List those that exist now."""
        return cls(frozenset(threading.enumerate()), frozenset(_children()))

    def joined(self) -> list[str]:
        """Describe what has been started since and does not end within a moment."""
        until = time.monotonic() + PATIENCE
        while (left := self._left()) and time.monotonic() < until:
            time.sleep(0.02)
        return left

    def _left(self) -> list[str]:
        now = Company.now()
        threads = [f"thread {thread.name!r}" for thread in now.threads - self.threads]
        processes = [f"process {number}{_command(number)}" for number in now.processes - self.processes]
        return sorted(threads) + sorted(processes)


def _children() -> list[int]:
    """List the living children of this process, except the resource tracker of Python's multiprocessing."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        for task in Path("/proc/self/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    kept = getattr(resource_tracker._resource_tracker, "_pid", None)
    return [number for number in found if number != kept and _lives(number)]


def _lives(number: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _command(number: int) -> str:
    with contextlib.suppress(OSError):
        return f" ({Path(f'/proc/{number}/comm').read_text().strip()})"
    return ""


class GlobalRandom:
    """Detects whether the process-wide random generators are used or seeded after this is constructed."""

    def __init__(self) -> None:
        """Draw a number from each, so that seeding it again can be detected."""
        self.before = np.random.get_state(), random.getstate()
        np.random.random()
        random.random()
        self.now = _numpy_state(), random.getstate()

    def used(self) -> list[str]:
        """Name the generators that were used, and restore the state of the others."""
        names = []
        if _numpy_state() != self.now[0]:
            names.append("numpy.random")
        else:
            np.random.set_state(self.before[0])
        if random.getstate() != self.now[1]:
            names.append("random")
        else:
            random.setstate(self.before[1])
        return names


def _numpy_state() -> tuple[object, ...]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return name, np.asarray(keys).tobytes(), *rest
