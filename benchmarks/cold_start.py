"""How long from pressing Enter to a trained pendulum, and to the help text: whole processes, imports included.

`python benchmarks/cold_start.py` starts polyak with an empty cache of compiled programs and with a filled one, in
turn, and stops the clock when the process says that its newest 20 training episodes average -200. `--peers` adds
Stable-Baselines3 and SBX.
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
from pathlib import Path
from typing import Any

import measuring
import peers
from to_target import ENV


def time_to_line(words: Sequence[str], environment: dict[str, str]) -> dict[str, Any]:
    """Start a process; return the seconds until it printed its first line, and the line. Raises ChildError."""
    load = measuring.load_average()
    with tempfile.TemporaryFile("w+") as errors:
        began = time.monotonic()
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        line = process.stdout.readline()
        seconds = time.monotonic() - began
        process.stdout.read()
        if process.wait() != 0 or not line:
            errors.seek(0)
            raise measuring.ChildError(measuring.last_words(errors.read()) or f"exit code {process.returncode}")
    whole = time.monotonic() - began
    return {"seconds": seconds, "seconds_to_exit": whole, "load_before": load, "line": line}


def to_target(system: str, seed: int, target: float, cache: str) -> dict[str, Any]:
    """Time one process to the target, with its caches in a folder."""
    script = str(measuring.HERE / "to_target.py")
    words = [sys.executable, script, system, "--seed", str(seed), "--target", str(target)]
    timed = time_to_line(words, measuring.child_environment(XDG_CACHE_HOME=cache))
    return {**timed, **json.loads(timed.pop("line")), "seed": seed}


def help_text() -> dict[str, Any]:
    """Time `polyak --help`."""
    command = Path(sys.executable).with_name("polyak")
    words = [str(command)] if command.exists() else [sys.executable, "-m", "polyak.cli"]
    timed = time_to_line([*words, "--help"], measuring.child_environment())
    timed.pop("line")
    return {**timed, "seconds": timed["seconds_to_exit"], "reached": True}


def one_turn(seed: int, target: float, others: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure everything once. The warm start uses the cache that the cold one has just filled."""
    with tempfile.TemporaryDirectory() as cache:
        yield "polyak, nothing compiled yet", to_target("polyak", seed, target, cache)
        yield "polyak, compiled before", to_target("polyak", seed, target, cache)
    yield "polyak --help", help_text()
    for system in others:
        with tempfile.TemporaryDirectory() as cache:
            yield peers.NAMES[system], to_target(system, seed, target, cache)


def report(rows: dict[str, list[dict[str, Any]]], target: float) -> str:
    """Lay the times out as a table."""
    lines = []
    for name, turns in rows.items():
        seconds = measuring.spread([turn["seconds"] for turn in turns])
        cell = f"{seconds['median']:.2f} [{seconds['min']:.2f}, {seconds['max']:.2f}]"
        steps = [turn["env_steps"] for turn in turns if "env_steps" in turn]
        counted = "{median:,.0f} [{min:,}, {max:,}]".format(**measuring.spread(steps)) if steps else ""
        lines.append((name, cell, counted, f"{sum(turn['reached'] for turn in turns)} of {len(turns)}"))
    head = f"{ENV}, until the newest 20 training episodes average {target:g}: median [min, max]"
    return measuring.table((head, "seconds", "env steps", "reached"), lines)


def main() -> None:
    """Measure in turns, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=measuring.at_least_one, default=5, help="turns; each has its own seed")
    parser.add_argument("--peers", action="store_true", help="also time Stable-Baselines3 and SBX")
    parser.add_argument("--target", type=float, default=-200.0)
    parser.add_argument("--quick", action="store_true", help="one turn to a target that every agent reaches")
    parser.add_argument("--out", type=Path, default=measuring.RESULTS / "cold_start.json")
    options = parser.parse_args()
    repeats, target = (1, -1e4) if options.quick else (options.repeats, options.target)
    facts = {**measuring.circumstances(), "env": ENV, "target": target, "quick": options.quick}
    others = [system for system in ("sb3", "sbx") if options.peers and importlib.util.find_spec(peers.MODULES[system])]
    missing = [peers.NAMES[system] for system in ("sb3", "sbx") if options.peers and system not in others]
    if missing:
        measuring.say(f'{" and ".join(missing)} skipped: not installed: pip install -e ".[bench]"')
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for seed in range(repeats):
        for name, timed in one_turn(seed, target, others):
            measuring.say(f"seed {seed}: {name}: {timed['seconds']:.2f} s")
            rows[name].append(timed)
        spreads = {name: measuring.spread([turn["seconds"] for turn in turns]) for name, turns in rows.items()}
        measuring.write_json(options.out, {**facts, "skipped": missing, "seconds": spreads, "measurements": rows})
    print(report(rows, target))
    measuring.say(f"written: {options.out}")


if __name__ == "__main__":
    main()
