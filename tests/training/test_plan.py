"""Plans: what is refused, and how many updates are due when."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polyak.errors import UsageError
from polyak.training.plan import Plan
from polyak.training.plans import ReplayPlan, RolloutPlan, plan_for

SOUND: dict[str, Any] = {"env_steps": 100, "warmup": 10, "rollout_length": 5, "batch": 8, "capacity": 50}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_steps": 0}, "env_steps = 0 is too small"),
        ({"envs": 0}, "envs = 0"),
        ({"rollout_length": 0}, "rollout_length = 0"),
        ({"updates": 0}, "updates = 0 is too small: it must be above 0"),
        ({"updates": math.nan}, "updates is not a number"),
        ({"updates": math.inf}, "updates"),
        ({"batch": 0}, "batch = 0"),
        ({"capacity": 0}, "capacity = 0"),
        ({"warmup": -1}, "warmup = -1"),
        ({"evaluations": -1}, "evaluations = -1"),
        ({"evaluation_episodes": 0}, "evaluation_episodes = 0"),
        ({"score_episodes": 0}, "score_episodes = 0"),
        ({"checkpoint_seconds": 0.0}, "checkpoint_seconds = 0.0"),
        ({"updates_per": "epsiode"}, "did you mean 'episode'"),
        ({"warmup_actions": "random"}, "warmup_actions = 'random' is unknown"),
        ({"envs": 3}, "env_steps = 100 is not a multiple of envs = 3: use 102"),
        ({"envs": 4, "env_steps": 100, "warmup": 10}, "warmup = 10 is not a multiple of envs = 4: use 12"),
        ({"warmup": 100}, "leaves none of env_steps = 100"),
        ({"updates_per": "rollout", "updates": 1.5}, "updates = 1.5 per rollout must be a whole number"),
        ({"updates_per": "episode", "updates": 1.5}, "per episode must be a whole number"),
        ({"updates_per": "episode", "envs": 2, "updates": 1}, "updates per episode need envs = 1, not 2"),
    ],
    ids=lambda case: ",".join(f"{name}={value}" for name, value in case.items()) if isinstance(case, dict) else "",
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        ReplayPlan(**SOUND | changes)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 51}, "batch = 51 is larger than capacity = 50"),
        ({"rollout_length": 51}, "51 × 1 transitions does not fit capacity = 50"),
        ({"envs": 10, "rollout_length": 6}, "6 × 10 transitions"),
    ],
)
def test_refuses_a_small_capacity(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        ReplayPlan(**SOUND | changes)
    assert message in str(error.value)


def test_refuses_steps_that_fill_no_whole_rollouts() -> None:
    with pytest.raises(UsageError, match=r"env_steps = 3010 is not a multiple of rollout_length × envs = 100, .* 3100"):
        RolloutPlan(env_steps=3010, envs=10, rollout_length=10)
    with pytest.raises(UsageError, match="env_steps = 61 is not a multiple of envs = 2: use 80"):
        RolloutPlan(env_steps=61, envs=2, rollout_length=10)


def test_each_rollout_is_learned_from_once() -> None:
    plan = RolloutPlan(env_steps=60, rollout_length=20)
    assert plan.most_updates == 1
    assert [plan.updates_due(env_steps, done) for env_steps, done in ((20, 0), (40, 1), (60, 2))] == [1, 1, 1]


@pytest.mark.parametrize("plan", [Plan(), RolloutPlan()])
def test_plans_without_a_replay_have_no_warmup(plan: Plan) -> None:
    assert (plan.learning_starts, plan.room(), plan.max_episodes) == (0, 0, None)
    assert not any((plan.starts_uniformly, plan.by_episode, plan.overlaps))


def test_there_is_a_plan_for_what_is_learned_from() -> None:
    assert [plan_for(learns_from) for learns_from in ("replay", "rollout")] == [ReplayPlan, RolloutPlan]
    with pytest.raises(UsageError, match="learns from a dataset, not from an environment"):
        plan_for("dataset")


def test_the_defaults_are_sound() -> None:
    ReplayPlan()
    ReplayPlan(**SOUND)


def test_no_updates_are_owed_during_the_warmup() -> None:
    plan = ReplayPlan(**SOUND)
    assert [plan.updates_due(env_steps, 0) for env_steps in (0, 5, 10, 11, 15)] == [0, 0, 0, 1, 5]


def test_updates_owed_make_up_for_fractions() -> None:
    plan = ReplayPlan(**SOUND | {"updates": 0.5})
    # after 15, 20, 25 steps ⌊2.5⌋, ⌊5⌋, ⌊7.5⌋ updates should have been made
    assert [plan.updates_due(15, 0), plan.updates_due(20, 2), plan.updates_due(25, 5)] == [2, 3, 2]
    assert plan.most_updates == 3


@pytest.mark.parametrize("unit", ["rollout", "episode"])
def test_updates_by_the_chunk_or_episode_do_not_depend_on_its_length(unit: Any) -> None:
    plan = ReplayPlan(**SOUND | {"updates": 7, "updates_per": unit})
    assert [plan.updates_due(env_steps, 3) for env_steps in (10, 11, 15)] == [0, 7, 7]
    assert plan.most_updates == 7


@example(envs=1, steps=200, warmup=0, rollout_length=10, hundredths=70)  # 90 · 0.7 = 62.99… in floating point
@example(envs=1, steps=100, warmup=0, rollout_length=50, hundredths=29)  # 100 · 0.29 = 28.99…
@settings(max_examples=300)
@given(
    envs=st.integers(1, 7),
    steps=st.integers(1, 400),
    warmup=st.integers(0, 399),
    rollout_length=st.integers(1, 50),
    hundredths=st.integers(1, 300),
)
def test_all_updates_are_made_and_none_outside_the_compiled_scan(
    envs: int, steps: int, warmup: int, rollout_length: int, hundredths: int
) -> None:
    warmup = min(warmup, steps - 1)
    plan = ReplayPlan(
        env_steps=envs * steps, warmup=envs * warmup, envs=envs, rollout_length=rollout_length, updates=hundredths / 100
    )
    taken = done = 0
    while taken < plan.env_steps:
        until = plan.warmup if taken < plan.warmup else plan.env_steps
        taken = min(taken + rollout_length * envs, until)
        num_updates = plan.updates_due(taken, done)
        assert 0 <= num_updates <= plan.most_updates
        done += num_updates
    assert done == int(Fraction(hundredths, 100) * envs * (steps - warmup))


def due(plan: ReplayPlan, *steps: int, episodes: int = 0) -> list[int]:
    """Return the evaluations due after some numbers of steps."""
    return plan.evaluations_due(np.array(steps), np.full(len(steps), episodes)).tolist()


def test_the_first_evaluation_is_due_before_any_step_and_the_last_at_the_end() -> None:
    plan = ReplayPlan(env_steps=20_000, warmup=1_000, evaluations=10)
    assert due(plan, 0, 999, 19_999, 20_000) == [1, 1, 10, 11]
    assert due(ReplayPlan(evaluations=0), 0, 100_000) == [0, 0]
    assert due(ReplayPlan(evaluations=1), 0, 99_999, 100_000) == [1, 1, 2]


def test_evaluations_are_denser_at_the_start_of_learning() -> None:
    plan = ReplayPlan(env_steps=10_000, warmup=1_000, evaluations=10)
    at = np.flatnonzero(np.diff(due(plan, *range(10_001)))) + 1
    assert len(at) == 10
    assert (np.diff(at, 2) > 0).all()
    assert 1_000 < at[0] < 1_500


def test_a_run_that_ends_by_episodes_is_evaluated_by_them() -> None:
    plan = ReplayPlan(env_steps=10_000, warmup=0, evaluations=4, updates_per="episode", updates=1, episodes=100)
    assert [due(plan, 50, episodes=episodes)[0] for episodes in (0, 13, 50, 100)] == [1, 2, 3, 5]


@pytest.mark.parametrize(
    ("plan", "time_limit", "steps"),
    [
        (ReplayPlan(), 200, 200),
        (ReplayPlan(evaluation_steps=50), 200, 50),
        (ReplayPlan(evaluation_steps=5_000), None, 5_000),
        (ReplayPlan(env_steps=5_000), None, 1_000),
        (ReplayPlan(env_steps=1_500_000), None, 10_000),  # 11 × 10 episodes, and 20 for each of two policies
        (ReplayPlan(env_steps=200_000, evaluations=0), None, 5_000),
    ],
)
def test_evaluation_episodes_are_cut_so_that_they_cost_no_more_than_training(
    plan: ReplayPlan, time_limit: int | None, steps: int
) -> None:
    assert plan.evaluation_limit(time_limit) == steps


@pytest.mark.parametrize("given", [{"envs": 2}, {"workers": 1}])
def test_evaluating_in_the_training_environment_needs_one(given: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"evaluation_envs = 0 .* needs envs = 1"):
        ReplayPlan(evaluation_envs=0, **given)
