"""The clock of updates: which step it is, and how far the run had come when the rollout began."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from polyak.envs.gymnasium import VectorEnv
from polyak.training.host import HostLoop
from polyak.training.job import Job
from polyak.training.plan import Plan
from polyak.training.plans import ReplayPlan, RolloutPlan
from polyak.types import Clock
from tests.fixtures import toys
from tests.fixtures.walk import Walk

SEEDS = (3, 4)


def telling(algorithm: Any) -> Any:
    """Make an algorithm whose updates tell the progress of their clock."""

    def update(config: Any, state: Any, data: Any, key: Any, clock: Clock) -> Any:
        state, _ = algorithm.update(config, state, data, key, clock)
        return state, {"progress": clock.progress, "step": jnp.float32(clock.updates)}

    return toys.variant(algorithm, update=update)


OFF_POLICY, ON_POLICY = telling(toys.linear), telling(toys.on_policy)


def loop(plan: Plan, algorithm: Any = OFF_POLICY) -> HostLoop:
    return HostLoop(Job(algorithm, toys.Config(), plan, VectorEnv(Walk, SEEDS, plan.envs), SEEDS))


def told(trained: HostLoop, name: str = "progress") -> list[float]:
    """Train to the end; return what each iteration that made updates told, the same in all lanes."""
    found = []
    while not trained.counts.done:
        metrics = trained.advance().metrics
        if metrics is not None:
            assert metrics[name][0] == metrics[name][1]
            found.append(float(metrics[name][0]))
    return found


def test_on_policy_progress_is_0_for_the_first_rollout_and_below_1_for_the_last() -> None:
    plan = RolloutPlan(env_steps=80, envs=4, rollout_length=5)
    np.testing.assert_allclose(told(loop(plan, ON_POLICY)), [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(told(loop(plan, ON_POLICY), "step"), [0, 1, 2, 3])


def test_progress_is_that_when_the_rollout_began_whether_learning_overlaps_or_not() -> None:
    # rollouts begin at 0 (the warm-up, from which nothing is learned), 20, 40, 60, 80 and, the short last one, at 100
    for overlap in (True, False):
        plan = ReplayPlan(env_steps=110, envs=2, rollout_length=10, warmup=20, batch=4, overlap=overlap)
        np.testing.assert_allclose(told(loop(plan)), np.array([20, 40, 60, 80, 100]) / 110, rtol=1e-6)


@pytest.mark.parametrize("rollout_length", [4, 20])
def test_each_lane_has_its_own_progress_where_lanes_end_at_different_times(rollout_length: int) -> None:
    plan = ReplayPlan(
        env_steps=60, warmup=9, rollout_length=rollout_length, batch=4, updates=3, updates_per="episode", overlap=False
    )
    trained, began = loop(plan), np.zeros(2)
    while not trained.counts.done:
        if trained.collector.at_rest:
            began = trained.counts.env_steps / 60
        report = trained.advance()
        for lane in np.flatnonzero(report.updates):
            np.testing.assert_allclose(report.metrics["progress"][lane], began[lane], rtol=1e-6)
    assert (trained.counts.updates % 3 == 0).all()
    assert (trained.counts.updates > 3).all()


def test_a_run_can_end_after_a_number_of_episodes() -> None:
    plan = ReplayPlan(
        env_steps=10**6, episodes=7, warmup=9, rollout_length=4, batch=4, capacity=99, updates=3, updates_per="episode"
    )
    trained, progress = loop(plan), []
    while not trained.counts.done:
        report = trained.advance()
        progress += [report.metrics["progress"][0]] if report.updates[0] else []
    assert trained.counts.episodes.tolist() == [7, 7]
    assert (trained.counts.env_steps <= 7 * 9).all()
    shares = np.array(progress) * 7
    np.testing.assert_allclose(
        shares, np.arange(7 - len(shares), 7), rtol=1e-5
    )  # one for each episode after the warm-up


def test_a_run_ends_within_its_warm_up_where_that_has_all_its_episodes() -> None:
    plan = ReplayPlan(
        env_steps=100, episodes=2, warmup=90, rollout_length=64, batch=4, updates=3, updates_per="episode"
    )
    trained = loop(plan)
    told(trained)
    assert trained.counts.episodes.tolist() == [2, 2]
    assert trained.counts.updates.tolist() == [0, 0]


def test_a_resumed_run_goes_on_at_the_progress_where_it_stopped() -> None:
    plan = ReplayPlan(env_steps=110, envs=2, rollout_length=10, warmup=20, batch=4)
    whole, stopped, resumed = loop(plan), loop(plan), loop(plan)
    for _ in range(3):
        stopped.advance()
    resumed.restore(stopped.snapshot())
    after, everything = told(resumed), told(whole)
    assert 0 < len(after) < len(everything)
    assert after == everything[-len(after) :]
