"""The clock of updates: which step it is, and how far the run had come when the rollout began."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from polyak.envs.gymnasium import Worlds
from polyak.training.host import Training
from polyak.training.plan import Plan
from polyak.types import Clock
from tests import toys
from tests.walk import Walk

SEEDS = (3, 4)


def telling(algorithm: Any) -> Any:
    """Make an algorithm whose updates tell the progress of their clock."""

    def update(config: Any, state: Any, data: Any, key: Any, clock: Clock) -> Any:
        state, _ = algorithm.update(config, state, data, key, clock)
        return state, {"progress": clock.progress, "step": jnp.float32(clock.step)}

    return toys.variant(algorithm, update=update)


OFF_POLICY, ON_POLICY = telling(toys.linear), telling(toys.on_policy)


def training(plan: Plan, algorithm: Any = OFF_POLICY) -> Training:
    return Training(algorithm, toys.Config(), plan, Worlds(Walk, SEEDS, plan.envs), SEEDS)


def told(trained: Training, name: str = "progress") -> list[float]:
    """Train to the end; return what each iteration that made updates told, the same in all lanes."""
    found = []
    while not trained.done:
        metrics = trained.advance().metrics
        if metrics is not None:
            assert metrics[name][0] == metrics[name][1]
            found.append(float(metrics[name][0]))
    return found


def test_on_policy_progress_is_0_for_the_first_rollout_and_below_1_for_the_last() -> None:
    plan = Plan(env_steps=80, envs=4, chunk=5, warmup=0, updates=1, updates_per="chunk")
    np.testing.assert_allclose(told(training(plan, ON_POLICY)), [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(told(training(plan, ON_POLICY), "step"), [0, 1, 2, 3])


def test_progress_is_that_when_the_rollout_began_whether_learning_overlaps_or_not() -> None:
    # rollouts begin at 0 (the warm-up, from which nothing is learned), 20, 40, 60, 80 and, the short last one, at 100
    for overlap in (True, False):
        plan = Plan(env_steps=110, envs=2, chunk=10, warmup=20, batch=4, overlap=overlap)
        np.testing.assert_allclose(told(training(plan)), np.array([20, 40, 60, 80, 100]) / 110, rtol=1e-6)


def test_progress_is_that_of_the_slowest_lane_where_lanes_end_at_different_times() -> None:
    plan = Plan(env_steps=60, warmup=9, chunk=4, batch=4, updates=3, updates_per="episode", overlap=False)
    trained, expected, found = training(plan), [], []
    while not trained.done:
        began = trained.env_steps[trained.round].min() / 60
        if trained.advance().metrics is not None:
            expected.append(began)
            found.append(float(trained.report.metrics["progress"][0]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found == sorted(found)
    assert 0.15 <= found[0] < found[-1] < 1


def test_a_resumed_run_goes_on_at_the_progress_where_it_stopped() -> None:
    plan = Plan(env_steps=110, envs=2, chunk=10, warmup=20, batch=4)
    whole, stopped, resumed = training(plan), training(plan), training(plan)
    for _ in range(3):
        stopped.advance()
    resumed.restore(stopped.snapshot())
    after, everything = told(resumed), told(whole)
    assert 0 < len(after) < len(everything)
    assert after == everything[-len(after) :]
