"""The half of an iteration that every loop shares: rows go to the replay, updates are made as they are due."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.training.learn import Learner, Rollout, Task, UpdateSchedule, learn, start
from polyak.training.plans import ReplayPlan
from polyak.types import Box, EnvSpec, vector
from tests.fixtures import toys
from tests.fixtures.rows import row_size, unpack

SPEC = EnvSpec(vector(2), Box(1))
PLAN = ReplayPlan(env_steps=40, warmup=4, rollout_length=4, envs=2, batch=8, capacity=20)
PER_EPISODE = ReplayPlan(
    env_steps=40, warmup=4, rollout_length=8, batch=8, capacity=20, updates=8, updates_per="episode"
)
CONFIG = toys.Config()
KEY = jax.random.key(5)
LEARN = jax.jit(learn, static_argnums=0)


def rollout(plan: ReplayPlan = PLAN, start: int = 0, count: int | None = None, active: bool = True) -> Rollout:
    """Make rows that hold their own numbers, from `start` on."""
    numbers = start + np.arange(plan.rollout_length * plan.envs, dtype=np.float32)
    rows = np.tile(numbers.reshape(plan.rollout_length, plan.envs, 1), (1, 1, row_size(SPEC))) / 100
    steps = np.int32(plan.rollout_length if count is None else count)
    return Rollout(unpack(SPEC, rows), steps, np.bool_(active), np.float32(0.5))


def fresh(plan: ReplayPlan = PLAN) -> Learner:
    return start(Task(toys.linear, plan, SPEC), CONFIG, KEY)


def run(
    learner: Learner, rollout: Rollout, updates: int, step: int = 0, plan: ReplayPlan = PLAN
) -> tuple[Learner, Any]:
    schedule = UpdateSchedule(jnp.int32(step), jnp.int32(updates))
    return LEARN(Task(Unchanged(toys.linear), plan, SPEC), CONFIG, learner, rollout, KEY, schedule)


class Unchanged:
    """An algorithm that can be hashed, as a module can, and equals any other wrapping of the same one."""

    def __init__(self, algorithm: Any):
        self.algorithm = algorithm

    def __getattr__(self, name: str) -> Any:
        return getattr(self.algorithm, name)

    def __hash__(self) -> int:
        return id(self.algorithm)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unchanged) and other.algorithm is self.algorithm


@pytest.mark.parametrize(("env_steps", "capacity"), [(40, 20), (12, 12)])
def test_the_buffer_holds_no_more_than_the_run_can_fill(env_steps: int, capacity: int) -> None:
    plan = ReplayPlan(env_steps=env_steps, warmup=4, rollout_length=4, envs=2, batch=8, capacity=20)
    assert fresh(plan).buffer.data.obs.shape == (capacity, SPEC.obs.shape[0])


def test_rows_enter_the_buffer_in_the_order_of_time() -> None:
    learner, _ = run(fresh(), rollout(count=3), updates=0)
    assert learner.buffer.added == 6
    np.testing.assert_allclose(learner.buffer.data.obs[:7, 0] * 100, [0, 1, 2, 3, 4, 5, 0])


def test_a_lane_that_is_done_adds_nothing() -> None:
    learner, _ = run(fresh(), rollout(), updates=0)
    learner, _ = run(learner, rollout(start=50, active=False), updates=0)
    assert learner.buffer.added == 8
    assert learner.buffer.data.obs.max() < 0.5


@pytest.mark.parametrize("updates", [0, 1, 5, 8])
def test_as_many_updates_as_owed(updates: int) -> None:
    learner, _ = run(fresh(), rollout(), updates)
    assert learner.state.policy.updates == updates


def test_without_updates_the_state_stays_and_metrics_are_zero() -> None:
    before = fresh()
    learner, metrics = run(before, rollout(), updates=0)
    np.testing.assert_array_equal(learner.state.policy.weight, before.state.policy.weight)
    assert metrics == {"value": 0.0, "step": 0.0, "draw": 0.0}


def test_metrics_are_means_and_the_step_runs_on() -> None:
    _, metrics = run(fresh(), rollout(), updates=3, step=10)
    assert metrics["step"] == 11.0  # the mean of 10, 11, 12


def test_updates_see_only_rows_that_were_added() -> None:
    learner, _ = run(fresh(), rollout(start=100, count=1), updates=0)
    for step in range(20):
        _, metrics = run(learner, rollout(count=0), updates=8, step=step)
        # rows 1.00 and 1.01 hold reward = x, next_obs = (x, x), terminated = x: their value is x + (1 - x)·2x
        assert 0.98 < metrics["value"] < 1.01


def test_the_same_step_draws_the_same_batches_another_step_others() -> None:
    learner, _ = run(fresh(), rollout(), updates=0)
    values = [run(learner, rollout(), 2, step)[1]["value"] for step in (7, 7, 9)]
    assert values[0] == values[1] != values[2]


def test_every_update_has_a_key_of_its_own() -> None:
    one, two = (run(fresh(), rollout(), updates)[1]["draw"] for updates in (1, 2))
    assert one != two  # the mean of two equal draws would be the first


def test_a_lane_that_is_done_learns_no_more_when_lanes_end_at_different_times() -> None:
    learner, _ = run(fresh(PER_EPISODE), rollout(PER_EPISODE), 8, plan=PER_EPISODE)
    after, _ = run(learner, rollout(PER_EPISODE, active=False), 8, 8, plan=PER_EPISODE)
    np.testing.assert_array_equal(after.state.policy.weight, learner.state.policy.weight)


def test_on_policy_learning_sees_the_whole_rollout_once() -> None:
    learner = start(Task(toys.on_policy, PLAN, SPEC), CONFIG, KEY)
    assert learner.buffer is None
    schedule = UpdateSchedule(jnp.int32(0), jnp.int32(1))
    after, metrics = LEARN(Task(Unchanged(toys.on_policy), PLAN, SPEC), CONFIG, learner, rollout(), KEY, schedule)
    assert after.state.policy.updates == 1
    np.testing.assert_allclose(metrics["reward"], 0.035, rtol=1e-5)  # of 0.00, 0.01, … 0.07
