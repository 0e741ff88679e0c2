"""Who is told how training goes: a function of the user's, which may end it, and the return at which it ends."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Sequence

import numpy as np

from polyak.errors import RunError, UsageError, describe, option
from polyak.runs.progress_line import ProgressLine


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a run has measured so far. Everything has one entry for each seed, in the run's order."""

    env_steps: tuple[int, ...]
    """Environment steps taken."""
    updates: tuple[int, ...]
    """Gradient updates made."""
    metrics: tuple[dict[str, int | float | None], ...]
    """The newest row of metrics.csv; empty before the first."""
    evaluation: tuple[float | None, ...] | None
    """Mean returns of the evaluation just made, None for seeds that it left out; None: no evaluation was made."""


@dataclasses.dataclass(frozen=True)
class Audience:
    """What the caller of a training wants to be told, and when it is enough."""

    quiet: bool | None = None
    on_report: Callable[[Progress], object] | None = None
    stop_at: float | None = None

    def validate(self, evaluations: int) -> None:
        """Raise UsageError where a run with so many evaluations cannot be told and ended like this."""
        if self.on_report is not None and not callable(self.on_report):
            raise UsageError(f"on_report = {self.on_report!r} must be a function of one argument")
        if self.stop_at is None:
            return
        if isinstance(self.stop_at, bool) or not isinstance(self.stop_at, numbers.Real) or math.isnan(self.stop_at):
            raise UsageError(f"stop_at = {self.stop_at!r} must be a number: the evaluation return at which to stop")
        if not evaluations:
            raise UsageError(f"stop_at = {self.stop_at} needs evaluations: use {option('plan.evaluations', 10)}")

    def tell(self, progress: Progress) -> str | None:
        """Report; return why training ends here, if it does. Raises RunError where the user's function fails."""
        if self.on_report is None:
            return None
        try:
            enough = self.on_report(progress)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # one that exits ends the run, not the process
            raise RunError(f"on_report failed: {describe(error)}") from error
        return "on_report asked for it" if isinstance(enough, bool | np.bool_) and enough else None

    def satisfied(self, returns: Sequence[float]) -> str | None:
        """Return why training ends here, if it does: the newest evaluations of all seeds have the wanted mean."""
        mean = float(np.mean(returns))
        if self.stop_at is None or not mean >= self.stop_at:  # before every seed has one, the mean is no number
            return None
        return f"the evaluation return {mean:.4g} reached {self.stop_at:.4g}"


@dataclasses.dataclass(frozen=True)
class Listeners:
    """Whom a session reports to: whoever looks at the terminal, and the caller."""

    line: ProgressLine
    audience: Audience
