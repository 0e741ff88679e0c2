"""Everything a run is between two iterations, on disk: written beside the last one, then put in its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyak.errors import UsageError
from polyak.runs import files
from polyak.training.device import DeviceTraining
from polyak.training.host import Training


@dataclass
class Progress:
    """What a sitting knows beside the training itself."""

    best: Any
    best_returns: np.ndarray
    evaluated: np.ndarray  # [lane]
    seconds: dict[str, float]
    settings: str  # digest of what the run was asked for
    log_position: Any = None  # how many rows the log has, and what it has not written yet
    begun_anew: int = 0  # environments that could not be brought back, when it was loaded


def save(folder: Path, training: Training | DeviceTraining, progress: Progress) -> None:
    """Write a checkpoint; a kill at any moment leaves the last one or this one whole."""
    snapshot = training.snapshot()
    evaluations = {"best_returns": progress.best_returns, "evaluated": progress.evaluated}
    arrays = {"training": snapshot, "best": progress.best, **evaluations}
    facts = {
        "pending": snapshot["pending"] is not None,
        "env_steps": training.env_steps,
        "seconds": progress.seconds,
        "settings": progress.settings,
        "log": progress.log_position,
    }
    files.save_set(folder, "checkpoint.json", facts, {"arrays": arrays})


def load(folder: Path, training: Training | DeviceTraining, best: Any, settings: str) -> Progress:
    """Put a fresh Training at the checkpoint.

    Raises UsageError if it is missing, damaged or changed, or if the run's settings were changed since.
    """
    path = folder / "checkpoint.json"
    facts = files.read_json(path, ("files", "pending", "seconds", "settings", "log"))
    seconds, position = facts["seconds"], facts["log"]
    if not (
        isinstance(seconds, dict)
        and all(isinstance(value, int | float) for value in seconds.values())
        and isinstance(position, dict | None)
        and isinstance(facts["files"], dict)
    ):
        raise UsageError(f"{path} is damaged or was changed")
    if facts["settings"] != settings:
        raise UsageError(f"the settings in {folder.parent / 'run.json'} are not those that the run was started with")
    template = {
        "training": training.template(bool(facts["pending"])),
        "best": best,
        "best_returns": np.zeros(len(training.seeds)),
        "evaluated": np.zeros(len(training.seeds), np.int64),
    }
    replay = "training.learner.buffer.rows"
    arrays = files.load_arrays(folder, facts["files"].get("arrays"), template, ("training.actions", replay), (replay,))
    anew = training.restore(arrays["training"])
    chosen = arrays["best"], arrays["best_returns"], arrays["evaluated"]
    return Progress(*chosen, seconds, settings, position, anew)
