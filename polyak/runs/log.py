"""The log of a run: what is in a row and when one is due. The sinks write it."""

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from polyak.errors import UsageError
from polyak.runs.sinks import SINKS
from polyak.runs.sinks.sink import Evaluation, Row
from polyak.training.counts import Counts
from polyak.training.evaluate import Scores
from polyak.training.protocols import Report
from polyak.types import Json

NEWEST = 20  # training episodes that a training return is the mean of


class Log:
    """Averages the metrics of a run over intervals of environment steps, and hands one row per seed to every sink."""

    def __init__(self, folder: Path, seeds: Sequence[int], interval: int):
        """Start the log of a run that has taken no step; nothing is written before the first flush."""
        self.folder, self.seeds, self.interval = folder, list(seeds), interval
        self.newest: list[deque[tuple[float, int]]] = [deque(maxlen=NEWEST) for _ in self.seeds]  # returns, lengths
        self.ended = [0] * len(self.seeds)  # episodes since the newest row
        self.metrics: list[dict[str, list[float]]] = [{} for _ in self.seeds]
        self.logged = np.zeros(len(self.seeds), np.int64)  # [lane] environment steps at the newest row
        self.rows: list[dict[str, int | float | None]] = [{} for _ in self.seeds]  # the newest of this session
        self.began, self.seconds_before = time.monotonic(), 0.0
        self.sinks = {name: make(folder, self.seeds) for name, make in SINKS.items()}

    def resume(self, position: Json, env_steps: np.ndarray) -> None:
        """Continue from the position in a checkpoint, at `env_steps` (`[lane]`).

        The first flush drops what was written after that checkpoint. Raises UsageError if the position, or what a sink
        had written up to it, is damaged or missing.
        """
        try:
            positions = self._take_up(position)
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise self._damaged(error) from error
        for name, sink in self.sinks.items():
            try:
                sink.resume(positions[name], env_steps.tolist())
            except UsageError:
                raise
            except ValueError as error:
                raise self._damaged(error) from error
        self.began = time.monotonic()

    def exploring_returns(self) -> list[float | None]:
        """Return each seed's training return: the mean of its newest 20 training episodes, exploration included."""
        return [fmean(total for total, _ in newest) if newest else None for newest in self.newest]

    def iteration(self, report: Report, counts: Counts) -> bool:
        """Take in one iteration; hand out a row for each seed whose interval is complete, or which is finished.

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
            for sink in self.sinks.values():
                sink.evaluation(Evaluation(at, self.seeds[lane], returns, lengths))

    def flush(self) -> None:
        """Write everything taken in so far that makes whole rows. Raises RunError if the disk fails.

        What could not be written is written by the next flush.
        """
        for sink in self.sinks.values():
            sink.flush()

    def sync(self) -> None:
        """Flush, and wait until everything is on disk: what a checkpoint counts must survive it. Raises RunError."""
        for sink in self.sinks.values():
            sink.sync()

    def close(self) -> None:
        """Close every sink: the session is over."""
        for sink in self.sinks.values():
            sink.close()

    def position(self) -> dict[str, Json]:
        """Return where every sink is, and what has been taken in but not yet written (JSON values)."""
        return {
            "logged": self.logged.tolist(),
            "newest": [list(of_lane) for of_lane in self.newest],
            "ended": list(self.ended),
            "metrics": [dict(of_lane) for of_lane in self.metrics],
            "seconds": self._seconds(),
            "sinks": {name: sink.position() for name, sink in self.sinks.items()},
        }

    def _damaged(self, error: Exception) -> UsageError:
        return UsageError(f"the checkpoint in {self.folder} is damaged or was changed ({error})")

    def _take_up(self, position: Any) -> dict[str, Json]:
        """Continue from a position, and return those of the sinks; what it fails with says that it is none."""
        self.logged = np.array(list(map(int, position["logged"]))).reshape(len(self.seeds))
        self.ended = [int(position["ended"][lane]) for lane in range(len(self.seeds))]
        for lane, newest in enumerate(self.newest):
            newest.extend((float(total), int(length)) for total, length in position["newest"][lane])
            of_lane = position["metrics"][lane]
            self.metrics[lane] = {name: list(map(float, values)) for name, values in of_lane.items()}
        self.seconds_before = float(position["seconds"])
        return {name: position["sinks"].get(name) for name in self.sinks}

    def _seconds(self) -> float:
        return round(self.seconds_before + time.monotonic() - self.began, 3)

    def _write(self, lanes: np.ndarray, counts: Counts) -> None:
        seconds, returns = self._seconds(), self.exploring_returns()
        for lane in lanes.tolist():
            metrics = {
                "return": returns[lane],
                "length": fmean(length for _, length in self.newest[lane]) if self.newest[lane] else None,
                **{name: float(np.mean(series)) for name, series in self.metrics[lane].items()},
            }
            env_steps, updates = int(counts.env_steps[lane]), int(counts.updates[lane])
            row = Row(env_steps, self.seeds[lane], seconds, updates, self.ended[lane], metrics)
            self.rows[lane] = row.flat()
            for sink in self.sinks.values():
                sink.write(row)
            self.logged[lane], self.metrics[lane], self.ended[lane] = env_steps, {}, 0
