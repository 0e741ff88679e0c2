"""What is printed of a run's scores."""

from typing import Any

import pytest

from polyak.tables import remarks


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, []),
        ({"warning": "x is known not to solve y"}, ["x is known not to solve y"]),
        ({"updates": 10}, ["only 10 updates were made in 6,000 steps: they come per episode"]),
        ({"updates": 1}, ["only 1 update was made in 6,000 steps"]),
        ({"updates": 10, "plan": {"updates_per": "chunk"}}, []),
    ],
    ids=str,
)
def test_what_explains_a_bad_score_is_said(changes: dict[str, Any], says: list[str]) -> None:
    facts = {"updates": 100, "env_steps": 6_000, "plan": {"updates_per": "episode"}, "warning": None, **changes}
    found = remarks(facts)
    assert len(found) == len(says)
    assert all(sentence.startswith(start) for sentence, start in zip(found, says, strict=True))
