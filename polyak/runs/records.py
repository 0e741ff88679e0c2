"""All that a run has written of itself, read back with types. Nothing here writes."""

from functools import cached_property
from pathlib import Path

from polyak.runs import curves
from polyak.runs.curves import Curve
from polyak.runs.record import RunRecord
from polyak.runs.tables import Evaluations, Metrics


class Records:
    """A run folder, each part of which is read when it is first asked for. Raises UsageError where that is damaged."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    @cached_property
    def run(self) -> RunRecord:
        """What run.json says: the settings, the status, the scores."""
        return RunRecord.read(self.folder / "run.json")

    @cached_property
    def metrics(self) -> Metrics:
        """What was measured during training."""
        return Metrics.read(self.folder / "metrics.csv")

    @cached_property
    def evaluations(self) -> Evaluations:
        """Every episode of the periodic evaluations."""
        return Evaluations.read(self.folder / "evaluations.csv")

    def curve(self, what: str = "evaluation", smooth: int = 1) -> Curve:
        """Return the curve of "evaluation", of "training", or of a column of metrics.csv.

        Each value is the mean of the newest `smooth` points. Raises UsageError where a run does not have that curve.
        """
        if what == "evaluation":
            return curves.evaluation(self.evaluations, smooth)
        return curves.training(self.metrics, "return" if what == "training" else what, smooth)
