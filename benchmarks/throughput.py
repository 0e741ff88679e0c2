"""Training throughput of polyak and its peers, in turn, each measurement in a fresh process.

`python benchmarks/throughput.py` prints environment steps and updates per second as median [minimum, maximum] over the
rounds, and polyak's ratio to each peer, computed round by round. benchmarks/README.md says what is measured.
"""

import argparse
import importlib.util
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import measuring
import peers
from steady_state import ENV, TASKS


@dataclass(frozen=True)
class Entry:
    """One thing to measure. Of the entries that differ in `threads` alone, the faster one counts."""

    system: str
    task: str
    seeds: int = 1
    threads: int = 0

    @property
    def key(self) -> tuple[str, str, int]:
        """What the thread variants have in common."""
        return self.system, self.task, self.seeds

    @property
    def name(self) -> str:
        """Return the system with what is special about it."""
        seeds = f", {self.seeds} seeds" if self.seeds > 1 else ""
        kind = "core" if self.system == "sbx" else "thread"
        threads = f", {self.threads} {kind}{'s' if self.threads > 1 else ''}" if self.threads else ""
        return f"{peers.NAMES[self.system]}{seeds}{threads}"


@dataclass(frozen=True)
class Claim:
    """A ratio of environment steps per second, what it must be and what it aims at; without figures: information."""

    above: tuple[str, str, int]
    below: tuple[str, str, int]
    must: float | None = None
    aim: float | None = None


SCHEDULE = (
    *(
        Entry(*words, threads=threads)
        for task in ("small", "large")
        for words, variants in (
            (("polyak", task, 1), (0,)),
            (("polyak", task, 4), (0,)),
            (("sbx", task), (0, 1)),
            (("sb3", task), (1, 2)),
            (("torch", task), (1, 2)),
        )
        for threads in variants
    ),
    Entry("polyak", "tutorial"),
    Entry("torch", "tutorial", threads=1),
    Entry("torch", "tutorial", threads=2),
)
CLAIMS = (
    Claim(("polyak", "small", 1), ("sbx", "small", 1), 4.0, 8.0),
    Claim(("polyak", "small", 1), ("sb3", "small", 1), 10.0, 20.0),
    Claim(("polyak", "small", 1), ("torch", "small", 1)),
    Claim(("polyak", "small", 4), ("polyak", "small", 1), 1.6, 1.9),
    Claim(("polyak", "large", 1), ("sbx", "large", 1), 1.25, 1.45),
    Claim(("polyak", "large", 1), ("sb3", "large", 1), 2.0, 2.3),
    Claim(("polyak", "large", 1), ("torch", "large", 1)),
    Claim(("polyak", "large", 4), ("polyak", "large", 1)),
    Claim(("polyak", "tutorial", 1), ("torch", "tutorial", 1)),
)


class Measurements:
    """What was measured: by entry and round, with the systems that could not be."""

    def __init__(self) -> None:
        self.raw: list[dict[str, Any]] = []
        self.rates: dict[Entry, dict[int, float]] = defaultdict(dict)  # entry → round → environment steps per second
        self.updates: dict[Entry, dict[int, float]] = defaultdict(dict)
        self.skipped: dict[str, str] = {}

    def take(self, entry: Entry, turn: int, seconds: float) -> None:
        """Measure once. A peer that fails is skipped from then on; polyak must not fail."""
        words = [entry.system, "--task", entry.task, "--seeds", str(entry.seeds)]
        words += ["--threads", str(entry.threads), "--seconds", str(seconds)]
        try:
            result = measuring.measure("steady_state.py", words)
        except measuring.ChildError as error:
            if entry.system == "polyak":
                sys.exit(f"throughput.py: polyak failed:\n{error}")
            self.skip(entry.name, f"it failed: {error.reason}")
            return
        self.raw.append({"round": turn, **result})
        self.rates[entry][turn] = result["env_steps_per_second"]
        self.updates[entry][turn] = result["updates_per_second"]
        rates = f"{result['env_steps_per_second']:,.0f} env steps/s, {result['updates_per_second']:,.0f} updates/s"
        measuring.say(f"round {turn}: {TASKS[entry.task].about}: {entry.name}: {rates}")

    def skip(self, name: str, reason: str) -> None:
        """Leave something out, and say so."""
        self.skipped[name] = reason
        measuring.say(f"{name} is skipped: {reason}")

    def fastest(self, key: tuple[str, str, int]) -> Entry | None:
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
            "task": TASKS[above.task].about,
            "ratio": f"{above.name} / {below.name}",
            "rounds": rounds,
            **measuring.spread(rounds),
            "must": claim.must,
            "aim": claim.aim,
        }

    def summary(self) -> dict[str, Any]:
        """Return everything for the JSON."""
        medians = [
            {
                **asdict(entry),
                "name": entry.name,
                "env_steps_per_second": measuring.spread([*rates.values()]),
                "updates_per_second": measuring.spread([*self.updates[entry].values()]),
            }
            for entry, rates in self.rates.items()
        ]
        ratios = [ratio for ratio in map(self.ratio, CLAIMS) if ratio]
        return {"medians": medians, "ratios": ratios, "skipped": self.skipped, "measurements": self.raw}


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
    return "aim reached" if row["median"] >= row["aim"] else "met"


def main() -> None:
    """Measure in rounds, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=measuring.at_least_one, default=3)
    parser.add_argument("--quick", action="store_true", help="2 seconds each, not 12: does it run at all?")
    parser.add_argument("--tasks", nargs="+", choices=tuple(TASKS), default=tuple(TASKS))
    parser.add_argument("--out", type=Path, help="by default benchmarks/results/throughput.json")
    options = parser.parse_args()
    seconds = 2.0 if options.quick else 12.0
    out = measuring.place_of("throughput", options.out, options.quick)
    facts = {**measuring.circumstances(), "env": ENV, "rounds": options.rounds, "seconds_each": seconds}
    measured = Measurements()
    for system, module in peers.MODULES.items():
        if importlib.util.find_spec(module) is None:
            measured.skip(peers.NAMES[system], 'not installed: pip install -e ".[bench]"')
    entries = [entry for entry in SCHEDULE if entry.task in options.tasks]
    for turn in range(1, options.rounds + 1):
        for entry in entries:
            if not {entry.name, peers.NAMES[entry.system]} & measured.skipped.keys():
                measured.take(entry, turn, seconds)
        results = measured.summary()
        measuring.write_json(out, {**facts, "quick": options.quick, **results})
    print(report(results))
    measuring.say(f"written: {out}")


if __name__ == "__main__":
    main()
