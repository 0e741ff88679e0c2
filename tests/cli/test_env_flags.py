"""Flags for the environment: `--env.KEY VALUE`."""

from typing import Any

import pytest

from polyak.cli.env_flags import take
from polyak.errors import UsageError


@pytest.mark.parametrize(
    ("words", "left", "arguments"),
    [
        ("--env.g 4.0 --steps 10", ["--steps", "10"], {"g": 4.0}),
        ("--steps 10 --env.max-episode-steps=500", ["--steps", "10"], {"max_episode_steps": 500}),
        ("--env.slippery --env.wind -1.5 --json", ["--json"], {"slippery": True, "wind": -1.5}),
        ("--env.a True --env.b False --env.c None", [], {"a": True, "b": False, "c": None}),
        ("--env.size [3,4] --env.name 4x4 --env.name 8x8", [], {"size": [3, 4], "name": "8x8"}),
        ("--env.a Infinity --env.b 1e3 --env.c=", [], {"a": "Infinity", "b": 1000.0, "c": ""}),
        ("--env.action-bounds -1 2.5 --json", ["--json"], {"action_bounds": [-1, 2.5]}),
        ("--environment.g 4 --env g", ["--environment.g", "4", "--env", "g"], {}),
    ],
)
def test_arguments_are_taken_out_of_the_words(words: str, left: list[str], arguments: dict[str, Any]):
    found = take(words.split())
    assert found == (left, arguments)
    assert [type(value) for value in found[1].values()] == [type(value) for value in arguments.values()]


@pytest.mark.parametrize("word", ["--env.", "--env.=3", "--env.4x", "--env.a.b"])
def test_what_is_no_argument_is_refused(word: str):
    with pytest.raises(UsageError, match="name an argument of the environment"):
        take([word, "3"])
