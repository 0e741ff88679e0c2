"""The keyword arguments of train and resume: shown one by one, refused where they are unknown."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import polyak
from polyak import UsageError
from polyak.runs.options import ResumeOptions, TrainOptions

BOTH = [(polyak.train, TrainOptions), (polyak.resume, ResumeOptions)]


@pytest.mark.parametrize(("function", "declared"), BOTH)
def test_signatures_list_every_option(function: Callable[..., Any], declared: Any) -> None:
    shown = inspect.signature(function).parameters
    options = {name: each for name, each in shown.items() if each.kind is each.KEYWORD_ONLY}
    assert options.keys() == declared.__annotations__.keys()
    assert not any(each.kind is each.VAR_KEYWORD for each in shown.values())
    assert {name for name, each in options.items() if each.default is False} == {"trust", "force"} & options.keys()
    assert all(each.default in (False, None) for each in options.values())


@pytest.mark.parametrize("name", TrainOptions.__annotations__)
def test_every_option_of_train_is_explained(name: str) -> None:
    assert f"`{name}`" in (polyak.train.__doc__ or "")


@pytest.mark.parametrize("function", [polyak.train, polyak.resume])
def test_unknown_options_are_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=f"{function.__name__} has no argument 'callback': on_report is called"):
        function("td3", callback=print)
