"""Everything a run is between two iterations, on disk: written beside the last one, then put in its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyak.runs import files
from polyak.training.host import Training


@dataclass
class Progress:
    """What a sitting knows beside the training itself."""

    best: Any
    best_returns: np.ndarray
    evaluated: int
    seconds: dict[str, float]


def save(folder: Path, training: Training, progress: Progress) -> None:
    """Write a checkpoint; a kill at any moment leaves the last one or this one whole."""
    folder.mkdir(exist_ok=True)
    snapshot = training.snapshot()
    arrays = {"training": snapshot, "best": progress.best, "best_returns": progress.best_returns}
    entry = files.save_arrays(folder / f"arrays-{_next_number(folder)}.safetensors", arrays)
    facts = {
        "arrays": entry,
        "pending": snapshot["pending"] is not None,
        "env_steps": training.env_steps,
        "evaluated": progress.evaluated,
        "seconds": progress.seconds,
    }
    files.write_json(folder / "checkpoint.json", facts)
    for other in folder.iterdir():
        if other.name not in (entry["file"], "checkpoint.json"):
            other.unlink(missing_ok=True)


def load(folder: Path, training: Training, best: Any) -> Progress:
    """Put a fresh Training at the checkpoint. Raises UsageError if it is missing, damaged or changed."""
    facts = files.read_json(folder / "checkpoint.json", ("arrays", "pending", "evaluated", "seconds"))
    template = {
        "training": training.template(bool(facts["pending"])),
        "best": best,
        "best_returns": np.zeros(len(training.seeds)),
    }
    any_length = ("training.actions", "training.learner.buffer.rows")
    arrays = files.load_arrays(folder, facts["arrays"], template, any_length)
    training.restore(arrays["training"])
    return Progress(arrays["best"], arrays["best_returns"], int(facts["evaluated"]), dict(facts["seconds"]))


def _next_number(folder: Path) -> int:
    numbers = [path.stem.removeprefix("arrays-") for path in folder.glob("arrays-*.safetensors")]
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=0)
