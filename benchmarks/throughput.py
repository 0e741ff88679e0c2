"""Training throughput of polyak and its peers, in turn, each measurement in a fresh process.

`python benchmarks/throughput.py` prints environment steps and updates per second as median [minimum, maximum] over the
rounds, and polyak's ratio to each peer, computed round by round. The results of each algorithm are a file of their own.
benchmarks/README.md says what is measured.
"""

import argparse
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import measuring
import peers
import tasks
from claims import CLAIMS, SCHEDULE, Claim, Entry, Key
from tasks import TASKS


class Measurements:
    """What was measured: by entry and round, with the systems that could not be."""

    def __init__(self) -> None:
        self.raw: list[dict[str, Any]] = []
        self.rates: dict[Entry, dict[int, float]] = defaultdict(dict)  # entry → round → environment steps per second
        self.updates: dict[Entry, dict[int, float]] = defaultdict(dict)
        self.missing: dict[str, str] = {}  # system → reason
        self.failed: dict[Entry, str] = {}  # entry → reason

    def take(self, entry: Entry, turn: int, seconds: float) -> None:
        """Measure once, unless the peer is missing or has failed before; polyak must not fail."""
        if entry.system in self.missing or entry in self.failed:
            return
        try:
            result = measure(entry, seconds)
        except measuring.ChildError as error:
            if entry.system in peers.OURS:
                sys.exit(f"throughput.py: polyak failed:\n{error}")
            self.failed[entry] = f"it failed: {error.reason}"
            measuring.say(f"{title(entry)} is skipped: {self.failed[entry]}")
            return
        self.raw.append({"round": turn, **result})
        self.rates[entry][turn] = result["env_steps_per_second"]
        self.updates[entry][turn] = result["updates_per_second"]
        rates = f"{result['env_steps_per_second']:,.0f} env steps/s, {result['updates_per_second']:,.0f} updates/s"
        measuring.say(f"round {turn}: {title(entry)}: {rates}")

    def look_for_peers(self) -> None:
        """Find out which peers are not installed, and say so."""
        for system, module in peers.MODULES.items():
            if importlib.util.find_spec(module) is None:
                self.missing[system] = 'not installed: pip install -e ".[bench]"'
                measuring.say(f"{peers.NAMES[system]} is skipped: {self.missing[system]}")

    def fastest(self, key: Key) -> Entry | None:
        """Return the thread variant with the best median."""
        entries = [entry for entry in self.rates if entry.key == key]
        return max(entries, key=lambda entry: measuring.spread([*self.rates[entry].values()])["median"], default=None)

    def ratio(self, claim: Claim) -> dict[str, Any] | None:
        """Return a claim with its ratio in each round, or None where one side was not measured."""
        above, below = self.fastest(claim.above), self.fastest(claim.below)
        if above is None or below is None:
            return None
        turns = sorted(self.rates[above].keys() & self.rates[below].keys())
        if not turns:
            return None
        rounds = [self.rates[above][turn] / self.rates[below][turn] for turn in turns]
        return {
            "task": " / ".join(dict.fromkeys(TASKS[entry.task].about for entry in (above, below))),
            "ratio": f"{above.name} / {below.name}",
            "rounds": rounds,
            **measuring.spread(rounds),
            "must": claim.must,
            "aim": claim.aim,
        }

    def summary(self, wanted: Sequence[str]) -> dict[str, Any]:
        """Return everything about some tasks for the JSON."""
        medians = [
            {
                **asdict(entry),
                "name": entry.name,
                "env_steps_per_second": measuring.spread([*rates.values()]),
                "updates_per_second": measuring.spread([*self.updates[entry].values()]),
            }
            for entry, rates in self.rates.items()
            if entry.task in wanted
        ]
        ratios = [self.ratio(claim) for claim in CLAIMS if claim.above[1] in wanted]
        skipped = {peers.NAMES[system]: reason for system, reason in self.missing.items()}
        skipped |= {title(entry): reason for entry, reason in self.failed.items() if entry.task in wanted}
        measurements = [result for result in self.raw if result["task"] in wanted]
        found = [ratio for ratio in ratios if ratio]
        return {"medians": medians, "ratios": found, "skipped": skipped, "measurements": measurements}


def measure(entry: Entry, seconds: float) -> dict[str, Any]:
    """Measure once. Of a peer, several seeds are as many runs, one on each core at a time."""
    words = [entry.system, "--task", entry.task, "--threads", str(entry.threads), "--seconds", str(seconds)]
    if entry.system in peers.OURS or entry.seeds == 1:
        return measuring.measure("steady_state.py", [*words, "--seeds", str(entry.seeds)])
    at_once = range(min(entry.seeds, len(peers.usable_cores())))
    with ThreadPoolExecutor(len(at_once)) as pool:  # of threads that wait for processes
        batch = [pool.submit(measuring.measure, "steady_state.py", [*words, "--core", str(core)]) for core in at_once]
    runs = [run.result() for run in batch]
    counts = ("env_steps", "updates", "env_steps_per_second", "updates_per_second")
    return {**runs[0], **{name: sum(run[name] for run in runs) for name in counts}, "seeds": entry.seeds, "runs": runs}


def title(entry: Entry) -> str:
    """Name an entry in full."""
    return f"{TASKS[entry.task].about}: {entry.name}"


def report(results: dict[str, Any]) -> str:
    """Lay the results out as two tables."""
    rates = [
        (f"{TASKS[row['task']].about}: {row['name']}", *(cell(row[f"{what}_per_second"], ",.0f") for what in COUNTED))
        for row in results["medians"]
    ]
    ratios = [
        (f"{row['task']}: {row['ratio']}", cell(row, ".2f"), *(times(row[of]) for of in ("must", "aim")), verdict(row))
        for row in results["ratios"]
    ]
    parts = [measuring.table(("median [min, max] of the rounds", "env steps/s", "updates/s"), rates)]
    parts += [measuring.table(("ratio of env steps/s, round by round", "ratio", "must", "aim", ""), ratios)]
    parts += [f"{name} was skipped: {reason}" for name, reason in results["skipped"].items()]
    return "\n\n".join(parts)


COUNTED = ("env_steps", "updates")


def cell(values: dict[str, float], form: str) -> str:
    """Write median [minimum, maximum]."""
    return f"{values['median']:{form}} [{values['min']:{form}}, {values['max']:{form}}]"


def times(figure: float | None) -> str:
    """Write a figure that a ratio is held against."""
    return f"≥ {figure:g}" if figure else ""


def verdict(row: dict[str, Any]) -> str:
    """Say which of its figures the median ratio reaches."""
    if row["must"] is None:
        return "for information"
    if row["median"] < row["must"]:
        return "MISSED"
    return "met" if row["aim"] is None or row["median"] < row["aim"] else "aim reached"


def place_of(algorithm: str, names: Sequence[str], out: Path | None, quick: bool) -> Path:
    """Return the file of an algorithm's tasks; some of them alone do not replace what was measured of all."""
    whole = "throughput" if algorithm == "ddpg" else f"throughput-{algorithm}"
    name = whole if tuple(names) == tasks.of_algorithm(algorithm) else "-".join(("throughput", *names))
    return out / f"{name}.json" if out else measuring.place_of(name, None, quick)


def main() -> None:
    """Measure in rounds, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=measuring.at_least_one, default=3)
    parser.add_argument("--quick", action="store_true", help="2 seconds each, not 12: does it run at all?")
    parser.add_argument("--tasks", nargs="+", choices=WORDS, default=WORDS, metavar="TASK", help=", ".join(WORDS))
    parser.add_argument("--out", type=Path, help="folder of the results, by default benchmarks/results")
    options = parser.parse_args()
    seconds = 2.0 if options.quick else 12.0
    facts = {**measuring.provenance(), "rounds": options.rounds, "seconds_each": seconds, "quick": options.quick}
    wanted = tasks.selected(options.tasks)
    places = {each: place_of(each, names, options.out, options.quick) for each, names in wanted.items()}
    everything = [name for names in wanted.values() for name in names]
    measured = Measurements()
    measured.look_for_peers()
    for claim in CLAIMS:
        if claim.above[1] in everything and claim.below[1] not in everything:
            measuring.say(f"no ratio for {claim.above[1]} without the task {claim.below[1]}")
    for turn in range(1, options.rounds + 1):
        for entry in SCHEDULE:
            if entry.task in everything:
                measured.take(entry, turn, seconds)
        for algorithm, names in wanted.items():
            measuring.write_json(places[algorithm], {**facts, "algorithm": algorithm, **measured.summary(names)})
    print(report(measured.summary(everything)))
    measuring.say("written: " + ", ".join(str(place) for place in places.values()))


WORDS = tuple(dict.fromkeys([*TASKS, *(task.algorithm for task in TASKS.values())]))  # tasks and algorithms


if __name__ == "__main__":
    main()
