"""Everything a run is between two iterations, on disk: written beside the last one, then put in its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from polyak.errors import UsageError, shortened
from polyak.runs import arrays, files
from polyak.runs.arrays import Free
from polyak.runs.conditions import are_counts, is_number, is_positive, is_switch, is_table, is_word
from polyak.runs.record import RunRecord
from polyak.training.protocols import Loop
from polyak.types import Json, Tree


def _are_seconds(value: object) -> bool:
    return isinstance(value, dict) and all(map(is_number, value.values()))


@dataclass(frozen=True)
class CheckpointRecord:
    """What checkpoint.json says beside the arrays."""

    files: Annotated[dict[str, Json], is_table]
    env_steps: Annotated[list[int], are_counts]  # [lane]
    pending: Annotated[bool, is_switch]  # whether there is a rollout that nothing was learned from yet
    planned: Annotated[int, is_positive]  # the environment steps of the plan
    seconds: Annotated[dict[str, float], _are_seconds]
    settings: Annotated[str, is_word]  # digest of what the run was asked for
    log: Annotated[dict[str, Json], is_table]

    @property
    def steps_taken(self) -> int:
        """The most environment steps that a seed has taken."""
        return max(self.env_steps)


@dataclass
class Progress:
    """What a session knows beside the training itself."""

    best: Tree  # the policies that did best so far
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


def read(folder: Path, settings: str) -> CheckpointRecord:
    """Read what a checkpoint says of itself.

    Raises UsageError if it is missing, damaged or changed, or if the run's settings were changed since.
    """
    record = files.read_record(CheckpointRecord, folder / "checkpoint.json")
    if record.settings != settings:
        raise UsageError(f"the settings in {folder.parent / 'run.json'} are not those that the run was started with")
    return record


def load(folder: Path, loop: Loop, best: Tree, settings: str) -> Progress:
    """Put a fresh loop at the checkpoint.

    Raises UsageError if it is missing, damaged or changed, or if the run's settings were changed since.
    """
    record = read(folder, settings)
    template = {
        "loop": loop.template(record.pending, record.planned),
        "best": best,
        "best_returns": np.zeros(len(loop.seeds)),
        "evaluated": np.zeros(len(loop.seeds), np.int64),
    }
    saved = arrays.load_arrays(folder, record.files.get("arrays"), template, _free(loop))
    try:
        anew = loop.restore(saved["loop"])
    except UsageError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise UsageError(f"the checkpoint in {folder} is damaged or was changed ({shortened(str(error))})") from error
    evaluated = saved["evaluated"]
    if record.planned != loop.plan.env_steps:
        evaluated = loop.plan.evaluations_due(loop.counts.env_steps, loop.counts.episodes)
    chosen = saved["best"], saved["best_returns"], evaluated
    return Progress(*chosen, record.seconds, settings, record.log, anew)


def _free(loop: Loop) -> Free:
    """Say what may be of any length up to that of the whole run: the replay, and the actions of unfinished episodes."""
    plan, row = loop.plan, loop.spec.transition_bytes
    replay = "loop.learner.buffer.data"
    most = {"loop.collector.actions": row * plan.env_steps, replay: row * plan.room(2 * plan.env_steps)}
    return Free(most, by_part=(replay,))
