"""The live line on standard error that shows how far training is."""

import sys
import time
from typing import TextIO, cast

import numpy as np

from polyak.runs.forgiving import Forgiving
from polyak.training.host import Report


def someone_looks() -> bool:
    """Say whether standard error is a terminal or a notebook."""
    return Forgiving(sys.stderr).isatty() or type(sys.stderr).__module__.startswith("ipykernel")


class ProgressLine:
    """One live line on standard error: environment steps, steps per second, newest return, time left."""

    def __init__(self, total: int, seeds: int, shown: bool):
        """Prepare a line for `seeds` seeds of at most `total` environment steps each; `shown` false keeps silent."""
        self.total, self.seeds, self.shown = total, seeds, shown
        self.stream = cast(TextIO, Forgiving(sys.stderr))
        self.live = shown and self.stream.isatty()
        self.newest: float | None = None
        self.marks: list[tuple[float, int, float]] = []  # time, environment steps, share of the run
        self.quarter = 0
        if self.live:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.percentage:>3.0f}%"),
                BarColumn(bar_width=12),
                TextColumn("{task.description}"),
            )
            self.progress = Progress(*columns, console=Console(file=self.stream), transient=True, refresh_per_second=5)
            self.task = self.progress.add_task("compiling…", total=1.0)
            self.progress.start()

    def update(self, report: Report | None, env_steps: int, share: float, note: str = "") -> None:
        """Show where the run is, `share` of it being done; `note` says what it is doing when it is not stepping."""
        if not self.shown:
            return
        if report is not None and report.episodes:
            self.newest = float(np.mean([episode.total for episode in report.episodes]))
        self.marks = [*self.marks[-200:], (time.monotonic(), env_steps, share)]
        if self.live:
            self.progress.update(self.task, completed=share, description=note or self._text(env_steps))
        elif int(4 * share) > self.quarter and not note:
            self.quarter = int(4 * share)
            print(f"{env_steps:,} of {self.total:,} steps: {self._text(env_steps)}", file=self.stream, flush=True)

    def say(self, sentence: str) -> None:
        """Print a sentence above the line."""
        if self.live:
            self.progress.console.print(sentence, markup=False, highlight=False)
        elif self.shown:
            print(sentence, file=self.stream, flush=True)

    def close(self) -> None:
        """Take the line away."""
        if self.live:
            self.progress.stop()

    def _text(self, env_steps: int) -> str:
        (then, steps, before), (now, _, share) = self.marks[0], self.marks[-1]
        rate = (env_steps - steps) / (now - then) if now > then else 0.0
        parts = [f"{env_steps:,} steps"] if self.live else []
        if share > before:
            left = int((1 - share) * (now - then) / (share - before))
            parts += [f"{rate * self.seeds:,.0f} steps/s", f"{left // 60}:{left % 60:02d} left"]
        if self.newest is not None:
            parts.append(f"exploring return {self.newest:.4g}")
        return ", ".join(parts)
