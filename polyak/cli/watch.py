"""`polyak watch`."""

import dataclasses
import os
from typing import Literal

from polyak.cli.flags import folder_and
from polyak.cli.trust import trusting_here
from polyak.runs.interrupts import active


@dataclasses.dataclass(frozen=True)
class Watch:
    """Show a run's agent in a window, or record it."""

    record: str | None = None
    """Write a .gif or .mp4 instead of opening a window."""
    episodes: int = 1
    """Episodes to show."""
    which: Literal["best", "final"] = "best"
    """The best or the final policy."""
    seed: int | None = None
    """The seed whose agent to show; by default the one that did best in its periodic evaluations."""
    episode_seed: int = 0
    """Seed of the first episode."""
    explore: bool = False
    """Act with exploration, as in training."""
    trust: bool = False
    """Let the run's files name modules to import: you trust whoever made them to run code here."""


def run(words: list[str]) -> None:
    """Show an agent."""
    folder, options = folder_and(Watch, words, "polyak watch RUN")
    from polyak.runs.run import load
    from polyak.runs.watch import watch as show

    if options.record is not None:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws without a screen, and does not ask for one
    active().starting = False  # there is a window, or a film under way, to be closed when Ctrl-C is pressed
    if options.trust:
        trusting_here()
    run = load(folder, trust=options.trust)
    policy = run.saved.policy(options.which, options.seed)
    print(show(policy, run.source(), options.record, options.episodes, options.episode_seed, options.explore))
