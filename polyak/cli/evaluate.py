"""`polyak evaluate`."""

import dataclasses
from typing import Literal

from polyak.cli.flags import folder_and
from polyak.cli.tables import one_object, table
from polyak.cli.trust import trusting_here
from polyak.envs.stdout import keeping_quiet


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a run's policies on fresh episodes."""

    episodes: int = 100
    """Episodes of each seed's policy."""
    which: Literal["best", "final"] = "best"
    """The policy that did best in the run's periodic evaluations, or the one at the end of training."""
    explore: bool = False
    """Act with exploration noise."""
    seed: int = 0
    """Choose other episodes."""
    json: bool = False
    """Print one JSON object and nothing else."""
    trust: bool = False
    """Let the run's files name modules to import: you trust whoever made them to run code here."""


def run(words: list[str]) -> None:
    """Score policies."""
    folder, options = folder_and(Evaluate, words, "polyak evaluate RUN")
    from polyak.runs.run import load

    if options.trust:
        trusting_here()
    run = load(folder, trust=options.trust)
    with keeping_quiet(options.json):
        result = run.evaluate(options.episodes, options.which, not options.explore, options.seed)
    if options.json:
        print(one_object(result))
    else:
        table({options.which: result})
