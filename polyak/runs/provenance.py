"""Where, when and with which software a run was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from typing import TypedDict

from polyak.lazy import jax
from polyak.training import devices


class Provenance(TypedDict):
    """Time, versions, commit and machine, as in run.json."""

    started: str
    versions: dict[str, str]
    commit: str | None
    device: str


def provenance() -> Provenance:
    """Return the provenance of this process."""
    packages = ("polyak", "jax", "optax", "numpy", "gymnasium", "mujoco")
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    used = jax.local_devices()[0]
    kind = "" if used.device_kind == used.platform else f" ({used.device_kind})"
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "commit": _commit(),
        "device": f"{used.platform}{kind}, {devices.cores()} cores",
    }


def _commit() -> str | None:
    try:
        here = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, cwd=os.getcwd())
    except OSError:
        return None
    return here.stdout.strip() if here.returncode == 0 else None
