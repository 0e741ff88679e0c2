"""What an environment answers: converted alike in training and evaluation, or refused with the fix."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from polyak.envs.answers import reward_of, truth
from polyak.envs.gymnasium import Environment, VectorEnv
from polyak.errors import RunError
from tests.fixtures.walk import Walk


class Tensor:
    """What has one element, and a shape, but is no array."""

    shape = (1,)

    def __float__(self) -> float:
        return 0.5

    def __repr__(self) -> str:  # the name of a test, which must be the same in every process
        return "Tensor()"


REWARDS = [
    0.5,
    np.float64(0.5),
    np.float32(0.5),
    np.longdouble(0.5),
    np.array(0.5),
    np.array([0.5]),
    np.array([[0.5]]),
    jnp.array([0.5]),
    [0.5],
    Decimal("0.5"),
    Fraction(1, 2),
    np.array(Decimal("0.5"), object),
    Tensor(),
]


@pytest.mark.parametrize("value", REWARDS, ids=repr)
def test_a_reward_is_any_one_number(value: Any) -> None:
    found = reward_of(value)
    assert (type(found), found) == (float, 0.5)


@pytest.mark.parametrize(("value", "number"), [(True, 1), (3, 3), (np.int8(-3), -3), (10**20, 1e20)], ids=repr)
def test_a_reward_may_be_a_whole_number(value: Any, number: float) -> None:
    assert reward_of(value) == number


NO_REWARDS = [None, "1.0", [], [0.5, 1], np.array([0.5, 1]), 1j, np.complex64(1), np.datetime64("2020"), {"r": 1}]


@pytest.mark.parametrize("value", NO_REWARDS, ids=repr)
def test_what_is_not_one_number_is_no_reward(value: Any) -> None:
    with pytest.raises(TypeError, match=r"the reward is .*, not one number"):
        reward_of(value)


@pytest.mark.parametrize("value", [1.0, np.float32(1), np.array([1.0]), jnp.array(True), [True]], ids=repr)
def test_an_end_may_be_told_by_numbers(value: Any) -> None:
    assert truth("terminated", value) is True
    assert truth("truncated", 0.0) is False


@pytest.mark.parametrize("value", [0.5, np.nan, None, "yes", [True, False]], ids=repr)
def test_an_end_is_told_by_nothing_else(value: Any) -> None:
    with pytest.raises(TypeError, match=r"truncated is .*, not True or False"):
        truth("truncated", value)


class Answering(Walk):
    """A walk that answers steps and resets in some other way, with other observations."""

    def __init__(self, step: Any = None, reset: Any = None, space: Any = None):
        super().__init__()
        self.observation_space = space or self.observation_space
        self.answer_step, self.answer_reset = step, reset

    def reset(self, **arguments: Any) -> Any:
        answer = super().reset(**arguments)
        return answer if self.answer_reset is None else self.answer_reset(*answer)

    def step(self, action: Any) -> Any:
        answer = super().step(action)
        return answer if self.answer_step is None else self.answer_step(*answer)


@pytest.mark.parametrize("reward", [np.array([0.5]), [0.5], Decimal("0.5")], ids=repr)
def test_training_and_evaluation_get_the_same_float(reward: Any) -> None:
    def make() -> Any:
        return Answering(lambda obs, _, *rest: (obs, reward, *rest))

    env, envs = Environment(make), VectorEnv(make, [3], 1)
    env.reset(3)
    found = env.step(np.zeros(1, np.float32))[1]
    assert (type(found), found) == (float, 0.5)
    envs.step(np.zeros((1, 1, 1), np.float32), [0])
    assert (envs.reward[0, 0], envs.totals[0][0]) == (0.5, 0.5)


@pytest.mark.parametrize("info", [{}, None, "seldom"], ids=repr)
def test_what_comes_as_info_is_never_read(info: Any) -> None:
    make = Answering(lambda *answer: [*answer[:4], info], lambda obs, _: [obs, info])
    env = Environment(lambda: make)
    assert env.reset(3).shape == env.step(np.zeros(1, np.float32))[0].shape == (2,)


STEPS: list[tuple[Any, str]] = [
    (lambda obs, reward, end, _, info: (obs, reward, end, info), "step() returned 4 values, as in the old Gym API"),
    (lambda obs, *_: (obs, 0.0), "step() returned 2 values: it must return 5 values (observation, reward"),
    (lambda *_: None, "step() returned None: it must"),
    (lambda obs, *_: obs[0], "step() returned a float32: it must"),
]


@pytest.mark.parametrize(("step", "message"), STEPS, ids=[message for _, message in STEPS])
def test_a_step_that_does_not_return_five_values_is_told_what_to_return(step: Any, message: str) -> None:
    env = Environment(lambda: Answering(step))
    env.reset(3)
    with pytest.raises(TypeError) as error:
        env.step(np.zeros(1, np.float32))
    assert message in str(error.value)


def test_the_old_step_is_named_in_training_with_what_wraps_it() -> None:
    envs = VectorEnv(lambda: Answering(STEPS[0][0]), [3], 1)
    with pytest.raises(RunError, match=r"terminated, truncated, info\); or wrap .* shimmy.GymV21CompatibilityV0"):
        envs.step(np.zeros((1, 1, 1), np.float32), [0])


ALONE: list[tuple[Any, Any]] = [
    (None, np.zeros(2, np.float32)),
    (None, [0.0, 0.0]),
    (spaces.Box(-1, 1, (2, 2)), np.zeros((2, 2))),
    (spaces.Discrete(3), 1),
    (spaces.Dict({"a": spaces.Discrete(3)}), {"a": 1}),
    (spaces.Tuple((spaces.Discrete(3), spaces.Discrete(2))), (1, 1)),
]


@pytest.mark.parametrize(("space", "obs"), ALONE, ids=str)
def test_a_reset_that_returns_only_an_observation_is_recognized(space: Any, obs: Any) -> None:
    env = Environment(lambda: Answering(space=space, reset=lambda *_: obs))
    with pytest.raises(TypeError, match=r"reset\(\) returned an observation alone, as in the old Gym API: Gymnasium's"):
        env.reset(3)


@pytest.mark.parametrize(("answer", "kind"), [(None, "None"), ((1, 2, 3), "3 values"), ("ab", "a str")], ids=str)
def test_a_reset_that_returns_anything_else_is_told_what_to_return(answer: Any, kind: str) -> None:
    env = Environment(lambda: Answering(reset=lambda *_: answer))
    with pytest.raises(TypeError, match=rf"reset\(\) returned {kind}: it must return \(observation, info\)"):
        env.reset(3)


class Seedless(Walk):
    """A walk whose reset takes no seed."""

    def reset(self) -> Any:  # type: ignore[override]
        return super().reset()


class Inner(Walk):
    """A walk that hands its seed to a simulator that takes none."""

    def reset(self, **arguments: Any) -> Any:
        return Seedless().reset(seed=1)  # type: ignore[call-arg]


def test_a_reset_without_seed_is_recognized() -> None:
    with pytest.raises(TypeError, match=r"reset\(\) takes no seed, .* reset\(self, \*, seed=None, options=None\)"):
        Environment(Seedless).reset(3)
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'seed'"):  # the fault is elsewhere
        Environment(Inner).reset(3)


@pytest.mark.parametrize("seen", [-1, 5, 2.5])
def test_an_index_outside_its_space_stops_training(seen: float) -> None:
    def corridor() -> Any:
        space = spaces.Discrete(5)
        return Answering(lambda _, *rest: (seen, *rest), lambda *_: (4, {}), space)

    envs = VectorEnv(corridor, [3], 1)
    with pytest.raises(RunError, match=rf"at step 1 of episode 0 .* observation {seen} is not in Discrete\(5\)"):
        envs.step(np.zeros((1, 1, 1), np.float32), [0])
