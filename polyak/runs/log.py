"""What a run tells while it trains: metrics.csv, evaluations.csv and TensorBoard files."""

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyak.errors import UsageError
from polyak.runs.csv_table import Table, numbers, read_table
from polyak.runs.tensorboard import Events
from polyak.training.host import Report

FILES = ("metrics.csv", "evaluations.csv")
EVALUATION_COLUMNS = ("env_steps", "seed", "episode", "return", "length")


class Log:
    """Writes the metrics of a run, averaged over intervals of environment steps, one row per seed."""

    def __init__(self, folder: Path, seeds: Sequence[int], interval: int, env_steps: np.ndarray, position: Any = None):
        """Start a log at `env_steps` (`[lane]`), or go on from the position that a checkpoint kept.

        Nothing is written before the first flush, which drops the rows that a killed run wrote later than that.
        Raises UsageError if rows are missing or damaged.
        """
        self.folder, self.seeds, self.interval = folder, list(seeds), interval
        self.newest: list[deque[float]] = [deque(maxlen=20) for _ in self.seeds]
        self.logged = int(env_steps.max())
        self._clear()
        rows = dict.fromkeys(FILES, 0)
        if position is not None:
            rows = self._take_up(position)
        kept = {name: read_table(folder / name, rows[name]) for name in FILES}
        self.writers = [
            Events(folder / "tensorboard" / f"seed-{seed}", int(env_steps[lane]) + 1)
            for lane, seed in enumerate(self.seeds)
        ]
        self.tables = {name: Table(folder / name, kept[name]) for name in FILES}
        self.parts: list[Table | Events] = [*self.tables.values(), *self.writers]
        self.began = time.monotonic()
        self.seconds_before = max(numbers(folder / "metrics.csv", kept["metrics.csv"], "seconds"), default=0.0)

    def exploring_returns(self) -> list[float | None]:
        """Return each seed's mean return over its newest 20 training episodes, exploration included."""
        return [float(np.mean(returns)) if returns else None for returns in self.newest]

    def iteration(
        self, report: Report, env_steps: np.ndarray, updates: int, last: bool, collected: bool = False
    ) -> None:
        """Take in one iteration; write a row per seed when an interval is complete, or at the end."""
        for episode in report.episodes:
            self.returns[episode.lane].append(episode.total)
            self.newest[episode.lane].append(episode.total)
            self.lengths[episode.lane].append(episode.length)
        for name, values in (report.metrics or {}).items():
            self.metrics[name].append(np.asarray(values))
        crossed = int(env_steps.max()) // self.interval > self.logged // self.interval
        if last or (crossed and not collected):  # what was collected last is written with what was learned from it
            self._write(env_steps, updates)

    def evaluation(self, env_steps: int, returns: np.ndarray, lengths: np.ndarray) -> None:
        """Write the episodes `[lane, episode]` of one evaluation."""
        for lane, seed in enumerate(self.seeds):
            for i, (total, length) in enumerate(zip(returns[lane], lengths[lane], strict=True)):
                row = dict(zip(EVALUATION_COLUMNS, (env_steps, seed, i, float(total), int(length)), strict=True))
                self.tables["evaluations.csv"].write(row)
            self.writers[lane].add_scalar("evaluation/return", float(returns[lane].mean()), env_steps)
            self.writers[lane].add_scalar("evaluation/length", float(lengths[lane].mean()), env_steps)

    def flush(self) -> None:
        """Write everything taken in so far that makes whole rows. Raises RunError if the disk fails.

        What could not be written is written by the next flush.
        """
        for part in self.parts:
            part.flush()

    def sync(self) -> None:
        """Flush, and wait until everything is on disk: what a checkpoint counts must survive it. Raises RunError."""
        for part in self.parts:
            part.sync()

    def position(self) -> dict[str, Any]:
        """Return how many rows there are, and what has been taken in but not yet written (JSON values)."""
        metrics = {name: [values.tolist() for values in series] for name, series in self.metrics.items()}
        newest = [list(returns) for returns in self.newest]
        parts = {"logged": self.logged, "returns": self.returns, "lengths": self.lengths, "newest": newest}
        rows = {name: table.count for name, table in self.tables.items()}
        return {**parts, "metrics": metrics, "rows": rows}

    def _take_up(self, position: dict[str, Any]) -> dict[str, int]:
        """Continue from a position; return the number of rows of each file."""
        try:
            self.logged = int(position["logged"])
            for lane, (returns, lengths) in enumerate(zip(position["returns"], position["lengths"], strict=True)):
                self.returns[lane] += map(float, returns)
                self.lengths[lane] += map(int, lengths)
                self.newest[lane].extend(map(float, position["newest"][lane]))
            for name, series in position["metrics"].items():
                self.metrics[name] = [np.array(values, np.float32).reshape(len(self.seeds)) for values in series]
            rows = {name: int(position["rows"][name]) for name in FILES}
            if min(rows.values()) < 0:
                raise ValueError("negative numbers of rows")
            return rows
        except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UsageError(f"the checkpoint in {self.folder} is damaged or was changed ({error})") from error

    def _write(self, env_steps: np.ndarray, updates: int) -> None:
        seconds = self.seconds_before + time.monotonic() - self.began
        for lane, seed in enumerate(self.seeds):
            returns, lengths = self.returns[lane], self.lengths[lane]
            values = {
                "return": float(np.mean(returns)) if returns else None,
                "length": float(np.mean(lengths)) if lengths else None,
                **{name: float(np.mean([m[lane] for m in series])) for name, series in self.metrics.items()},
            }
            row = {"env_steps": int(env_steps[lane]), "seed": seed, "seconds": round(seconds, 3), "updates": updates}
            self.tables["metrics.csv"].write({**row, "episodes": len(returns), **values})
            for name, value in values.items():
                if value is not None and np.isfinite(value):  # a curve cannot show others
                    self.writers[lane].add_scalar(f"training/{name}", value, int(env_steps[lane]))
        self.logged = int(env_steps.max())
        self._clear()

    def _clear(self) -> None:
        self.metrics: dict[str, list[np.ndarray]] = defaultdict(list)
        self.returns: list[list[float]] = [[] for _ in self.seeds]
        self.lengths: list[list[int]] = [[] for _ in self.seeds]
