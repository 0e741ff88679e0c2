"""The probes are what they say, and proper Gymnasium environments."""

from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from polyak.envs.probe import (
    ActionReward,
    ConstantReward,
    DiscountedReward,
    ObservationActionReward,
    ObservationReward,
    Probe,
    TimeLimit,
)

PROBES = [ConstantReward, ObservationReward, DiscountedReward, TimeLimit, ActionReward, ObservationActionReward]


def play(env: Probe, *actions: Any, seed: int = 0) -> list[tuple[float, float, bool, bool]]:
    """Return what was seen before, the reward, and both ends, for each step."""
    obs, _ = env.reset(seed=seed)
    steps = []
    for action in actions:
        seen = float(obs[0])
        obs, reward, terminated, truncated, _ = env.step(action)
        steps.append((seen, reward, terminated, truncated))
    return steps


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("actions", [None, 3], ids=["box", "discrete"])
def test_follows_the_rules_of_gymnasium(probe: type[Probe], actions: int | None) -> None:
    check_env(probe(actions), skip_render_check=True)


def test_constant_reward() -> None:
    assert play(ConstantReward(), [0.3]) == [(0, 1, True, False)]


def test_observation_reward() -> None:
    steps = [play(ObservationReward(), [0.3], seed=seed)[0] for seed in range(20)]
    assert {seen for seen, *_ in steps} == {-1, 1}
    assert all(reward == seen and terminated for seen, reward, terminated, _ in steps)


def test_discounted_reward() -> None:
    env = DiscountedReward()
    for _ in range(2):  # the second episode is as the first
        assert play(env, [0.3], [0.3]) == [(-1, 0, False, False), (1, 1, True, False)]


def test_time_limit() -> None:
    assert play(TimeLimit(reward=0.5, limit=3), *[[0.3]] * 3) == [(0, 0.5, False, False)] * 2 + [(0, 0.5, False, True)]


def test_action_reward() -> None:
    # 1 - (0.5 - 0.5)², 1 - (-1 - 0.5)², 1 - (1 - 0.5)²
    assert [play(ActionReward(), np.array([a]))[0][1] for a in (0.5, -1.0, 1.0)] == [1.0, -1.25, 0.75]
    assert [play(ActionReward(5), i)[0][1] for i in range(5)] == [-1.25, 0.0, 0.75, 1.0, 0.75]


def test_observation_action_reward() -> None:
    for seed in range(10):
        env = ObservationActionReward()
        seen = play(env, [0.0], seed=seed)[0][0]
        assert play(env, [seen / 2], seed=seed)[0][1] == 1.0
        assert play(env, [-seen / 2], seed=seed)[0][1] == 0.0
