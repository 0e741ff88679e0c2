"""An environment that fails in training: the error says where, and the run is as it was before the rollout."""

import re
from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polyak.envs.gymnasium import VectorEnv
from polyak.errors import RunError
from polyak.training.finite import refuse_nonfinite
from polyak.training.host import HostLoop
from polyak.training.job import Job
from polyak.training.learn import Rollout
from polyak.training.plans import ReplayPlan
from polyak.tree import map_leaves
from polyak.types import ArraySpec, Box, EnvSpec, vector
from tests.fixtures import toys
from tests.fixtures.walk import Breaking, Walk

PLAN = ReplayPlan(env_steps=60, warmup=10, rollout_length=10, batch=4)
SEED = 3
AT = 34  # in the fourth rollout; the episodes of this seed make it a step within an episode


def fails(*_: Any) -> Any:
    raise ArithmeticError("the physics broke")


FAILURES: dict[str, tuple[Callable[..., Any], str]] = {
    "raises": (fails, "ArithmeticError: the physics broke"),
    "wrong shape": (lambda obs, reward: (np.zeros(3, np.float32), reward), r"shape \(3,\).* \(2,\)"),
    "no reward": (lambda obs, reward: (obs, None), "TypeError"),
    "text": (lambda obs, reward: ("ab", reward), "ValueError: observation 'ab' is not made of numbers"),
}
NOT_FINITE: dict[str, tuple[Callable[..., Any], str]] = {
    "observation": (lambda obs, reward: (obs * np.nan, reward), "an observation that is not finite"),
    "reward": (lambda obs, reward: (obs, np.inf), "a reward that is not finite"),
    "large observation": (lambda obs, reward: (obs.astype(float) + 1e300, reward), "an observation that is not finite"),
    "large reward": (lambda obs, reward: (obs, 1e39), "a reward that is not finite"),
}


def run(how: Callable[..., Any], plan: ReplayPlan = PLAN) -> HostLoop:
    return HostLoop(Job(toys.linear, toys.Config(), plan, VectorEnv(partial(Breaking, AT, how), (SEED,), 1), (SEED,)))


def until_it_fails(loop: HostLoop) -> str:
    with pytest.raises(RunError) as error:
        toys.finish(loop)
    return str(error.value)


@pytest.mark.parametrize(("how", "message"), FAILURES.values(), ids=FAILURES)
def test_a_failure_names_step_episode_seed_and_cause(how: Callable[..., Any], message: str) -> None:
    said = until_it_fails(run(how))
    episode, step = where()
    assert f"at step {step} of episode {episode} of seed {SEED}, environment 0" in said
    assert re.search(message, said)


@pytest.mark.parametrize(("how", "message"), NOT_FINITE.values(), ids=NOT_FINITE)
def test_what_is_not_finite_is_refused(how: Callable[..., Any], message: str) -> None:
    said = until_it_fails(run(how))
    assert message in said
    assert f"at environment step {AT} of seed {SEED}, in episode {where()[0]} of environment 0" in said


@pytest.mark.parametrize("how", [fails, NOT_FINITE["observation"][0]], ids=["raises", "nan"])
@pytest.mark.parametrize("overlap", [True, False])
def test_after_a_failure_the_run_is_as_before_the_rollout_and_can_go_on_elsewhere(how: Any, overlap: bool) -> None:
    plan = ReplayPlan(**{**vars(PLAN), "overlap": overlap})
    loop = run(how, plan)
    until_it_fails(loop)
    assert loop.counts.env_steps.tolist() == [30]
    assert loop.shared_updates == 20
    np.testing.assert_array_equal(loop.policy.weight, loop.learner.state.policy.weight)
    mended = HostLoop(Job(toys.linear, toys.Config(), plan, VectorEnv(Walk, (SEED,), 1), (SEED,)))
    mended.restore(loop.snapshot())
    np.testing.assert_array_equal(mended.collector.envs.obs, where_it_stood(30, plan))
    toys.finish(mended)
    assert mended.counts.env_steps.tolist() == [60]
    assert mended.shared_updates == 50


@pytest.mark.parametrize("overlap", [True, False])
def test_a_mended_run_equals_one_that_never_failed(overlap: bool) -> None:
    plan = ReplayPlan(**{**vars(PLAN), "overlap": overlap})
    loop, sound = (run(how, plan) for how in (fails, lambda *answer: answer))
    until_it_fails(loop)
    mended = run(lambda *answer: answer, plan)
    mended.restore(loop.snapshot())
    for either in (mended, sound):
        toys.finish(either)
    np.testing.assert_array_equal(mended.policy.weight, sound.policy.weight)


def test_a_policy_that_diverges_is_not_blamed_on_the_environment() -> None:
    loop = HostLoop(Job(toys.linear, toys.Config(rate=np.nan), PLAN, VectorEnv(Walk, (SEED,), 1), (SEED,)))
    said = until_it_fails(loop)
    assert "action" in said
    assert "the environment returned" not in said


def test_a_reset_that_fails_is_named() -> None:
    class Closed(Walk):
        def reset(self, **arguments: Any) -> Any:
            if self.seeds:
                raise OSError("the door is shut")
            return super().reset(**arguments)

    loop = HostLoop(Job(toys.linear, toys.Config(), PLAN, VectorEnv(Closed, (SEED,), 1), (SEED,)))
    assert "failed in the reset at step 0 of episode 1 of seed 3, environment 0: OSError" in until_it_fails(loop)
    assert loop.collector.envs.episodes.tolist() == [[0]]


def where() -> tuple[int, int]:
    """Return the episode, and the step in it, of the step that fails."""
    lengths = [end - start for start, end in zip([0, *ends()], ends(), strict=False)]
    episode = sum(end < AT for end in ends())
    return episode, AT - sum(lengths[:episode])


@cache
def ends() -> list[int]:
    """Return after which environment steps the episodes of a sound run end."""
    loop = toys.finish(run(lambda *answer: answer))
    data = loop.learner.buffer.data
    return (np.flatnonzero(np.asarray(data.terminated + data.truncated)[0]) + 1).tolist()


def where_it_stood(env_steps: int, plan: ReplayPlan) -> np.ndarray:
    """Return what a sound run sees after some steps."""
    loop = run(lambda *answer: answer, plan)
    while loop.counts.env_steps[0] < env_steps:
        loop.advance()
    return loop.collector.envs.obs


def test_the_part_of_an_observation_that_is_not_finite_is_named() -> None:
    spec = EnvSpec((("arm", vector(2)), ("eye", ArraySpec((8, 8, 1), "uint8"))), Box(1))
    steps = map_leaves(lambda array: array.zeros(1, 3, 1), spec.transition())
    steps.next_obs["arm"][0, 1, 0, 1] = np.nan
    rollout = Rollout(steps, np.full(1, 3, np.int32), np.ones(1, bool), np.zeros(1, np.float32))
    envs: Any = SimpleNamespace(reward=np.zeros((1, 1)), episodes=np.zeros((1, 1), int))
    with pytest.raises(
        RunError, match=r"an observation \(part 'arm'\) that is not finite at environment step 12 of seed"
    ):
        refuse_nonfinite(rollout, envs, [SEED], np.array([10]))
