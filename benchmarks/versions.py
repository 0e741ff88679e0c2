"""Whether another version of polyak trains as fast as this one: two checkouts, each in a process, that train in turn.

`git worktree add ../before v0.1.0; python benchmarks/versions.py ../before` prints, for each kind of training, the
environment steps per second of this checkout divided by those of the other: the IQM over the turns, with its 95 %
interval. While one process trains the other waits, so what else the machine does hits both alike. Each checkout is
trained by its own steady_state.py; both with the same Python and packages.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import measuring
import numpy as np
import tasks
from claims import SCHEDULE, Entry

HERE = measuring.HERE.parent
OURS = tuple(entry for entry in SCHEDULE if entry.system in ("polyak", "device"))


class Turns:
    """Trains in turns: waits for a line of input before each, and prints the environment steps per second after it."""

    def __init__(self, start: int, seconds: float):
        self.start, self.seconds = start, seconds
        self.began: float | None = None

    def enough(self, env_steps: int, updates: int) -> bool:
        """Take note of a moment when so many steps are done; say whether to stop, as at the end of the input."""
        now = time.perf_counter()
        if self.began is None:
            return env_steps >= self.start and self._wait("ready", env_steps)
        if now - self.began < self.seconds:
            return False
        return self._wait(str((env_steps - self.taken) / (now - self.began)), env_steps)

    def _wait(self, told: str, env_steps: int) -> bool:
        print(told, flush=True)
        ended = not sys.stdin.readline()
        self.began, self.taken = time.perf_counter(), env_steps
        return ended


def train_in_turns(checkout: str, system: str, task: str, seeds: str, seconds: str) -> None:
    """Be the process of a checkout."""
    sys.path[:0] = [checkout, str(Path(checkout) / "benchmarks")]
    for name in ("measuring", "tasks", "claims", "peers"):  # this checkout's, which the other has its own of
        sys.modules.pop(name, None)
    import steady_state

    of_task = steady_state.TASKS[task]
    steady_state.polyak(of_task, int(seeds), Turns(of_task.start, float(seconds)), system == "device")


@contextmanager
def process(checkout: Path, entry: Entry, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    """Start the process of a checkout, and end it."""
    words = [str(checkout), entry.system, entry.task, str(entry.seeds), str(seconds)]
    child = subprocess.Popen(
        [sys.executable, __file__, "--child", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=measuring.child_environment(PYTHONPATH=str(checkout)),
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def told(child: "subprocess.Popen[str]") -> str:
    """Return the next line that a process prints. Exits where it has failed."""
    assert child.stdout is not None
    return child.stdout.readline().strip() or sys.exit("a checkout failed to train: see above")


def measure(other: Path, entry: Entry, turns: int, seconds: float) -> list[dict[str, float]]:
    """Return the environment steps per second of both checkouts in each of so many turns."""
    taken = []
    with process(HERE, entry, seconds) as this, process(other, entry, seconds) as that:
        children = {"this": this, "other": that}
        for child in children.values():
            told(child)  # that it is ready
        for turn in range(turns):
            order = list(children)[:: 1 if turn % 2 else -1]
            taken.append({which: _turn(children[which]) for which in order})
    return taken


def _turn(child: "subprocess.Popen[str]") -> float:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return float(told(child))


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="folder of the other checkout")
    parser.add_argument("--tasks", nargs="+", choices=tuple(tasks.TASKS), default=tuple(tasks.TASKS), metavar="TASK")
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=1.0, help="time of each turn, after the warm-up")
    parser.add_argument("--out", type=Path, help="where to write; default: benchmarks/results/versions.json")
    options = parser.parse_args()
    from polyak.runs.scores import interval, iqm

    other, results, rows = options.other.resolve(), {}, []
    for entry in [entry for entry in OURS if entry.task in options.tasks]:
        taken = measure(other, entry, options.turns, options.seconds)
        ratios = np.array([one["this"] / one["other"] for one in taken])
        middle, (low, high) = float(iqm(ratios)), interval(ratios)
        results[title(entry)] = {"iqm": middle, "interval": [low, high], "env_steps_per_second": taken}
        rows.append((title(entry), f"{middle:.3f} [{low:.3f}, {high:.3f}]"))
        print(f"{rows[-1][0]}: {rows[-1][1]}", file=sys.stderr)
    print(measuring.table(("environment steps per second, this / other", "IQM [95 % interval]"), rows))
    facts = measuring.provenance()  # whose command shall name no folder of this machine
    facts["command"] = facts["command"].replace(str(options.other), f"../{other.name}")
    result = {**facts, "other_commit": commit_of(other), "ratios": results}
    measuring.write_json(measuring.place_of("versions", options.out, quick=False), result)


def title(entry: Entry) -> str:
    """Name what is measured."""
    return f"{tasks.TASKS[entry.task].about}: {entry.name}"


if __name__ == "__main__":
    train_in_turns(*sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
