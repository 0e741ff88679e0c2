"""A run continued from a snapshot equals the run that was never interrupted, exactly."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

from polyak.algorithms import ddpg
from polyak.envs.gymnasium import VectorEnv
from polyak.training.host import HostLoop
from polyak.training.job import Job
from polyak.training.plans import ReplayPlan
from polyak.tree import from_named_leaves, named_leaves
from tests.fixtures import toys
from tests.fixtures.agents import small
from tests.fixtures.compare import assert_identical
from tests.fixtures.walk import Walk

SEEDS = (3, 4)
OVERLAPPED = ReplayPlan(env_steps=90, warmup=20, rollout_length=8, envs=2, batch=4)
IN_TURN = ReplayPlan(env_steps=45, warmup=10, rollout_length=5, batch=4, updates=0.5, capacity=30, overlap=False)
WRAPPED = ReplayPlan(env_steps=90, warmup=20, rollout_length=8, envs=2, batch=4, capacity=41)
PER_EPISODE = ReplayPlan(env_steps=60, warmup=9, rollout_length=4, batch=4, updates=3, updates_per="episode")
Make = Callable[[], HostLoop]


def maker(plan: ReplayPlan, algorithm: Any = toys.linear, config: Any = None, **walk: Any) -> Make:
    def make() -> HostLoop:
        envs = VectorEnv(lambda: Walk(**walk), SEEDS, plan.envs)
        return HostLoop(Job(algorithm, config or toys.Config(), plan, envs, SEEDS))

    return make


@pytest.mark.parametrize("iterations", [0, 2, 4, 7])
@pytest.mark.parametrize("plan", [OVERLAPPED, IN_TURN, PER_EPISODE], ids=["overlapped", "in-turn", "per-episode"])
def test_restored_equals_uninterrupted(plan: ReplayPlan, iterations: int) -> None:
    make = maker(plan)
    assert_identical(finished(restored(make, advanced(make, iterations).snapshot())), uninterrupted(plan))


def test_the_snapshots_tested_are_taken_in_the_midst() -> None:
    loop = advanced(maker(OVERLAPPED), 6)
    assert loop.pending is not None
    assert all(taken for lane in loop.collector.envs.actions for taken in lane)  # every episode is under way
    assert (loop.collector.acting.memory != 0).all()  # and its noise has drifted


def test_restored_ddpg_equals_uninterrupted() -> None:
    config = small(ddpg.Config(noise="ornstein-uhlenbeck", normalize_observations=True, batch_norm="renorm"))
    make = maker(OVERLAPPED, ddpg, config)
    assert_identical(finished(restored(make, advanced(make, 4).snapshot())), finished(make()))


def test_restored_when_acting_is_compiled() -> None:
    make = maker(OVERLAPPED, toys.linear_in_jax)
    loop = advanced(make, 5)
    assert not loop.verdict.in_numpy
    assert_identical(finished(restored(make, loop.snapshot())), finished(make()))


@pytest.mark.parametrize(
    ("algorithm", "plan"),
    [(toys.linear, OVERLAPPED), (toys.by_priority, WRAPPED)],
    ids=["uniform", "n-step by priority"],
)
def test_restored_from_named_leaves_as_a_checkpoint_does(algorithm: Any, plan: ReplayPlan) -> None:
    make = maker(plan, algorithm)
    snapshot = advanced(make, 5).snapshot()
    actions = snapshot["collector"].pop("actions")  # of any length: kept apart from what has a template
    stored = {name: np.array(leaf) for name, leaf in named_leaves(snapshot).items()}
    fresh = make()
    template = fresh.template(pending=snapshot["pending"] is not None)
    del template["collector"]["actions"]
    loaded = from_named_leaves(template, stored, lambda name, like, leaf: leaf)
    fresh.restore({**loaded, "collector": {**loaded["collector"], "actions": actions}})
    assert_identical(finished(fresh), finished(make()))


def test_the_priorities_tested_were_revised_and_the_replay_has_wrapped_around() -> None:
    learner = advanced(maker(WRAPPED, toys.by_priority), 5).snapshot()["learner"]
    assert (learner.buffer.added > 41).all()
    assert (learner.priorities.highest > 1).all()
    assert len(np.unique(learner.priorities.levels[-1])) > 20


def test_a_snapshot_does_not_change_when_the_run_goes_on() -> None:
    loop = advanced(maker(OVERLAPPED), 5)
    snapshot = loop.snapshot()
    before = jax.tree.map(np.array, snapshot)
    finished(loop)
    assert_identical(snapshot, before)


def test_a_snapshot_can_be_restored_twice() -> None:
    make = maker(OVERLAPPED)
    snapshot = advanced(make, 5).snapshot()
    assert_identical(finished(restored(make, snapshot)), finished(restored(make, snapshot)))


def test_returns_reported_after_a_restore_count_the_whole_episode() -> None:
    make = maker(IN_TURN, limit=25)
    whole, loop = make(), advanced(make, 4)
    continued = restored(make, loop.snapshot())
    episodes = [[(e.total, e.length) for e in reports(part)] for part in (whole, continued)]
    assert episodes[1]
    assert episodes[0][-len(episodes[1]) :] == episodes[1]


def advanced(make: Make, iterations: int) -> HostLoop:
    loop = make()
    for _ in range(iterations):
        loop.advance()
    return loop


def restored(make: Make, snapshot: Any) -> HostLoop:
    loop = make()
    loop.restore(snapshot)
    return loop


@cache
def uninterrupted(plan: ReplayPlan) -> dict[str, Any]:
    return finished(maker(plan)())


def finished(loop: HostLoop) -> dict[str, Any]:
    """Train to the end and return all that the run is then."""
    reports(loop)
    return jax.tree.map(np.array, loop.snapshot())


def reports(loop: HostLoop) -> list[Any]:
    episodes = []
    while not loop.counts.done:
        episodes += loop.advance().episodes
    return episodes


@pytest.mark.parametrize("plan", [OVERLAPPED, IN_TURN], ids=["pending", "stored"])
def test_an_episode_that_does_not_repeat_is_truncated_where_it_was(plan: ReplayPlan) -> None:
    make = maker(plan)
    snapshot = jax.tree.map(np.array, advanced(make, 6).snapshot())
    snapshot["collector"]["obs"][1, 0] += 1  # as if the environment had been elsewhere
    loop = make()
    assert loop.restore(snapshot) == 1
    changed = jax.tree.map(lambda new, old: (new != old).sum(), newest(loop.snapshot()), newest(snapshot))
    assert {name: count for name, count in named_leaves(changed).items() if count}.keys() <= TRUNCATED
    assert sum(named_leaves(changed).values()) == 1  # of one transition
    assert (loop.collector.envs.episodes - snapshot["collector"]["episodes"]).sum(1).tolist() == [0, 1]
    assert (loop.collector.acting.memory[1, 0] == 0).all()
    finished(loop)


TRUNCATED = {"stored.truncated.0", "stored.truncated.1", "pending.truncated"}


def newest(snapshot: Any) -> Any:
    """Return the transitions that are stored and those that wait."""
    pending = snapshot["pending"]
    return {"stored": snapshot["learner"].buffer.data, "pending": () if pending is None else pending.steps}
