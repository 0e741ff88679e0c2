"""What a run tells while it trains: metrics.csv, evaluations.csv and TensorBoard files."""

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from polyak.errors import UsageError
from polyak.runs.csv_table import Table, numbers, read_table
from polyak.runs.tensorboard import Events
from polyak.training.evaluate import Scores
from polyak.training.protocols import Loop, Report

FILES = ("metrics.csv", "evaluations.csv")
NEWEST = 20  # training episodes that a training return is the mean of
EVALUATION_COLUMNS = ("env_steps", "seed", "episode", "return", "length")


class Log:
    """Writes the metrics of a run, averaged over intervals of environment steps, one row per seed."""

    def __init__(self, folder: Path, seeds: Sequence[int], interval: int, env_steps: np.ndarray, position: Any = None):
        """Start a log at `env_steps` (`[lane]`), or go on from the position that a checkpoint kept.

        Nothing is written before the first flush, which drops the rows that a killed run wrote later than that.
        Raises UsageError if rows are missing or damaged.
        """
        self.folder, self.seeds, self.interval = folder, list(seeds), interval
        self.newest: list[deque[tuple[float, int]]] = [deque(maxlen=NEWEST) for _ in self.seeds]  # returns, lengths
        self.ended = [0] * len(self.seeds)  # episodes since the newest row
        self.metrics: list[dict[str, list[float]]] = [{} for _ in self.seeds]
        self.logged = np.array(env_steps)  # [lane] environment steps at the newest row
        self.rows: list[dict[str, Any]] = [{} for _ in self.seeds]  # the newest of metrics.csv since the log was made
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
        """Return each seed's training return: the mean of its newest 20 training episodes, exploration included."""
        return [fmean(total for total, _ in newest) if newest else None for newest in self.newest]

    def iteration(self, report: Report, counts: Loop) -> bool:
        """Take in one iteration; write a row for each seed whose interval is complete, or which is finished.

        Return whether there was one.
        """
        for episode in report.episodes:
            self.newest[episode.lane].append((episode.total, episode.length))
            self.ended[episode.lane] += 1
        for name, values in (report.metrics or {}).items():
            for lane, value in enumerate(values.tolist()):
                if report.updates[lane]:
                    self.metrics[lane].setdefault(name, []).append(value)
        crossed = counts.env_steps // self.interval > self.logged // self.interval
        due = counts.ready & (crossed | (counts.finished & (counts.env_steps > self.logged)))
        if due.any():
            self._write(np.flatnonzero(due), counts)
        return bool(due.any())

    def evaluation(self, lanes: Sequence[int], env_steps: np.ndarray, scores: Scores) -> None:
        """Write the episodes `[lane, episode]` of some lanes, evaluated after `env_steps` (`[lane]`) steps."""
        for lane, at, returns, lengths in zip(lanes, env_steps.tolist(), scores.returns, scores.lengths, strict=True):
            for i, (total, length) in enumerate(zip(returns, lengths, strict=True)):
                values = (at, self.seeds[lane], i, float(total), int(length))
                self.tables["evaluations.csv"].write(dict(zip(EVALUATION_COLUMNS, values, strict=True)))
            self.writers[lane].add_scalar("evaluation/return", float(returns.mean()), at)
            self.writers[lane].add_scalar("evaluation/length", float(lengths.mean()), at)

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
        parts = {"newest": [list(of_lane) for of_lane in self.newest], "ended": self.ended, "metrics": self.metrics}
        rows = {name: table.count for name, table in self.tables.items()}
        return {"logged": self.logged.tolist(), **parts, "rows": rows}

    def _take_up(self, position: dict[str, Any]) -> dict[str, int]:
        """Continue from a position; return the number of rows of each file."""
        try:
            self.logged = np.array(list(map(int, position["logged"]))).reshape(len(self.seeds))
            self.ended = [int(position["ended"][lane]) for lane in range(len(self.seeds))]
            for lane, newest in enumerate(self.newest):
                newest.extend((float(total), int(length)) for total, length in position["newest"][lane])
                of_lane = position["metrics"][lane]
                self.metrics[lane] = {name: list(map(float, values)) for name, values in of_lane.items()}
            rows = {name: int(position["rows"][name]) for name in FILES}
            if min(rows.values()) < 0:
                raise ValueError("negative numbers of rows")
            return rows
        except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UsageError(f"the checkpoint in {self.folder} is damaged or was changed ({error})") from error

    def _write(self, lanes: np.ndarray, counts: Loop) -> None:
        seconds = round(self.seconds_before + time.monotonic() - self.began, 3)
        returns = self.exploring_returns()
        for lane in lanes.tolist():
            values = {
                "return": returns[lane],
                "length": fmean(length for _, length in self.newest[lane]) if self.newest[lane] else None,
                **{name: float(np.mean(series)) for name, series in self.metrics[lane].items()},
            }
            env_steps, updates = int(counts.env_steps[lane]), int(counts.updates[lane])
            row = {"env_steps": env_steps, "seed": self.seeds[lane], "seconds": seconds, "updates": updates}
            self.rows[lane] = {**row, "episodes": self.ended[lane], **values}
            self.tables["metrics.csv"].write(self.rows[lane])
            for name, value in values.items():
                if value is not None and np.isfinite(value):  # a curve cannot show others
                    self.writers[lane].add_scalar(f"training/{name}", value, env_steps)
            self.logged[lane], self.metrics[lane], self.ended[lane] = env_steps, {}, 0
