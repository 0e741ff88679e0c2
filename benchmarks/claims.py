"""What throughput.py measures, and what the ratios must be."""

from dataclasses import dataclass
from typing import TypeAlias

import peers

Key: TypeAlias = tuple[str, str, int]  # system, task, seeds
THREADS = {"polyak": (0,), "device": (0,), "sbx": (0, 1), "sb3": (1, 2), "torch": (1, 2)}  # 0: the library's own choice


@dataclass(frozen=True)
class Entry:
    """One thing to measure. Of the entries that differ in `threads` alone, the faster one counts."""

    system: str
    task: str
    seeds: int = 1
    threads: int = 0

    @property
    def key(self) -> Key:
        """What the thread variants have in common."""
        return self.system, self.task, self.seeds

    @property
    def name(self) -> str:
        """Return the system with what is special about it."""
        seeds = f", {self.seeds} seeds" if self.seeds > 1 else ""
        kind = "core" if self.system == "sbx" else "thread"
        threads = f", {self.threads} {kind}{'s' if self.threads > 1 else ''}" if self.threads else ""
        return f"{peers.NAMES[self.system]}{seeds}{threads}"


@dataclass(frozen=True)
class Claim:
    """A ratio of environment steps per second, what it must be and what it aims at; without figures: information."""

    above: Key
    below: Key
    must: float | None = None
    aim: float | None = None


def beside(
    peer: str, task: str, must: float | None = None, aim: float | None = None, ours: str = "polyak", seeds: int = 1
) -> Claim:
    """Compare polyak, or its device loop, with a peer: both with one seed, or with several."""
    return Claim((ours, task, seeds), (peer, task, seeds), must, aim)


CLAIMS = (
    beside("sbx", "small", 6.0, 9.0),
    beside("sb3", "small", 15.0, 22.0),
    beside("torch", "small"),
    beside("sbx", "small", 6.0, 8.0, seeds=4),
    Claim(("polyak", "small", 4), ("polyak", "small", 1), 1.6, 1.9),
    beside("sbx", "large", 1.35, 1.6),
    beside("sb3", "large", 2.2, 2.6),
    beside("torch", "large"),
    beside("sbx", "large", 1.2, 1.6, seeds=4),
    Claim(("polyak", "large", 4), ("polyak", "large", 1)),
    beside("torch", "tutorial", 5.0, 8.0),
    beside("torch", "tutorial", 20.0, 50.0, ours="device"),
    beside("sb3", "dqn", 5.0),
    beside("sbx", "dqn", 5.0),
    beside("sbx", "td3", 1.35, 1.6),
    beside("sb3", "td3", 2.2, 2.6),
    beside("sbx", "td3", 1.2, 1.6, seeds=4),
    beside("sbx", "sac", 1.35, 1.6),
    beside("sb3", "sac", 2.2, 2.6),
    beside("sbx", "sac", 1.2, 1.6, seeds=4),
    beside("sb3", "a2c", 4.0, 6.0),
    beside("sbx", "ppo", 4.0, 6.0),
    beside("sb3", "ppo"),
    Claim(("device", "ppo-wide", 1), ("sbx", "ppo", 1), 50.0, 200.0),
    beside("sbx", "crossq-small"),
    beside("sbx", "crossq-medium"),
)
# what the claims compare, each once, with one entry after the other for the same task
SCHEDULE = tuple(
    Entry(*key, threads)
    for key in dict.fromkeys(key for claim in CLAIMS for key in (claim.above, claim.below))
    for threads in (THREADS[key[0]] if key[2] == 1 or key[0] in peers.OURS else (1,))
)
