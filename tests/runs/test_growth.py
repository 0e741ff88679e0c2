"""A long run does not grow: what it keeps is as large after many steps as after a few."""

from pathlib import Path
from typing import Any

import pytest

import polyak
from tests.fixtures.memory import status
from tests.fixtures.walk import Walk

LEAST_LEAK = 1_000_000  # bytes: about 15 of each step


class Watched(Walk):
    """A walk that notes how much memory the process has when an episode begins."""

    sizes: list[int]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        del self.seeds[:], self.ends[:]  # its own records
        if self.taken % 500 < 9:
            self.sizes.append(status("RssAnon"))
        return super().reset(seed=seed)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory is asked of Linux")
def test_memory_does_not_grow_with_the_steps(tmp_path: Path) -> None:
    Watched.sizes = []
    plan = {"capacity": 1_000, "batch": 8, "warmup": 64, "updates": 0.1, "evaluations": 20, "checkpoint_seconds": 1.0}
    config = {"actor_layers": (8,), "critic_joint_layers": (8,)}
    polyak.train("ddpg", Watched, steps=150_000, config=config, plan=plan, out=tmp_path / "run")
    third = len(Watched.sizes) // 3
    assert third > 20
    assert max(Watched.sizes[-third:]) - max(Watched.sizes[third : 2 * third]) < LEAST_LEAK
