"""The keyword arguments of `polyak.train` and `polyak.resume`, whose docstrings say what each does."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypedDict, TypeVar

from polyak.envs.make import Maker
from polyak.runs.audience import Audience, Progress
from polyak.training.plan import Plan
from polyak.types import Json

P = ParamSpec("P")
T = TypeVar("T")


class AudienceOptions(TypedDict, total=False):
    """What both functions take: who is told how training goes, and when it is enough."""

    quiet: bool | None
    on_report: Callable[[Progress], object] | None
    stop_at: float | None


class TrainOptions(AudienceOptions, total=False):
    """What `polyak.train` takes besides an algorithm and an environment."""

    env_kwargs: dict[str, Json] | None
    steps: int | None
    seeds: int | Sequence[int] | None
    preset: str | None
    config: object
    plan: Plan | dict[str, object] | None
    backend: str | None
    like: str | Path | None
    start_from: str | Path | None
    trust: bool
    out: str | Path | None
    force: bool


class ResumeOptions(AudienceOptions, total=False):
    """What `polyak.resume` takes besides a folder."""

    steps: int | None
    env: Maker | None
    workers: int | None
    trust: bool


def audience_of(options: AudienceOptions) -> Audience:
    """Return who is told."""
    return Audience(options.get("quiet"), options.get("on_report"), options.get("stop_at"))


def unknown(options: Mapping[str, object], declared: type) -> list[str]:
    """List the keywords that are not among those declared."""
    return [name for name in options if name not in declared.__annotations__]


def offering(declared: type) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Show what is declared as the keyword parameters of a function that takes it as `**options`.

    `help`, `inspect.signature` and the completion of a shell or a notebook list the parameters one by one then.
    """

    def offered(function: Callable[P, T]) -> Callable[P, T]:
        named = [each for each in inspect.signature(function).parameters.values() if each.kind != each.VAR_KEYWORD]
        shared = AudienceOptions.__annotations__  # which a TypedDict that inherits them has first: here they come last
        for name, annotation in sorted(declared.__annotations__.items(), key=lambda option: option[0] in shared):
            default = False if annotation is bool else None
            named.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            )
        shown = inspect.signature(function).replace(parameters=named)
        # any function may have this attribute, which `inspect` reads, but typeshed does not declare it
        function.__signature__ = shown  # type: ignore[attr-defined]
        return function

    return offered
