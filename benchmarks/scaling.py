"""Scaling curves: how speed changes with seeds, environments, width, batch and buffer, each point in a fresh process.

`python benchmarks/scaling.py` prints a table and writes results/scaling.json: environment steps per second, or the time
of an update beside the time that its products would take at the machine's measured rate. `performance_table.py` makes
the tables and pictures of the documentation from it.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import measuring

LARGE = ("--layers", "256", "256", "--batch", "256")
# axis → (what it is, what scaling_point.py is asked, the values)
AXES: dict[str, tuple[str, tuple[str, ...], tuple[int, ...]]] = {
    "seeds": ("seeds, host loop, DDPG 128-64, batch 32", ("seeds", "--count"), (1, 2, 4, 8, 16, 32, 64)),
    "envs": ("environments of one seed, device loop, A2C 64-64", ("envs", "--count"), (1, 4, 16, 64, 256, 1024)),
    "width": ("width of both layers, DDPG, batch 256", ("update", "--batch", "256"), (64, 128, 256, 512, 1024)),
    "batch": ("batch, DDPG 256-256", ("update", *LARGE[:3], "--batch"), (32, 64, 128, 256, 512, 1024, 2048, 4096)),
    "buffer": (
        "transitions in the buffer, DDPG 128-64, batch 32",
        ("update", "--capacity"),
        (10**4, 10**5, 10**6, 10**7),
    ),
}


def words_for(axis: str, value: int) -> list[str]:
    """Return what scaling_point.py is asked for one point."""
    words = list(AXES[axis][1])
    return [*words, "--layers", str(value), str(value)] if axis == "width" else [*words, str(value)]


def report(points: dict[str, dict[int, list[dict[str, Any]]]]) -> str:
    """Lay the medians out as a table."""
    rows = []
    for axis, of_axis in points.items():
        for value, found in sorted(of_axis.items()):
            if "env_steps_per_second" in found[0]:
                middle = measuring.spread([point["env_steps_per_second"] for point in found])["median"]
                rows.append((f"{axis} {value:,}", f"{middle:,.0f} env steps/s", ""))
            else:
                middle = measuring.spread([point["seconds_per_update"] for point in found])["median"]
                over = measuring.spread([over_products(point) for point in found])["median"]
                rows.append((f"{axis} {value:,}", f"{1e6 * middle:,.0f} µs per update", f"{over:.2f}"))
    return measuring.table(("", "median of the rounds", "over its products"), rows)


def over_products(point: dict[str, Any]) -> float:
    """Return the time of an update over what its products would take at the rate that was measured beside it."""
    return point["seconds_per_update"] * point["flops_per_second"] / point["flops"]


def main() -> None:
    """Measure in rounds, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=measuring.at_least_one, default=3)
    parser.add_argument("--quick", action="store_true", help="one second each: does it run at all?")
    parser.add_argument("--axes", nargs="+", choices=tuple(AXES), default=tuple(AXES))
    parser.add_argument("--out", type=Path, help="the JSON file, by default results/scaling.json")
    asked = parser.parse_args()
    seconds = "1" if asked.quick else "5"
    facts = {**measuring.provenance(), "rounds": asked.rounds, "quick": asked.quick}
    points: dict[str, dict[int, list[dict[str, Any]]]] = {axis: defaultdict(list) for axis in asked.axes}
    for turn in range(1, asked.rounds + 1):
        for axis in asked.axes:
            for value in AXES[axis][2]:
                words = [*words_for(axis, value), "--seconds", seconds]
                points[axis][value].append(measuring.measure("scaling_point.py", words))
                measuring.say(f"round {turn}: {axis} {value:,}")
    print(report(points))
    place = measuring.place_of("scaling", asked.out, asked.quick)
    measuring.write_json(place, {**facts, "points": points})
    measuring.say(f"written: {place}")


if __name__ == "__main__":
    main()
