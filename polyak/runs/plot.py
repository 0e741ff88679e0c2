"""Learning curves: the IQM over seeds of the periodic evaluations, with a 95 % bootstrap band."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polyak.errors import UsageError, reason
from polyak.runs.csv_table import numbers, read_table
from polyak.runs.files import read_json
from polyak.runs.scores import interval, iqm

if TYPE_CHECKING:  # matplotlib is imported where something is drawn: training and acting must not wait for it
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curve(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return environment steps `[point]`, returns `[point, seed]` and their interval `[point, 2]` of a run.

    Raises UsageError if the run has no evaluations.
    """
    points: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for env_steps, seed, total in zip(*_columns(folder / "evaluations.csv"), strict=True):
        points[int(env_steps)][int(seed)].append(total)
    seeds = max((len(of_seeds) for of_seeds in points.values()), default=0)
    episodes = max((len(values) for of_seeds in points.values() for values in of_seeds.values()), default=0)
    # a crash may have cut the last evaluation short
    steps = sorted(step for step, of in points.items() if sum(map(len, of.values())) == seeds * episodes)
    if not steps:
        raise UsageError(f"{folder} has no evaluations to plot: train with --plan.evaluations 10")
    returns = [np.array([np.mean(values) for values in points[step].values()]) for step in steps]
    return np.array(steps), np.stack(returns), np.array([interval(values) for values in returns])


def _columns(path: Path) -> list[list[float]]:
    rows = read_table(path)
    columns = [numbers(path, rows, column) for column in ("env_steps", "seed", "return")]
    if not np.isfinite(columns).all():
        raise UsageError(f"{path} is damaged or was changed: it has numbers that are not finite")
    return columns


def plot(folders: Sequence[str | Path], out: str | Path) -> None:
    """Draw the curves of some runs into one picture (PNG, SVG or PDF by the file's name).

    Raises UsageError where there is nothing to draw, or the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    if Path(out).suffix.lower().removeprefix(".") not in canvas.get_supported_filetypes():
        raise UsageError(f"cannot draw {str(out)!r}: use a name ending in .png, .svg or .pdf")
    axes = figure.add_subplot()
    facts = [read_json(Path(folder) / "run.json", ("algorithm", "env", "seeds")) for folder in folders]
    lines, labels = [], []
    for folder, of_run in zip(map(Path, folders), facts, strict=True):
        line, seeds = _draw(axes, folder)
        lines.append(line)
        labels.append(f"{folder.absolute().name}: {of_run['algorithm']}, {seeds} seed{'s' * (seeds > 1)}")
    axes.set_xlabel("environment steps of each seed")
    axes.set_ylabel("return without exploration\nIQM over seeds, 95 % interval")
    axes.set_title(", ".join(sorted({str(of_run["env"]) for of_run in facts})), parse_math=False)
    axes.grid(alpha=0.3)
    legend = axes.legend(lines, map(str, range(len(lines))), loc="lower right", fontsize="small")
    for text, label in zip(legend.get_texts(), labels, strict=True):  # as labels, those with an underscore are left out
        text.set(text=label, parse_math=False)
    _save(figure, out)


def _draw(axes: "Axes", folder: Path) -> "tuple[Artist, int]":
    """Draw the curve of one run; return its line and its number of seeds."""
    steps, returns, band = curve(folder)
    (line,) = axes.plot(steps, [iqm(values) for values in returns], linewidth=2)
    if returns.shape[1] > 1:
        axes.fill_between(steps, band[:, 0], band[:, 1], color=line.get_color(), alpha=0.25, linewidth=0)
        axes.plot(steps, returns, color=line.get_color(), alpha=0.25, linewidth=0.7)
    return line, returns.shape[1]


def _save(figure: "Figure", out: str | Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of letters that the font lacks, of a name too long to fit
            figure.savefig(out, dpi=150)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {out}: {reason(error)}") from error
