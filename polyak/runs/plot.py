"""Learning curves: the IQM over seeds of the periodic evaluations, with a 95 % bootstrap band."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from polyak.errors import UsageError
from polyak.runs.files import read_json
from polyak.runs.log import numbers, read_table
from polyak.runs.scores import interval, iqm


def curve(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return environment steps `[point]`, returns `[point, seed]` and their interval `[point, 2]` of a run.

    Raises UsageError if the run has no evaluations.
    """
    points: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    path = folder / "evaluations.csv"
    rows = read_table(path)
    columns = (numbers(path, rows, column) for column in ("env_steps", "seed", "return"))
    for env_steps, seed, total in zip(*columns, strict=True):
        points[int(env_steps)][int(seed)].append(total)
    seeds = max((len(of_seeds) for of_seeds in points.values()), default=0)
    episodes = max((len(values) for of_seeds in points.values() for values in of_seeds.values()), default=0)
    # a crash may have cut the last evaluation short
    steps = sorted(step for step, of in points.items() if sum(map(len, of.values())) == seeds * episodes)
    if not steps:
        raise UsageError(f"{folder} has no evaluations to plot: train with --plan.evaluations 10")
    returns = [np.array([np.mean(values) for values in points[step].values()]) for step in steps]
    return np.array(steps), np.stack(returns), np.array([interval(values) for values in returns])


def plot(folders: Sequence[str | Path], out: str | Path) -> None:
    """Draw the curves of some runs into one picture (PNG, SVG or PDF by the file's name)."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    environments = set()
    for folder in map(Path, folders):
        facts = read_json(folder / "run.json", ("algorithm", "env", "seeds"))
        environments.add(facts["env"])
        steps, returns, band = curve(folder)
        several = returns.shape[1] > 1
        label = f"{folder.name}: {facts['algorithm']}, " + (f"{returns.shape[1]} seeds" if several else "1 seed")
        (line,) = axes.plot(steps, [iqm(values) for values in returns], label=label, linewidth=2)
        if several:
            axes.fill_between(steps, band[:, 0], band[:, 1], color=line.get_color(), alpha=0.25, linewidth=0)
            axes.plot(steps, returns, color=line.get_color(), alpha=0.25, linewidth=0.7)
    axes.set_xlabel("environment steps of each seed")
    axes.set_ylabel("return without exploration\nIQM over seeds, 95 % interval")
    axes.set_title(", ".join(sorted(environments)))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")
    try:
        figure.savefig(out, dpi=150)
    except ValueError as error:
        raise UsageError(f"cannot draw {out}: use a name ending in .png, .svg or .pdf") from error
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
