"""The live line on standard error that shows the progress of training."""

import os
import sys
import time
from collections.abc import Sequence
from typing import TextIO, cast

import numpy as np

from polyak.runs.forgiving import Forgiving
from polyak.runs.scores import iqm


def someone_looks() -> bool:
    """Return whether standard error is a terminal or a notebook."""
    return Forgiving(sys.stderr).isatty() or type(sys.stderr).__module__.startswith("ipykernel")


DUMB = ("dumb", "unknown")  # terminals that cannot overwrite a line: they get one line per quarter of the run


class ProgressLine:
    """A live line: time left, newest returns, environment steps per second and in total."""

    def __init__(self, total: int, seeds: int, shown: bool):
        """Prepare a line for `seeds` seeds of at most `total` environment steps each, unless `shown` is false."""
        self.total, self.seeds, self.shown = total, seeds, shown
        self.stream = cast(TextIO, Forgiving(sys.stderr))
        self.live = shown and self.stream.isatty() and os.environ.get("TERM") not in DUMB
        self.training: float | None = None
        self.evaluation = ""
        self.marks: list[tuple[float, int, float]] = []  # time, environment steps, share of the run
        self.quarter = 0
        if self.live:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            console = Console(file=self.stream)
            bar = [BarColumn(bar_width=12)] if console.width >= WIDE else []
            columns = (TextColumn("{task.percentage:>3.0f}%"), *bar, TextColumn("{task.description}"))
            self.progress = Progress(*columns, console=console, transient=True, refresh_per_second=5)
            self.task = self.progress.add_task("compiling…", total=1.0)
            self.progress.start()

    def returned(self, of_seeds: Sequence[float | None]) -> None:
        """Record the training return of each seed, None if no episode has ended."""
        known = [value for value in of_seeds if value is not None]
        self.training = float(np.mean(known)) if known else None

    def evaluated(self, newest: np.ndarray, best: np.ndarray) -> None:
        """Record the newest and the best evaluation return of each seed, not finite if there is none."""
        told, best = float(iqm(newest[np.isfinite(newest)])), best[np.isfinite(best)]
        self.evaluation = f"eval {_number(told)}" + (f" (best {_number(float(iqm(best)))})" if best.size else "")

    def update(self, env_steps: int, share: float, note: str = "") -> None:
        """Show that a `share` of the run is done; `note` says what it does while it is not stepping."""
        if not self.shown:
            return
        self.marks = [*self.marks[-200:], (time.monotonic(), env_steps, share)]
        if self.live:
            parts = [note] if note else [*self._parts(), f"{env_steps:,} steps"]
            self.progress.update(self.task, completed=share, description=_fitting(parts, self._room()))
        elif int(4 * share) > self.quarter and not note:
            self.quarter = int(4 * share)
            told = ", ".join(self._parts())
            print(f"{env_steps:,} of {self.total:,} steps: {told}", file=self.stream, flush=True)

    def say(self, sentence: str) -> None:
        """Print a sentence above the line."""
        if self.live:
            self.progress.console.print(sentence, markup=False, highlight=False)
        elif self.shown:
            print(sentence, file=self.stream, flush=True)

    def close(self) -> None:
        """Remove the line."""
        if self.live:
            self.progress.stop()

    def _parts(self) -> list[str]:
        """List the parts of the line, the most important first."""
        (then, steps, before), (now, env_steps, share) = self.marks[0], self.marks[-1]
        moved = now > then and share > before
        left = int((1 - share) * (now - then) / (share - before)) if moved else 0
        return [
            *([f"{left // 60}:{left % 60:02d} left"] if moved else []),
            *([self.evaluation] if self.evaluation else []),
            *([] if self.training is None else [f"training {_number(self.training)}"]),
            *([f"{(env_steps - steps) / (now - then) * self.seeds:,.0f} steps/s"] if moved else []),
        ]

    def _room(self) -> int:
        width = self.progress.console.width
        return width - 6 - 13 * (len(self.progress.columns) > 2)  # the percentage, and the bar if there is one


WIDE = 100  # columns from which on there is room for a bar


def _fitting(parts: Sequence[str], room: int) -> str:
    """Join as many parts as fit into `room` characters, at least the first."""
    text = parts[0]
    for part in parts[1:]:
        if len(text) + 2 + len(part) <= room:
            text = f"{text}, {part}"
    return text


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
