"""What a log hands out, and what it needs of whatever takes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from polyak.types import Json


@dataclass(frozen=True)
class Row:
    """What one seed measured in an interval of training."""

    env_steps: int  # so far, as are updates
    seed: int
    seconds: float  # since training began, pauses between sessions not counted
    updates: int
    episodes: int  # that ended in the interval
    metrics: dict[str, float | None]  # by name; None: not measured yet

    def flat(self) -> dict[str, int | float | None]:
        """Return everything by name, the metrics last."""
        counts = {name: value for name, value in vars(self).items() if name != "metrics"}
        return {**counts, **self.metrics}


@dataclass(frozen=True)
class Evaluation:
    """The episodes of one seed's periodic evaluation."""

    env_steps: int
    seed: int
    returns: np.ndarray  # [episode]
    lengths: np.ndarray  # [episode]


class Sink(Protocol):
    """Takes what a run measures, and goes on where a checkpoint was saved.

    It belongs to one session. Nothing is written before the first `flush`: until then the run in the folder may
    still prove to be one that cannot be resumed. What the run is can be read from its run.json.
    """

    writes: ClassVar[str]  # a regular expression for the files that it makes in the run folder, such as r"x\.csv"
    folders: ClassVar[str]  # one for the folders that it makes there

    def __init__(self, folder: Path, seeds: Sequence[int]):
        """Begin afresh: the first flush replaces what was there."""

    def resume(self, position: Json, env_steps: Sequence[int]) -> None:
        """Go on from a position of its own, when each seed had taken `env_steps`; what came later counts no more.

        The position is None where the checkpoint was saved without this sink. Raises ValueError where it is not one
        of its own, UsageError where what had been written by then is missing or damaged.
        """

    def write(self, row: Row) -> None:
        """Take one seed's row."""

    def evaluation(self, evaluation: Evaluation) -> None:
        """Take one seed's evaluation."""

    def flush(self) -> None:
        """Write what was taken. Raises RunError, and keeps what is not written for the next flush, if that fails."""

    def sync(self) -> None:
        """Flush, and wait until it survives a loss of power. Raises RunError."""

    def position(self) -> Json:
        """Say how much was taken so far: what a checkpoint keeps for `resume`, in JSON's terms."""
