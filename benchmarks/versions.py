"""Whether another version of polyak trains as fast as this one: two checkouts, measured in turn in fresh processes.

`git worktree add ../before v0.1.0; python benchmarks/versions.py ../before` prints, for each kind of training, the
environment steps per second of this checkout divided by those of the other, as median [minimum, maximum] over the
rounds. Each checkout is measured with its own steady_state.py; both with the same Python and packages.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import measuring
import tasks
from claims import SCHEDULE, Entry

HERE = measuring.HERE.parent
OURS = tuple(entry for entry in SCHEDULE if entry.system in ("polyak", "device"))


def rate(checkout: Path, entry: Entry, seconds: float) -> float:
    """Return the environment steps per second of one fresh process. Raises ChildError."""
    words = [entry.system, "--task", entry.task, "--seeds", str(entry.seeds), "--seconds", str(seconds)]
    done = subprocess.run(
        [sys.executable, str(checkout / "benchmarks" / "steady_state.py"), *words],
        capture_output=True,
        text=True,
        env=measuring.child_environment(PYTHONPATH=str(checkout)),
    )
    if done.returncode != 0:
        raise measuring.ChildError(done.returncode, done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1])["env_steps_per_second"])


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="folder of the other checkout")
    parser.add_argument("--tasks", nargs="+", choices=tuple(tasks.TASKS), default=tuple(tasks.TASKS), metavar="TASK")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="time of each measurement, after the warm-up")
    parser.add_argument("--out", type=Path, help="where to write; default: benchmarks/results/versions.json")
    options = parser.parse_args()
    other = options.other.resolve()
    entries = [entry for entry in OURS if entry.task in options.tasks]
    rounds: dict[Entry, list[dict[str, float]]] = defaultdict(list)
    for turn in range(options.rounds):
        for entry in entries:
            order = [("this", HERE), ("other", other)][:: 1 if turn % 2 else -1]
            rounds[entry].append({which: rate(checkout, entry, options.seconds) for which, checkout in order})
            print(f"round {turn + 1} of {options.rounds}: {title(entry)}", file=sys.stderr)
    ratios = {title(entry): [one["this"] / one["other"] for one in taken] for entry, taken in rounds.items()}
    rows = [(name, "{median:.3f} [{min:.3f}, {max:.3f}]".format(**measuring.spread(of))) for name, of in ratios.items()]
    print(measuring.table(("environment steps per second, this / other", "ratio"), rows))
    result = {
        **measuring.provenance(),
        "other_commit": commit_of(other),
        "ratios": {name: {**measuring.spread(of), "rounds": of} for name, of in ratios.items()},
        "env_steps_per_second": {title(entry): taken for entry, taken in rounds.items()},
    }
    measuring.write_json(measuring.place_of("versions", options.out, quick=False), result)


def title(entry: Entry) -> str:
    """Name what is measured."""
    return f"{tasks.TASKS[entry.task].about}: {entry.name}"


if __name__ == "__main__":
    main()
