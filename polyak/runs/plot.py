"""Pictures of learning curves: the IQM over seeds with a 95 % bootstrap band, one panel for each task."""

import contextlib
import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyak.errors import UsageError, describe, reason
from polyak.runs.curves import Curve
from polyak.runs.records import Records

if TYPE_CHECKING:  # matplotlib is imported where something is drawn: training and acting must not wait for it
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 3  # runs in a panel that leave room for more than their curves
LABEL = 40  # letters of a line beside an axis, which is about 3 inches high
LONGEST = 60  # letters of a label; of a longer one the middle is left out
LINES = ("-", "--", ":", "-.")  # the style changes when the ten colors are used up


@dataclass(frozen=True)
class Line:
    """What is drawn of one run."""

    env: str
    label: str
    curve: Curve
    behind: Curve | None = None  # training returns behind evaluations

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return self.curve.values.shape[1]


def plot(
    folders: Sequence[str | Path] | str | Path,
    out: str | Path,
    what: str = "evaluation",
    labels: Sequence[str] = (),
    title: str | None = None,
    smooth: int = 1,
) -> None:
    """Draw the curves of some runs into one picture (PNG, SVG or PDF by the file's name).

    `what` is "evaluation", "training" (returns with exploration) or a column of metrics.csv, such as "critic_loss".
    `labels` name the runs, in their order; `title` is the picture's. Each point is the mean of the newest `smooth`.

    Raises UsageError where there is nothing to draw, or the picture cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except Exception as error:  # a backend or settings of the user's that it does not know, or a damaged installation
        raise UsageError(f"matplotlib, which plots need, cannot be imported: {describe(error)}") from error

    if Path(out).suffix.lower().removeprefix(".") not in FigureCanvasAgg.get_supported_filetypes():
        raise UsageError(f"cannot draw {str(out)!r}: use a name ending in .png, .svg or .pdf")
    folders = [folders] if isinstance(folders, str | Path) else folders
    if not folders:
        raise UsageError("name at least one run to plot")
    if labels and len(labels) != len(folders):
        raise UsageError(f"{len(labels)} labels for {len(folders)} runs: give one for each run, in the same order")
    if smooth < 1:
        raise UsageError(f"smooth = {smooth} is too small: it must be at least 1, which smooths nothing")
    panels: dict[str, list[Line]] = {}
    for folder, label in zip(map(Path, folders), labels or [""] * len(folders), strict=True):
        line = _read(folder, label, what, smooth)
        panels.setdefault(line.env, []).append(line)
    colors = {_shortened(label): i for i, label in enumerate(dict.fromkeys(labels))}
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    _fill(figure, panels, colors, title)
    _save(figure, out)


def _read(folder: Path, label: str, what: str, smooth: int) -> Line:
    records = Records(folder)
    run = records.run
    curve, behind = records.curve(what, smooth), None
    if what == "evaluation":
        with contextlib.suppress(UsageError):  # without training returns it is still a picture of evaluations
            behind = records.curve("training", smooth)
    seeds = curve.values.shape[1]
    if not label:
        label = f"{folder.absolute().name}: {run.algorithm}, {seeds} seed{'s' * (seeds > 1)}"
    return Line(run.env, _shortened(label), curve, behind)


def _shortened(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST // 2]}…{label[-LONGEST // 2 :]}"


def _fill(figure: "Figure", panels: dict[str, list[Line]], colors: dict[str, int], title: str | None) -> None:
    """Draw one panel for each task; their legend stands below all of them where it is the same for all."""
    columns = min(math.ceil(math.sqrt(len(panels))), 4)
    rows = math.ceil(len(panels) / columns)
    named = [[line.label for line in lines] for lines in panels.values()]
    shared = all(labels == named[0] for labels in named) and (len(panels) > 1 or len(named[0]) > FEW)
    longest, most = max(len(label) for labels in named for label in labels), max(map(len, named))
    width, height = (6.4, 4.0) if len(panels) == 1 else (4.8, 3.4)
    beside = max(int(width * (columns if shared else 1) / (0.7 + 0.075 * longest)), 1)  # labels that fit in a row
    below = 0.3 + 0.2 * math.ceil(most / beside) if shared or most > FEW else 0.0
    figure.set_size_inches(width * columns, height * rows + below * (1 if shared else rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for i, (panel, (env, lines)) in enumerate(zip(axes.ravel(), panels.items(), strict=False)):
        handles, labels = _panel(panel, lines, colors)
        panel.set_title(title if title and len(panels) == 1 else env, parse_math=False)
        panel.xaxis.get_major_locator().set_params(nbins=6 if len(panels) == 1 else 4)
        panel.set_xlabel("environment steps of each seed" if i + columns >= len(panels) else "")
        panel.set_ylabel(_about(lines) if i % columns == 0 else "", fontsize="small")
        if shared and i == 0:
            _legend(figure, handles, labels, loc="outside lower center", ncols=beside)
        elif not shared and len(lines) > FEW:
            _legend(panel, handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=beside)
        elif not shared:
            _legend(panel, handles, labels, loc="best")
    for unused in axes.ravel()[len(panels) :]:
        unused.set_visible(False)
    if title and len(panels) > 1:
        figure.suptitle(title, parse_math=False)


def _panel(axes: "Axes", lines: list[Line], colors: dict[str, int]) -> tuple[list["Artist"], list[str]]:
    """Draw the runs of one task; return what its legend holds."""
    few = len(lines) <= FEW
    handles = [_draw(axes, line, colors.get(line.label, i), few) for i, line in enumerate(lines)]
    labels = [line.label for line in lines]
    if few and any(line.behind for line in lines):
        handles += axes.plot([], [], color="gray", **BEHIND)
        labels.append("training, with exploration")
    axes.grid(alpha=0.3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}".replace("-", "−"))
    return handles, labels


def _legend(place: "Axes | Figure", handles: list["Artist"], labels: list[str], **how: Any) -> None:
    legend = place.legend(handles, map(str, range(len(handles))), fontsize="small", **how)
    for text, label in zip(legend.get_texts(), labels, strict=True):  # as labels, those with an underscore are left out
        text.set(text=label, parse_math=False)


BEHIND: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.5}


def _draw(axes: "Axes", line: Line, number: int, few: bool) -> "Artist":
    """Draw one run; return its line. Where there are few there is room for the training, and for every seed."""
    curve = line.curve
    style: dict[str, Any] = {"color": f"C{number % 10}", "linestyle": LINES[number // 10 % len(LINES)]}
    if few and line.behind:
        axes.plot(line.behind.steps, line.behind.middle, **style, **BEHIND)
    mark = "o" if len(curve.steps) <= 30 else None
    (drawn,) = axes.plot(curve.steps, curve.middle, linewidth=2, marker=mark, markersize=3, **style)
    if line.seeds > 1:
        axes.fill_between(curve.steps, *curve.band.T, color=style["color"], alpha=0.2 if few else 0.1, linewidth=0)
        if few:
            axes.plot(curve.steps, curve.values, alpha=0.25, linewidth=0.7, **style)
    return drawn


def _about(lines: list[Line]) -> str:
    """Say what the vertical axis shows."""
    kinds = {line.curve.about for line in lines}
    what, _, mean = kinds.pop().partition(", ")
    seeds = "IQM over seeds, 95 % interval" if any(line.seeds > 1 for line in lines) else ""
    parts = [mean, seeds] if not kinds else [seeds]  # of means of several lengths no one can be named
    return "\n".join([what, *textwrap.wrap("; ".join(filter(None, parts)), LABEL)])


def _save(figure: "Figure", out: str | Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of letters that the font lacks, of a name too long to fit
            figure.savefig(out, dpi=150)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {out}: {reason(error)}") from error
