"""How much memory a whole run takes: `polyak train` with a million transitions of HalfCheetah in its replay.

`python benchmarks/memory.py` trains in a process of its own, watches it, and prints its peak of resident memory beside
the size of its replay buffer. Updates are few: they would take most of the time, and little memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measuring

from polyak.types import Box, EnvSpec, vector

COMMAND = ("train", "ddpg", "HalfCheetah-v5", "--steps", "1000000", "--plan.updates", "0.01")


def resident(pid: int) -> dict[str, int]:
    """Return the memory of a process now and at its peak, in KiB. Only Linux tells it."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    words = dict(line.split(":", 1) for line in lines)
    return {"now": int(words["VmRSS"].split()[0]), "peak": int(words["VmHWM"].split()[0])}


def watch(words: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """Train to the end; return the peak in MiB, and what was resident every second."""
    process = subprocess.Popen([sys.executable, "-m", "polyak.cli", *words, "--out", str(folder)])
    series, peak = [], 0
    while process.poll() is None:
        try:
            found = resident(process.pid)
        except (OSError, KeyError):  # it is just ending
            break
        peak = max(peak, found["peak"])
        series.append(round(found["now"] / 1024, 1))
        time.sleep(1.0)
    if process.wait():
        raise SystemExit(f"the training failed with exit code {process.returncode}")
    return {"peak_mib": round(peak / 1024, 1), "resident_mib_by_second": series}


def main() -> None:
    """Watch, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 000 steps: does it run at all?")
    parser.add_argument("--out", type=Path, help="the JSON file, by default results/memory.json")
    asked = parser.parse_args()
    words = tuple("20000" if asked.quick and word == "1000000" else word for word in COMMAND)
    facts = {**measuring.provenance(), "watched": " ".join(["polyak", *words])}
    with tempfile.TemporaryDirectory() as folder:
        found = watch(words, Path(folder) / "run")
        run = json.loads((Path(folder) / "run" / "run.json").read_text(encoding="utf-8"))
    rows = run["plan"]["env_steps"]
    replay = round(rows * EnvSpec(vector(17), Box(6)).transition_bytes / 2**20, 1)  # HalfCheetah's, in float32
    print(f"peak {found['peak_mib']:,.0f} MiB, of which the replay buffer of {rows:,} transitions is {replay:,.0f} MiB")
    place = measuring.place_of("memory", asked.out, asked.quick)
    measuring.write_json(place, {**facts, "replay_mib": replay, **found})
    measuring.say(f"written: {place}")


if __name__ == "__main__":
    main()
