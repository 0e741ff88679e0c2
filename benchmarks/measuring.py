"""What every benchmark needs: fresh processes, medians with their spread, and the provenance of a measurement."""

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PACKAGES = (
    "polyak", "jax", "jaxlib", "optax", "numpy", "gymnasium", "mujoco", "torch", "stable-baselines3", "sbx-rl", "flax",
)  # fmt: skip


class ChildError(Exception):
    """A measuring process ended badly; `reason` is the last line that it said, the message the last ones."""

    def __init__(self, code: int, said: str):
        lines = [line.rstrip() for line in said.splitlines() if line.strip()]
        super().__init__("\n".join(lines[-20:]) or f"exit code {code}")
        self.reason = lines[-1].strip() if lines else f"exit code {code}"


def measure(script: str, words: Sequence[str]) -> dict[str, Any]:
    """Run one of our scripts in a fresh process and return the JSON object on its last line. Raises ChildError."""
    load = load_average()
    done = subprocess.run(
        [sys.executable, str(HERE / script), *words], capture_output=True, text=True, env=child_environment()
    )
    if done.returncode != 0:
        raise ChildError(done.returncode, done.stderr)
    return {**json.loads(done.stdout.splitlines()[-1]), "load_before": load}


def child_environment(**extra: str) -> dict[str, str]:
    """Return the environment of a measuring process: the CPU where JAX_PLATFORMS is not set, nothing printed late."""
    return {"JAX_PLATFORMS": "cpu", **os.environ, "PYTHONUNBUFFERED": "1", **extra}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def provenance() -> dict[str, Any]:
    """Return what a result must be read with: command, date, machine, versions, commit."""
    return {
        "command": command(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
    }


def command() -> str:
    """Return the command that makes this result, but for the folders that it, and a run that is kept, go to."""
    words = [word for word in sys.argv if not word.startswith(("--out=", "--run="))]
    for flag in ("--out", "--run"):
        while flag in words:
            place = words.index(flag)
            del words[place : place + 2]
    return shlex.join(["python", f"benchmarks/{Path(words[0]).name}", *words[1:]])


def machine() -> dict[str, Any]:
    """Return the CPU's model, the cores that this process may use, the memory and the system."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu_model(),
        "cores": len(usable),
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(),
    }


def cpu_model() -> str:
    """Return the CPU's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def load_average() -> float | None:
    """Return the jobs that waited for a core in the last minute: a quiet machine has less than one."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, where installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the commit of this checkout, with "+" where tracked files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, cwd=HERE).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        return f"{head}+" if head and git("status", "--porcelain", "--untracked-files=no") else head or None
    except OSError:
        return None


def place_of(name: str, out: Path | None, quick: bool) -> Path:
    """Return where a result goes: a quick one not among the kept ones, unless asked for."""
    return out or (Path(tempfile.gettempdir()) / f"{name}-quick.json" if quick else RESULTS / f"{name}.json")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]

    def aligned(line: Sequence[str]) -> str:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        return "  ".join([line[0].ljust(widths[0]), *cells]).rstrip()

    rule = "  ".join("─" * width for width in widths)
    return "\n".join([aligned(header), rule, *(aligned(row) for row in rows)])


def say(text: str) -> None:
    """Tell the progress of a benchmark, on standard error at once."""
    print(text, file=sys.stderr, flush=True)


def at_least_one(text: str) -> int:
    """Read a count given on the command line."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)
