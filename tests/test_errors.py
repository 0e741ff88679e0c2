"""Messages: suggestions, and settings named as the reader writes them."""

from typing import Any

import pytest

from polyak.errors import call, command_line, nearest, option
from polyak.training import schedule
from polyak.training.plans import ReplayPlan


@pytest.mark.parametrize(
    ("name", "valid", "says"),
    [
        ("ddgp", ["ddpg", "td3"], "did you mean 'ddpg'?"),
        ("Pong-v5", [f"Ant-v{i}" for i in range(30)], "look"),
        ("--lr", [*"abcdefghijklmnopqrstuvw", "--force"], "look"),
        ("--device", [*"abcdefghijklmnopqrstuvw", "--seed"], "look"),
        ("x", ["ddpg", "td3"], "choose one of: ddpg, td3"),
    ],
)
def test_only_what_is_close_is_suggested(name: str, valid: list[str], says: str) -> None:
    assert nearest(name, valid, "look") == says


@pytest.mark.parametrize(
    ("name", "value", "flag", "argument"),
    [
        ("out", None, "--out", "out=…"),
        ("force", True, "--force", "force=True"),
        ("backend", "host", "--backend host", 'backend="host"'),
        ("plan.warmup_actions", None, "--plan.warmup-actions", 'plan={"warmup_actions": …}'),
        ("plan.warmup", 10, "--plan.warmup 10", 'plan={"warmup": 10}'),
    ],
)
def test_a_setting_is_named_as_the_reader_writes_it(name: str, value: Any, flag: str, argument: str) -> None:
    assert option(name, value) == argument
    with command_line():
        assert option(name, value) == flag
    assert option(name, value) == argument


def test_a_command_is_named_as_the_reader_gives_it() -> None:
    assert call("resume", "runs/a") == 'polyak.resume("runs/a")'
    with command_line():
        assert call("resume", "runs/a") == "polyak resume runs/a"


def test_the_same_message_for_both() -> None:
    plan = ReplayPlan(workers=2)
    with pytest.raises(ValueError, match='or backend="host"'):
        schedule.validate(plan, None)
    with command_line(), pytest.raises(ValueError, match="or --backend host"):
        schedule.validate(plan, None)
