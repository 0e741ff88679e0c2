"""The curves of a run, made of its tables: evaluations, training returns, and every other metric."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from polyak.errors import UsageError, nearest, option
from polyak.runs.scores import interval, iqm
from polyak.runs.tables import Evaluations, Metrics

MOST_POINTS = 200  # where the seeds were measured at different steps
Series = tuple[np.ndarray, np.ndarray]  # steps and values of one seed


@dataclass(frozen=True)
class Curve:
    """Environment steps `[point]`, the values there `[point, seed]`, and what a value is."""

    steps: np.ndarray
    values: np.ndarray
    about: str

    @property
    def middle(self) -> np.ndarray:
        """The IQM over seeds `[point]`."""
        return iqm(self.values)

    @property
    def band(self) -> np.ndarray:
        """The 95 % bootstrap interval of the IQM over seeds `[point, 2]`."""
        return np.array([interval(values) for values in self.values])


def evaluation(table: Evaluations, smooth: int = 1) -> Curve:
    """Return the curve of the periodic evaluations, where each value is the mean of the newest `smooth` points.

    Raises UsageError if there are none.
    """
    points: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for env_steps, seed, total in zip(
        *map(np.ndarray.tolist, (table.env_steps, table.seeds, table.returns)), strict=True
    ):
        points[seed][env_steps].append(total)
    episodes = max((len(totals) for of_seed in points.values() for totals in of_seed.values()), default=0)
    series = {  # a crash may have cut the last evaluation short
        seed: _series({step: float(np.mean(totals)) for step, totals in of_seed.items() if len(totals) == episodes})
        for seed, of_seed in points.items()
    }
    about = f"evaluation return without exploration, mean of {episodes} episode{'s' * (episodes != 1)}"
    curve = _join(series, smooth, about)
    if curve is None:
        raise UsageError(f"{table.path.parent} has no evaluations to plot: train with {option('plan.evaluations', 10)}")
    return curve


def training(table: Metrics, column: str = "return", smooth: int = 1) -> Curve:
    """Return the curve of a column of metrics.csv, where each value is the mean of the newest `smooth` points.

    Raises UsageError if there is no such column, or nothing in it yet.
    """
    if len(table.seeds) and column not in table.columns:
        words = ["evaluation", "training", *table.columns]
        raise UsageError(f"{table.path} has no column {column!r}: {nearest(column, words)}")
    points: dict[int, dict[int, float]] = {seed: {} for seed in table.seeds.tolist()}
    values = table.columns.get(column, np.zeros(0))
    for step, seed, value in zip(*map(np.ndarray.tolist, (table.env_steps, table.seeds, values)), strict=True):
        if math.isfinite(value):
            points[seed][step] = value
    curve = _join({seed: _series(of_seed) for seed, of_seed in points.items()}, smooth, ABOUT.get(column, column))
    if curve is None:
        raise UsageError(f"{table.path.parent} has nothing to plot yet in the column {column} of metrics.csv")
    return curve


ABOUT = {
    "return": "training return with exploration, mean of the newest 20 episodes",
    "length": "length of training episodes, mean of the newest 20",
}


def _series(points: Mapping[int, float]) -> Series:
    steps = sorted(points)
    return np.array(steps), np.array([points[step] for step in steps])


def _join(series: Mapping[int, Series], smooth: int, about: str) -> Curve | None:
    """Bring all seeds to the same steps, those that each of them has reached; None if there are none.

    Seeds that were measured at different steps are interpolated. If all were measured equally often, one that stopped
    earlier than others, as with a limit of episodes, keeps its last value.
    """
    counts = {len(steps) for steps, _ in series.values()}
    if not series or 0 in counts:
        return None
    first = max(steps[0] for steps, _ in series.values())
    last = (max if len(counts) == 1 else min)(steps[-1] for steps, _ in series.values())
    grid = np.unique(np.concatenate([steps for steps, _ in series.values()]))
    grid = grid[(first <= grid) & (grid <= last)]
    if not len(grid):
        return None
    if len(grid) > max(MOST_POINTS, *(len(steps) for steps, _ in series.values())):
        grid = np.linspace(first, last, MOST_POINTS)
    smoothed = [np.interp(grid, steps, _smoothed(values, smooth)) for steps, values in series.values()]
    return Curve(grid, np.stack(smoothed, 1), about + (f", smoothed over {smooth} points" if smooth > 1 else ""))


def _smoothed(values: np.ndarray, count: int) -> np.ndarray:
    """Return at each point the mean of the newest `count` values: what comes later does not show before its time."""
    return np.array([values[max(i + 1 - count, 0) : i + 1].mean() for i in range(len(values))])
