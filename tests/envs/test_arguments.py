"""Keyword arguments of environments: given to what makes them, kept in the run, refused with the valid names."""

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest

from polyak.envs import functional
from polyak.envs.gymnasium import Environment
from polyak.envs.make import EnvSource
from polyak.errors import UsageError, command_line
from tests.fixtures.walk import Walk


def any_keyword(**kwargs: Any) -> Any:
    return Walk(**kwargs)


class Limited(Walk):
    def __init__(self, max_episode_steps: int = 3):
        super().__init__(limit=max_episode_steps)


@pytest.mark.parametrize("maker", [Walk, "tests.fixtures.walk:Walk", any_keyword, partial(Walk, limit=3)])
def test_a_callable_is_given_its_arguments(maker: Any) -> None:
    assert EnvSource(maker, {"limit": 7}).make().unwrapped.limit == 7  # type: ignore[attr-defined]


def test_an_id_is_given_its_arguments() -> None:
    env = EnvSource("Pendulum", {"g": 4.0, "max_episode_steps": 5}).make()
    assert (env.unwrapped.g, Environment(EnvSource("Pendulum-v1", {"max_episode_steps": 5})).limit) == (4.0, 5)  # type: ignore[attr-defined]


def test_a_time_limit_is_put_around_what_does_not_take_it() -> None:
    assert Environment(EnvSource(Walk, {"max_episode_steps": 5})).limit == 5
    taken = EnvSource(Limited, {"max_episode_steps": 5}).make()
    assert isinstance(taken, Limited)
    assert taken.limit == 5


@pytest.mark.parametrize("limit", [0, -1, 2.5, True, "ten"])
@pytest.mark.parametrize("maker", [Walk, "Pendulum-v1"])
def test_a_time_limit_is_a_number_of_steps(maker: Any, limit: Any) -> None:
    with pytest.raises(UsageError, match=r"max_episode_steps = .* must be a whole number of steps, at least 1"):
        EnvSource(maker, {"max_episode_steps": limit}).make()


@pytest.mark.parametrize(
    ("maker", "valid"),
    [
        (Walk, "limit, actions, max_episode_steps, action_bounds"),
        (Limited, "max_episode_steps, action_bounds"),
        ("Pendulum-v1", "render_mode, g, max_episode_steps, action_bounds"),
        ("gymnasium:Pendulum-v1", "render_mode, g, max_episode_steps, action_bounds"),
    ],
)
def test_a_wrong_argument_is_refused_with_the_valid_ones(maker: Any, valid: str) -> None:
    with pytest.raises(UsageError, match=f"has no argument 'gravity': it takes {valid}$"):
        EnvSource(maker, {"gravity": 1}).make()


def test_a_twin_takes_a_time_limit_and_nothing_else() -> None:
    limited = functional.find(EnvSource("Pendulum-v1", {"max_episode_steps": 5}))
    assert limited is not None
    assert (limited.limit, functional.find("Pendulum-v1").limit) == (5, 200)  # type: ignore[union-attr]
    assert functional.find(EnvSource("Pendulum-v1", {"g": 4.0})) is None


def test_a_functional_environment_takes_arguments_and_a_time_limit() -> None:
    def made(scale: float = 1.0) -> Any:
        env = functional.TWINS["Pendulum-v1"]()
        env.scale = scale
        return env

    found = functional.find(EnvSource(made, {"scale": 2.0, "max_episode_steps": 5}))
    assert found is not None
    assert (found.env.scale, found.limit) == (2.0, 5)
    stepped = EnvSource(made, {"max_episode_steps": 5}).make()
    assert isinstance(stepped, gymnasium.wrappers.TimeLimit)


class Unbounded(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))


@pytest.mark.parametrize("maker", [Unbounded, lambda **kwargs: Unbounded(**kwargs)])
def test_infinite_actions_are_taken_within_the_bounds_given(maker: Any) -> None:
    with pytest.raises(
        UsageError, match=r'finite action bounds, as in env_kwargs=\{"action_bounds": \(-1, 1\)\}, or wrap'
    ):
        Environment(maker)
    with (
        command_line(),
        pytest.raises(UsageError, match=r"finite action bounds, as in --env\.action-bounds -1 1, or wrap"),
    ):
        Environment(maker)
    env = Environment(EnvSource(maker, {"action_bounds": [-2, 3]}))
    assert env.scale(np.float32([[-1], [1]])).tolist() == [[-2], [3]]
    assert functional.find(EnvSource("Pendulum-v1", {"action_bounds": [-2, 3]})) is None


@pytest.mark.parametrize(
    ("bounds", "says"), [([1], "two numbers"), (["a", 1], "two numbers"), ([2, 1], "the lower one")]
)
def test_bounds_that_are_none_are_refused(bounds: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Environment(EnvSource(Unbounded, {"action_bounds": bounds}))
