"""What is found in an environment before it is trained: one toy environment for each finding."""

import random
import threading
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from polyak.envs.check import Facts, Finding, check
from polyak.envs.make import EnvSource
from polyak.envs.trial import Effort
from polyak.errors import UsageError
from polyak.types import Box, EnvSpec, vector
from tests.fixtures.functions import Drift
from tests.fixtures.small_faults import ERRORS, WARNINGS, Alone, Good, Spawning, Threaded, with_
from tests.fixtures.walk import Kept

SHORT = Effort(steps=20)


@pytest.fixture(autouse=True)
def _tidy() -> Any:
    Threaded.over.clear()
    yield
    Threaded.over.set()
    for child in Spawning.children:
        child.kill()
        child.wait()
    Spawning.children.clear()


def found(env: Any, effort: Effort = SHORT, **kwargs: Any) -> tuple[Facts | None, list[Finding]]:
    return check(EnvSource(env, kwargs), effort)


def test_a_good_environment_is_described():
    facts, findings = found(Good)
    assert findings == []
    assert facts is not None
    assert facts.spec == EnvSpec(vector(2), Box(1))
    assert (facts.observation, facts.action) == ("2 numbers", "1 number, from -1 to 1")
    assert (facts.episodes, facts.lengths, facts.limit, facts.truncates, facts.compiled) == (
        4,
        (5, 5),
        None,
        True,
        False,
    )
    assert facts.rewards is not None
    assert -1 <= facts.rewards[0] < facts.rewards[1] <= 0
    assert 5 * facts.rewards[0] <= facts.returns[0] < facts.returns[1] <= 0
    assert facts.steps_per_second is not None


@pytest.mark.parametrize("name", WARNINGS)
def test_what_surprises_is_a_warning(name: str):
    env, part = WARNINGS[name]
    facts, findings = found(env)
    assert facts is not None
    assert [finding.kind for finding in findings] == ["warning"], findings
    assert part in findings[0].sentence


@pytest.mark.parametrize("name", ERRORS)
def test_what_training_refuses_or_fails_with_is_an_error(name: str):
    env, kind, part = ERRORS[name]
    _, findings = found(env)
    assert [finding.kind for finding in findings] == [kind], findings
    assert part in findings[0].sentence


def test_what_can_be_open_only_once_is_still_repeated():
    class Forgetful(Alone):
        def observe(self) -> Any:
            return np.random.default_rng().uniform(-1, 1, 2).astype(np.float32)

    _, findings = found(Forgetful)
    assert [finding.sentence.split()[0] for finding in findings] == ["only", "two"]
    assert Alone.open_now == []


def test_bounds_and_a_limit_make_an_environment_trainable():
    endless = with_(action_space=spaces.Box(-np.inf, np.inf, (1,), np.float32), length=10**9)
    facts, findings = found(endless, action_bounds=[-2, 2], max_episode_steps=7)
    assert findings == []
    assert facts is not None
    assert (facts.limit, facts.lengths) == (7, (7, 7))


def test_episodes_are_cut_and_time_is_kept():
    endless = with_(length=10**9)
    facts, _ = found(endless, Effort(episodes=2, steps=8))
    assert facts is not None
    assert (facts.episodes, facts.lengths, facts.truncates) == (2, (8, 8), False)
    facts, _ = found(WARNINGS["slow"][0], Effort(steps=10**6, seconds=0.1))
    assert facts is not None
    assert facts.episodes <= 4


def test_every_copy_is_closed_once():
    class Closed(Good):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    for maker in (Closed, type("Failing", (Closed,), {"reward": lambda env, action: None})):
        kept = Kept(maker)
        found(kept)
        assert [env.closed for env in kept.made] == [1, 1]


@pytest.mark.parametrize("maker", [Good, WARNINGS["reseeding"][0]])
def test_global_generators_are_left_as_they_were(maker: Any):
    np.random.seed(5)
    random.seed(5)
    expected = np.random.RandomState(5).random(), random.Random(5).random()
    found(maker)
    assert ((np.random.random(), random.random()) == expected) is (maker is Good)


def test_threads_that_end_soon_are_no_finding():
    class Tidy(Good):
        def __init__(self) -> None:
            self.over = threading.Event()
            threading.Thread(target=self.over.wait).start()

        def close(self) -> None:
            threading.Timer(0.05, self.over.set).start()

    assert found(Tidy)[1] == []


@pytest.mark.parametrize(
    ("observation", "action", "words"),
    [
        (
            spaces.Dict({"a": spaces.Box(0, 1, (2,)), "k": spaces.Discrete(3)}),
            spaces.Discrete(4),
            "a: 2 numbers, k: 3 numbers",
        ),
        (spaces.Tuple([spaces.Box(0, 1, (2,))]), spaces.Discrete(4), "2 numbers (2)"),
        (spaces.MultiDiscrete([2, 3]), spaces.Discrete(4), "5 numbers (one-hot, of MultiDiscrete([2 3]))"),
        (spaces.Box(0, 255, (2, 9, 8), np.uint8), spaces.Discrete(4), "an image of 9 × 8 pixels with 2 channels"),
        (spaces.Box(0, 1, (2, 3)), spaces.Discrete(4), "6 numbers (an array of shape (2, 3))"),
    ],
)
def test_spaces_are_described(observation: Any, action: Any, words: str):
    def observe(env: Any) -> Any:
        return env.observation_space.sample()

    facts, _ = found(with_(observation_space=observation, action_space=action, observe=observe))
    assert facts is not None
    assert (facts.observation, facts.action) == (words, "one of 4")


def test_a_compiled_twin_is_known():
    facts, findings = found("CartPole-v1")
    assert findings == []
    assert facts is not None
    assert facts.compiled
    facts, _ = found("CartPole-v1", action_bounds=None, sutton_barto_reward=True)
    assert facts is not None
    assert not facts.compiled


def test_a_functional_environment_is_stepped_and_compiled():
    facts, findings = found(Drift, Effort(episodes=1, steps=5))
    assert findings == []  # neither its arrays, which are JAX's, nor the time that compiling takes
    assert facts is not None
    assert facts.compiled


def test_an_interrupt_closes_both_copies():
    class Interrupted(Alone):
        def step(self, action: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(Interrupted)
    assert Alone.open_now == []


def test_normalizing_is_no_fault_where_statistics_are_frozen():
    def frozen() -> Any:
        env = gymnasium.wrappers.NormalizeReward(Good())
        env.update_running_mean = False
        return env

    assert [finding for finding in found(frozen)[1] if finding.kind != "warning"] == []


def test_effort_has_limits():
    with pytest.raises(UsageError, match="episodes = 0 is too small"):
        Effort(episodes=0)
