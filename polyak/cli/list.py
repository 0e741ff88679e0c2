"""`polyak list`."""

import dataclasses

from polyak.cli import listing
from polyak.cli.flags import parse


@dataclasses.dataclass(frozen=True)
class List:
    """List what there is."""


def run(words: list[str]) -> None:
    """List algorithms with their presets, and environments."""
    parse(List, words, "polyak list")
    listing.algorithms()
    listing.environments()
