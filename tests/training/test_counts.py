"""How far each lane is: finished is not done while something is still to be learned from."""

import numpy as np
import pytest

from polyak.training.counts import Counts
from polyak.training.plans import ReplayPlan

PLAN = ReplayPlan(env_steps=100, warmup=0, episodes=4, updates=1, updates_per="episode")


def counts(env_steps: list[int], episodes: list[int], ready: list[bool]) -> Counts:
    return Counts(PLAN, np.array(env_steps), np.array(episodes), np.zeros(len(ready), np.int64), np.array(ready))


def test_a_lane_finishes_by_steps_or_by_episodes() -> None:
    now = counts([50, 100, 60], [1, 2, 4], [True] * 3)
    assert now.progress.tolist() == [0.5, 1.0, 1.0]
    assert now.finished.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("env_steps", "ready", "done"),
    [([100, 100], [True, True], True), ([100, 100], [True, False], False), ([100, 50], [True, True], False)],
)
def test_a_loop_is_done_when_every_lane_has_finished_and_learned(
    env_steps: list[int], ready: list[bool], done: bool
) -> None:
    assert counts(env_steps, [0, 0], ready).done is done
