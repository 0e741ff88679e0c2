"""The protocol of a sink, which writes the measurements of a run somewhere, and what it is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from polyak.types import Json


@dataclass(frozen=True)
class Row:
    """The measurements of one seed over an interval of training."""

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
    """Writes the measurements of a run somewhere, and can go back to where it was at a checkpoint.

    Each session makes its own, and closes it. A sink must not write before the first `flush`: until then, polyak may
    still find that the run in the folder cannot be resumed. A sink that needs the run's settings can read its run.json.
    """

    writes: ClassVar[str]  # a regular expression for the files that it makes in the run folder, such as r"x\.csv"
    folders: ClassVar[str]  # one for the folders that it makes there

    def __init__(self, folder: Path, seeds: Sequence[int]):
        """Start without measurements; the first flush replaces what an earlier run left."""

    def resume(self, position: Json, env_steps: Sequence[int]) -> None:
        """Go back to a `position` that this sink once returned, after `env_steps` of each seed, and discard the rest.

        The position is None if the checkpoint was saved without this sink. Raises ValueError if the position is not
        valid, UsageError if what was written up to it is missing or damaged.
        """

    def write(self, row: Row) -> None:
        """Add a row of one seed."""

    def evaluation(self, evaluation: Evaluation) -> None:
        """Add an evaluation of one seed."""

    def flush(self) -> None:
        """Write what was added.

        Raises RunError if that fails, which ends the session; the next flush tries again. A sink whose destination may
        be out of reach for a while keeps what was added instead, and writes it later.
        """

    def sync(self) -> None:
        """Flush, and wait until everything would survive a loss of power. Raises RunError."""

    def close(self) -> None:
        """Release what the sink holds open; the session is over. It must not raise."""

    def position(self) -> Json:
        """Return how much was added so far, as a JSON value; a checkpoint keeps it for `resume`."""
