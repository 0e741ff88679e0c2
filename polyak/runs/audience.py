"""Callbacks of training: a function of the user, which may stop it, and a return at which it stops."""

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
    """What a run has measured so far, with one entry for each seed in the run's order."""

    env_steps: tuple[int, ...]
    """Environment steps taken."""
    updates: tuple[int, ...]
    """Gradient updates made."""
    metrics: tuple[dict[str, int | float | None], ...]
    """The newest row of metrics.csv; empty before the first."""
    evaluation: tuple[float | None, ...] | None
    """Mean returns of the evaluation just made, None for seeds that it skipped; None if none was made."""


@dataclasses.dataclass(frozen=True)
class Audience:
    """What the caller of a training run wants to be told, and when to stop."""

    quiet: bool | None = None
    on_report: Callable[[Progress], object] | None = None
    stop_at: float | None = None

    def validate(self, evaluations: int) -> None:
        """Raise UsageError if the settings are invalid for a run with this many evaluations."""
        if self.on_report is not None and not callable(self.on_report):
            raise UsageError(f"on_report = {self.on_report!r} must be a function of one argument")
        if self.stop_at is None:
            return
        if isinstance(self.stop_at, bool) or not isinstance(self.stop_at, numbers.Real) or math.isnan(self.stop_at):
            raise UsageError(f"stop_at = {self.stop_at!r} must be a number: the evaluation return at which to stop")
        if not evaluations:
            raise UsageError(f"stop_at = {self.stop_at} needs evaluations: use {option('plan.evaluations', 10)}")

    def tell(self, progress: Progress) -> str | None:
        """Report progress; return the reason if training should stop. Raises RunError if the user's function fails."""
        if self.on_report is None:
            return None
        try:
            enough = self.on_report(progress)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit ends the run, not the process
            raise RunError(f"on_report failed: {describe(error)}") from error
        return "on_report asked for it" if isinstance(enough, bool | np.bool_) and enough else None

    def satisfied(self, returns: Sequence[float]) -> str | None:
        """Return the reason if training should stop because the mean of the newest evaluations reached `stop_at`."""
        mean = float(np.mean(returns))
        if self.stop_at is None or not mean >= self.stop_at:  # NaN until every seed has an evaluation
            return None
        return f"the evaluation return {mean:.4g} reached {self.stop_at:.4g}"


@dataclasses.dataclass(frozen=True)
class Listeners:
    """Whom a session reports to: whoever looks at the terminal, and the caller."""

    line: ProgressLine
    audience: Audience
