"""Evaluation: every episode is played once, from its seed, by the policy of its lane."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

from polyak.envs.gymnasium import Environment
from polyak.envs.probe import ActionReward, ConstantReward, TimeLimit
from polyak.errors import RunError, UsageError
from polyak.training.evaluate import Evaluator, Scores
from polyak.training.plans import ReplayPlan
from polyak.tree import replace
from polyak.types import Box, EnvSpec, vector
from tests.fixtures import toys
from tests.fixtures.compare import stack
from tests.fixtures.walk import Breaking, Kept, Walk

SEEDS = [[10, 11, 12, 13, 14], [20, 21, 22, 23, 24]]
CONFIG = toys.Config()
POLICIES = stack(
    [jax.tree.map(np.asarray, toys.init(CONFIG, EnvSpec(vector(2), Box(1)), jax.random.key(k)).policy) for k in (0, 1)]
)


def play(
    make: Callable[[], Any] = Walk,
    seeds: Any = SEEDS,
    policies: Any = POLICIES,
    plan: ReplayPlan = ReplayPlan(),  # noqa: B008 (it is frozen)
    **options: Any,
) -> Scores:
    with contextlib.closing(Evaluator(toys.linear, CONFIG, lambda: Environment(make), plan)) as evaluator:
        return evaluator.play(policies, seeds, **options)


def test_scores_have_a_row_for_each_lane() -> None:
    scores = play()
    assert scores.returns.shape == scores.lengths.shape == (2, 5)


def test_equals_playing_one_episode_after_another() -> None:
    scores = play()
    for lane, seeds in enumerate(SEEDS):
        for i, seed in enumerate(seeds):
            total, length = one_episode(Walk(), seed, POLICIES.weight[lane])
            np.testing.assert_allclose(scores.returns[lane, i], total, rtol=1e-5)
            assert scores.lengths[lane, i] == length


def one_episode(env: Walk, seed: int, weight: np.ndarray) -> tuple[float, int]:
    obs, _ = env.reset(seed=seed)
    total, length, over = 0.0, 0, False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(np.clip(obs @ weight, -1, 1))
        total, length, over = total + reward, length + 1, terminated or truncated
    return total, length


@pytest.mark.parametrize("side_by_side", [1, 2, 3])
def test_how_many_are_played_side_by_side_does_not_matter(side_by_side: int) -> None:
    expected, kept = play(), Kept()
    scores = play(kept, plan=ReplayPlan(evaluation_envs=side_by_side))
    np.testing.assert_allclose(scores.returns, expected.returns, rtol=1e-5)
    np.testing.assert_array_equal(scores.lengths, expected.lengths)
    assert len(kept.made) == side_by_side
    assert sorted(seed for env in kept.made for seed in env.seeds) == SEEDS[0] + SEEDS[1]


def test_evaluation_repeats_exactly() -> None:
    one, other = play(), play()
    np.testing.assert_array_equal(one.returns, other.returns)


def test_exploring_makes_noise_even_so_repeatedly() -> None:
    still, loud, again = play(), play(explore=True), play(explore=True)
    assert (still.returns != loud.returns).any()
    np.testing.assert_array_equal(loud.returns, again.returns)


def test_the_memory_of_acting_starts_afresh_in_every_episode() -> None:
    firsts = []

    class Recording(Walk):
        def step(self, action: Any) -> Any:
            firsts.extend([float(action[0])] if self.time == 0 else [])
            return super().step(action)

    def count(config: Any, policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
        return 0.1 * memory, memory + 1

    counting = toys.variant(toys.linear, act=count)
    evaluator = Evaluator(counting, CONFIG, lambda: Environment(Recording))
    evaluator.play(POLICIES, [list(range(40))] * 2)  # more than side by side
    assert firsts == [0.0] * 80


def test_returns_are_neither_discounted_nor_scaled() -> None:
    policies = replace(POLICIES, weight=POLICIES.weight[:, :1])  # a probe shows one number
    constant = play(ConstantReward, policies=policies)
    assert (constant.returns == 1).all()
    assert (constant.lengths == 1).all()
    limited = play(partial(TimeLimit, reward=0.5, limit=7), policies=policies)
    assert (limited.returns == 3.5).all()
    assert (limited.lengths == 7).all()
    np.testing.assert_allclose(play(ActionReward, policies=policies).returns, 0.75)  # it sees 0, so acts 0: 1 - 1/4


BACK = jax.tree.map(lambda leaf: -3 * abs(leaf), POLICIES)  # from where the point is


def test_an_episode_without_end_is_cut_and_said_to_be() -> None:
    scores = play(partial(Walk, limit=10**9), policies=BACK, plan=ReplayPlan(evaluation_steps=50))
    assert scores.lengths.max() == 50
    np.testing.assert_array_equal(scores.cut, scores.lengths == 50)
    assert not play(partial(Walk, limit=50), policies=BACK, plan=ReplayPlan(evaluation_steps=50)).cut.any()


def test_an_environment_with_a_time_limit_is_not_cut_before_it() -> None:
    scores = play(lambda: gymnasium.wrappers.TimeLimit(Walk(limit=10**9), 1_200), policies=BACK, seeds=[[1], [2]])
    assert scores.lengths.max() == 1_200
    assert not scores.cut.any()


def test_a_failing_step_is_a_run_error() -> None:
    def broken(*_: Any) -> Any:
        raise ArithmeticError("the physics broke")

    with pytest.raises(RunError, match=r"at step \d of the evaluation episode with seed 1\d: ArithmeticError: the p"):
        play(partial(Breaking, 5, broken))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda obs, reward: (obs, np.nan), "a reward that is not finite"),
        (lambda obs, reward: (obs * np.inf, reward), "an observation that is not finite"),
        (lambda obs, reward: (obs.astype(float) + 1e300, reward), "an observation that is not finite"),
        (lambda obs, reward: (obs, None), "TypeError"),
        (lambda obs, reward: (obs[:1], reward), "shape"),
    ],
    ids=["nan reward", "infinite observation", "large observation", "no reward", "shape"],
)
def test_what_an_environment_may_not_return_is_a_run_error(how: Any, message: str) -> None:
    with pytest.raises(RunError, match=r"at step \d of the evaluation episode with seed 1\d: .*" + message):
        play(partial(Breaking, 5, how))


def test_environments_are_kept_from_one_evaluation_to_the_next() -> None:
    kept = Kept()
    evaluator = Evaluator(toys.linear, CONFIG, lambda: Environment(kept))
    first, again = evaluator.play(POLICIES, SEEDS), evaluator.play(POLICIES, SEEDS)
    np.testing.assert_array_equal(first.returns, again.returns)
    assert len(kept.made) == 5
    evaluator.play(POLICIES, [seeds * 2 for seeds in SEEDS])
    assert len(kept.made) == 10


def test_environments_of_another_kind_are_refused() -> None:
    with pytest.raises(
        UsageError,
        match=r"made for observations of 7 numbers and actions Box.*, but the environment has observations of 2",
    ):
        Evaluator(toys.linear, CONFIG, lambda: Environment(Walk)).refuse_unlike(EnvSpec(vector(7), Box(1)))


def test_a_failing_reset_is_a_run_error() -> None:
    class Closed(Walk):
        def reset(self, **arguments: Any) -> Any:
            if len(self.seeds) == 1:
                raise OSError("the door is shut")
            return super().reset(**arguments)

    with pytest.raises(RunError, match="OSError: the door is shut"):
        play(Closed)


def test_an_algorithm_that_fails_is_not_blamed_on_the_environment() -> None:
    def act(*_: Any) -> Any:
        raise LookupError("the algorithm is wrong")

    wrong = toys.variant(toys.linear, act=act)
    with pytest.raises(Exception, match="the algorithm is wrong") as error:
        Evaluator(wrong, CONFIG, lambda: Environment(Walk)).play(POLICIES, SEEDS)
    assert "the environment failed" not in str(error.value)


def test_the_environments_are_closed() -> None:
    closed = []

    class Closing(Walk):
        def close(self) -> None:
            closed.append(1)

    kept = Kept(Closing)
    play(kept)
    assert len(closed) == len(kept.made) > 0
