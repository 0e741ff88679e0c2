"""What the iterations of a segment do: as much as can be heard through, and by plans that a device can follow."""

import numpy as np
import pytest

from polyak.errors import UsageError
from polyak.training import schedule
from polyak.training.plan import Plan
from polyak.training.plans import ReplayPlan, RolloutPlan


@pytest.mark.parametrize(
    ("plan", "iterations"),
    [
        (ReplayPlan(env_steps=10**8, rollout_length=128), 1_024 // 128),  # the updates are the limit
        (ReplayPlan(env_steps=10**8, rollout_length=128, updates=0.001), schedule.MOST_STEPS // 128),  # the steps are
        (RolloutPlan(env_steps=10**8, envs=64, rollout_length=250), 1),
        (ReplayPlan(env_steps=20_000, rollout_length=10), 10),  # a row of the log is
    ],
    ids=["updates", "steps", "long rollouts", "log"],
)
def test_a_segment_ends_before_an_interrupt_waits_for_long(plan: Plan, iterations: int) -> None:
    assert schedule.most_iterations(plan) == iterations
    rows, _ = schedule.segment(plan, np.array([plan.learning_starts]), np.array([0]), 0)
    assert len(rows) == iterations


def test_workers_are_for_the_host_loop() -> None:
    plan = ReplayPlan(workers=2, envs=2)
    assert schedule.fits(ReplayPlan(envs=2), 200)
    assert not schedule.fits(plan, 200)
    with pytest.raises(UsageError, match=r"workers = 2 step environments in Python.* use workers = 0"):
        schedule.validate(plan, 200)
