"""Everything a run is between two iterations, on disk: written beside the last one, then put in its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyak.errors import UsageError, shortened
from polyak.runs import arrays, files
from polyak.runs.arrays import Free
from polyak.runs.conditions import is_count, is_table, is_word
from polyak.runs.record import RunRecord
from polyak.training.protocols import Loop
from polyak.types import Json


@dataclass
class Progress:
    """What a session knows beside the training itself."""

    best: Any
    best_returns: np.ndarray
    evaluated: np.ndarray  # [lane]
    seconds: dict[str, float]
    settings: str  # digest of what the run was asked for
    log_position: dict[str, Json]  # where its sinks are, and what it has not written yet
    begun_anew: int = 0  # environments that could not be brought back, when it was loaded


def save(folder: Path, loop: Loop, progress: Progress) -> None:
    """Write a checkpoint; a kill at any moment leaves the last one or this one whole."""
    snapshot = loop.snapshot()
    evaluations = {"best_returns": progress.best_returns, "evaluated": progress.evaluated}
    trees = {"loop": snapshot, "best": progress.best, **evaluations}
    facts = {
        "pending": snapshot["pending"] is not None,
        "env_steps": loop.counts.env_steps,
        "planned": loop.plan.env_steps,
        "seconds": progress.seconds,
        "settings": progress.settings,
        "log": progress.log_position,
    }
    arrays.save_set(folder, "checkpoint.json", facts, {"arrays": trees})


def settings_of(record: RunRecord) -> str:
    """Return the digest of what decides a run's numbers and stays the same, by its run.json."""
    free = ("workers", "env_steps")  # which change no bit, or may be raised: a checkpoint has its own
    decisive = {name: value for name, value in record.plan.items() if name not in free}
    asked = {key: getattr(record, key) for key in ("algorithm", "env", "env_kwargs", "config", "seeds")}
    return files.fingerprint({**asked, "plan": decisive})


def read(folder: Path, settings: str) -> dict[str, Any]:
    """Read what a checkpoint says of itself.

    Raises UsageError if it is missing, damaged or changed, or if the run's settings were changed since.
    """
    facts = files.read_json(folder / "checkpoint.json", FIELDS, sealed=True)
    if facts["settings"] != settings:
        raise UsageError(f"the settings in {folder.parent / 'run.json'} are not those that the run was started with")
    return facts


def _are_seconds(value: Any) -> bool:
    return is_table(value) and all(type(part) in (int, float) for part in value.values())


FIELDS = {
    "files": is_table,
    "env_steps": lambda value: isinstance(value, list) and bool(value) and all(map(is_count, value)),
    "pending": lambda value: isinstance(value, bool),
    "planned": lambda value: is_count(value) and value > 0,
    "seconds": _are_seconds,
    "settings": is_word,
    "log": is_table,
}


def load(folder: Path, loop: Loop, best: Any, settings: str) -> Progress:
    """Put a fresh Training at the checkpoint.

    Raises UsageError if it is missing, damaged or changed, or if the run's settings were changed since.
    """
    facts = read(folder, settings)
    template = {
        "loop": loop.template(facts["pending"], facts["planned"]),
        "best": best,
        "best_returns": np.zeros(len(loop.seeds)),
        "evaluated": np.zeros(len(loop.seeds), np.int64),
    }
    saved = arrays.load_arrays(folder, facts["files"].get("arrays"), template, _free(loop))
    try:
        anew = loop.restore(saved["loop"])
    except UsageError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise UsageError(f"the checkpoint in {folder} is damaged or was changed ({shortened(str(error))})") from error
    evaluated = saved["evaluated"]
    if facts["planned"] != loop.plan.env_steps:
        evaluated = loop.plan.evaluations_due(loop.counts.env_steps, loop.counts.episodes)
    chosen = saved["best"], saved["best_returns"], evaluated
    return Progress(*chosen, facts["seconds"], settings, facts["log"], anew)


def _free(loop: Loop) -> Free:
    """Say what may be of any length up to that of the whole run: the replay, and the actions of unfinished episodes."""
    plan, row = loop.plan, loop.spec.transition_bytes
    replay = "loop.learner.buffer.data"
    most = {"loop.collector.actions": row * plan.env_steps, replay: row * min(plan.capacity, 2 * plan.env_steps)}
    return Free(most, by_part=(replay,))
