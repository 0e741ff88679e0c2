"""What the wrappers of an environment say about it."""

from typing import Any

import gymnasium
import pytest
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, TimeLimit, TransformReward

from polyak.envs.make import make
from polyak.envs.wrappers import time_limit
from polyak.errors import UsageError
from tests.fixtures.walk import Walk


@pytest.mark.parametrize(
    ("env", "limit"),
    [
        (Walk(), None),
        (TimeLimit(Walk(), 7), 7),
        (TransformReward(TimeLimit(TimeLimit(Walk(), 7), 9), abs), 7),
        (gymnasium.make("Pendulum-v1"), 200),
        (gymnasium.make("CliffWalking-v1"), None),
    ],
    ids=["none", "wrapped", "wrapped twice", "registered", "registered without"],
)
def test_the_time_limit_is_found_in_the_chain_of_wrappers(env: Any, limit: int | None) -> None:
    assert time_limit(env) == limit


@pytest.mark.parametrize(
    ("wrap", "ours"),
    [
        (NormalizeObservation, r'set config=\{"normalize_observations": True\}$'),
        (NormalizeReward, r'set config=\{"reward_scale": …\} or, if the algorithm has it, config=\{"normalize_rewards'),
    ],
)
def test_wrappers_that_keep_statistics_are_refused_with_our_setting(wrap: Any, ours: str) -> None:
    with pytest.raises(UsageError, match=f"{wrap.__name__}.*{ours}"):
        make(lambda: TimeLimit(wrap(Walk()), 5))


@pytest.mark.parametrize("wrap", [NormalizeObservation, NormalizeReward])
def test_statistics_that_are_frozen_are_taken(wrap: Any) -> None:
    def frozen() -> Any:
        env = wrap(Walk())
        env.update_running_mean = False
        return env

    assert isinstance(make(frozen), wrap)
