"""`polyak plot`."""

import dataclasses

from polyak.cli.flags import parse, until_flag
from polyak.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw the learning curves of runs."""

    out: str = "curves.png"
    """The picture: .png, .svg or .pdf."""
    what: str = "evaluation"
    """What to draw: evaluation, training (returns with exploration), or a column of metrics.csv, as critic_loss."""
    labels: tuple[str, ...] = ()
    """Names of the runs in the legend, in their order."""
    title: str | None = None
    """Title of the picture."""
    smooth: int = 1
    """Draw at each point the mean of the newest this many."""


def run(words: list[str]) -> None:
    """Draw learning curves."""
    folders = [word for word in until_flag(words)]
    options = parse(Plot, words[len(folders) :], "polyak plot RUN [RUN ...]")
    if not folders:
        raise UsageError("name the runs to plot, for example: polyak plot runs/a runs/b --out curves.png")
    from polyak.runs.plot import plot as draw
    from polyak.runs.run import load

    draw([load(folder).folder for folder in folders], **vars(options))
    print(options.out)
