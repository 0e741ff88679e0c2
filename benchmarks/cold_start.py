"""How long from pressing Enter to a task that is solved, and to the help text: whole processes, imports included.

`python benchmarks/cold_start.py` starts polyak with an empty cache of compiled programs and with a filled one, in
turn, and stops the clock when the process says that its newest 20 training episodes are good enough: DDPG on
Pendulum-v1 at -200, PPO on CartPole-v1, compiled with its environments, at 475. `--peers` adds Stable-Baselines3 and
SBX on the pendulum.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import measuring
import peers
from to_target import GOALS, Goal


def time_to_line(words: Sequence[str], environment: dict[str, str]) -> dict[str, Any]:
    """Start a process; return the seconds until it printed its first line, and the line. Raises ChildError."""
    load = measuring.load_average()
    with tempfile.TemporaryFile("w+") as errors:
        began = time.monotonic()
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process:
            line = process.stdout.readline()
            seconds = time.monotonic() - began
            process.stdout.read()
        whole = time.monotonic() - began
        errors.seek(0)
        if process.returncode != 0 or not line:
            raise measuring.ChildError(process.returncode, errors.read())
    return {"seconds": seconds, "seconds_to_exit": whole, "load_before": load, "line": line}


THREADS = {"polyak": 0, "sbx": 0, "sb3": 1}  # 0: as the library chooses


def to_target(system: str, goal: str, seed: int, easy: bool, cache: str) -> dict[str, Any]:
    """Time one process to its target, or to one that is easily reached, with its caches in a folder."""
    script = str(measuring.HERE / "to_target.py")
    words = [sys.executable, script, system, "--goal", goal, "--seed", str(seed), "--threads", str(THREADS[system])]
    words += ["--target", "-10000"] if easy else []
    timed = time_to_line(words, measuring.child_environment(XDG_CACHE_HOME=cache))
    return {**timed, **json.loads(timed.pop("line")), "seed": seed, "threads": THREADS[system]}


def help_text() -> dict[str, Any]:
    """Time `polyak --help`."""
    command = Path(sys.executable).with_name("polyak")
    words = [str(command)] if command.exists() else [sys.executable, "-m", "polyak.cli"]
    timed = time_to_line([*words, "--help"], measuring.child_environment())
    timed.pop("line")
    return {**timed, "seconds": timed["seconds_to_exit"]}


def one_turn(seed: int, easy: bool, others: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure everything once; a peer that fails is taken off `others`.

    The warm start uses the cache that the cold one has just filled.
    """
    for name, goal in GOALS.items():
        with tempfile.TemporaryDirectory() as cache:
            for state in ("nothing compiled yet", "compiled before"):
                yield f"{words_of(goal)}: polyak, {state}", to_target("polyak", name, seed, easy, cache)
    yield "polyak --help", help_text()
    for system in tuple(others):
        threads = ", 1 thread" if THREADS[system] == 1 else ""
        try:
            with tempfile.TemporaryDirectory() as cache:
                words = f"{words_of(GOALS['pendulum'])}: {peers.NAMES[system]}{threads}"
                yield words, to_target(system, "pendulum", seed, easy, cache)
        except measuring.ChildError as error:
            others.remove(system)
            measuring.say(f"{peers.NAMES[system]} is skipped: it failed: {error.reason}")


def words_of(goal: Goal) -> str:
    """Name a goal."""
    return f"{goal.algorithm.upper()} on {goal.env} to {goal.target:g}"


def report(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Lay the times out as a table."""
    lines = []
    for name, turns in rows.items():
        seconds = measuring.spread([turn["seconds"] for turn in turns])
        cell = f"{seconds['median']:.2f} [{seconds['min']:.2f}, {seconds['max']:.2f}]"
        learned = [turn for turn in turns if "env_steps" in turn]
        steps = measuring.spread([turn["env_steps"] for turn in learned]) if learned else {}
        counted = "{median:,.0f} [{min:,}, {max:,}]".format(**steps) if learned else ""
        reached = f"{sum(turn['reached'] for turn in learned)} of {len(turns)}" if learned else ""
        lines.append((name, cell, counted, reached))
    head = "until the newest 20 training episodes are good enough: median [min, max]"
    return measuring.table((head, "seconds", "env steps", "reached"), lines)


def available(wanted: bool) -> list[str]:
    """Return the peers that are wanted and installed, and say which are missing."""
    found = [system for system in ("sb3", "sbx") if importlib.util.find_spec(peers.MODULES[system])]
    for system in ("sb3", "sbx"):
        if wanted and system not in found:
            measuring.say(f'{peers.NAMES[system]} is skipped: not installed: pip install -e ".[bench]"')
    return found if wanted else []


def main() -> None:
    """Measure in turns, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=measuring.at_least_one, default=5, help="turns; each has its own seed")
    parser.add_argument("--peers", action="store_true", help="also time Stable-Baselines3 and SBX")
    parser.add_argument("--quick", action="store_true", help="one turn, to targets that every agent reaches")
    parser.add_argument("--out", type=Path, help="by default benchmarks/results/cold_start.json")
    options = parser.parse_args()
    out = measuring.place_of("cold_start", options.out, options.quick)
    goals = {name: asdict(goal) for name, goal in GOALS.items()}
    facts = {**measuring.provenance(), "goals": goals, "quick": options.quick}
    others, rows = available(options.peers), defaultdict(list)
    for seed in range(1 if options.quick else options.repeats):
        try:
            for name, timed in one_turn(seed, options.quick, others):
                measuring.say(f"seed {seed}: {name}: {timed['seconds']:.2f} s")
                rows[name].append(timed)
        except measuring.ChildError as error:
            sys.exit(f"cold_start.py: polyak failed:\n{error}")
        spreads = {name: measuring.spread([turn["seconds"] for turn in turns]) for name, turns in rows.items()}
        measuring.write_json(out, {**facts, "seconds": spreads, "measurements": rows})
    print(report(rows))
    measuring.say(f"written: {out}")


if __name__ == "__main__":
    main()
