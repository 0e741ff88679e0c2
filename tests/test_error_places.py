"""What is said of an error that a user's code raised."""

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

from polyak.envs.gymnasium import Environment
from polyak.errors import describe
from tests.fixtures.walk import Walk


class MuteError(RuntimeError):
    """An exception whose message cannot be made."""

    def __str__(self) -> str:
        raise ValueError("no message")


def raised(do: Any) -> str:
    with pytest.raises(BaseException) as error:  # noqa: PT011
        do()
    return describe(error.value)


def line_of(text: str) -> int:
    with open(__file__) as file:
        return next(i for i, line in enumerate(file, 1) if text in line)


class Broken(Walk):
    """A walk whose step fails in one of several ways."""

    def __init__(self, how: Any):
        super().__init__()
        self.how = how

    def step(self, action: Any) -> Any:
        return self.how()  # here


def fails() -> None:
    raise ArithmeticError("the physics broke")  # there


def mute() -> None:
    raise MuteError  # silently


@pytest.mark.parametrize(
    ("how", "said", "at"),
    [
        (fails, "ArithmeticError: the physics broke", "# there"),
        (lambda: np.linalg.inv(np.zeros((2, 2))), "LinAlgError: Singular matrix", "Singular matrix"),
        (lambda: json.loads("{"), "JSONDecodeError: Expecting property name", "Expecting property name"),
        (mute, "MuteError, whose message cannot be printed", "# silently"),
    ],
    ids=["own", "package", "python", "mute"],
)
def test_an_error_is_told_with_the_place_in_the_users_own_code(how: Any, said: str, at: str) -> None:
    env = Environment(lambda: TimeLimit(Broken(how), 10))
    env.reset(0)
    told = raised(lambda: env.step(np.zeros(1)))
    assert told.startswith(said)
    assert told.endswith(f"(test_error_places.py, line {line_of(at)})")


def test_polyak_and_gymnasium_are_no_place_of_the_users() -> None:
    env = gymnasium.make("CartPole-v1")
    with pytest.raises(gymnasium.error.ResetNeeded) as error:
        env.step(0)
    error.value.__traceback__ = error.value.__traceback__.tb_next  # type: ignore[union-attr]
    assert describe(error.value) == f"ResetNeeded: {error.value}"


def test_an_exit_is_told_with_its_place() -> None:
    def leave() -> None:
        raise SystemExit(3)  # leaves

    assert raised(leave) == f"it called sys.exit(3) (test_error_places.py, line {line_of('# leaves')})"
