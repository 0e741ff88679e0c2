"""What an environment leaves behind: threads and processes that outlive it, and global random numbers that it used."""

import contextlib
import random
import threading
import time
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np

PATIENCE = 0.5  # seconds that threads and processes have to end in after the environment is closed


@dataclass(frozen=True)
class Company:
    """The threads and child processes of this process; processes are known on Linux only."""

    threads: frozenset[threading.Thread]
    processes: frozenset[int]

    @classmethod
    def now(cls) -> "Company":
        """Look around."""
        return cls(frozenset(threading.enumerate()), frozenset(_children()))

    def joined(self) -> list[str]:
        """Name what has come since and stays, in words; wait a moment for it to end."""
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
    """List the living processes that this one started, without the one that Python's multiprocessing keeps."""
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
    """Whether the generators that all code of a process shares were drawn from or seeded since this was made."""

    def __init__(self) -> None:
        """Draw a number from each, so that seeding them once more shows."""
        self.before = np.random.get_state(), random.getstate()
        np.random.random()
        random.random()
        self.now = _numpy_state(), random.getstate()

    def used(self) -> list[str]:
        """Name the generators that were used; put the others back to where they were."""
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
