"""The settings of a run: a preset's, changed by the user's, and fitted to the run's length.

Any number of environment steps can be trained. Settings that the user does not give are reduced until they fit the run;
those that the user gives never change, except that steps that do not fill a rollout are not taken. Every change is
reported in a sentence.
"""

import dataclasses
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard, TypeVar

from polyak.errors import UsageError, nearest
from polyak.runs.other_words import explained
from polyak.runs.presets.preset import Preset
from polyak.training import learn
from polyak.training.plan import Plan
from polyak.training.plans import RolloutPlan, plan_for
from polyak.types import Algorithm, Tree

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Made = TypeVar("Made", bound="DataclassInstance")

WARMUP_SHARE = 5  # unless the user sets it, the warm-up takes at most a fifth of the run


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the user gives: steps, and settings objects or dictionaries of fields to change."""

    steps: object = None
    config: object = None
    plan: object = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings that fit together, and sentences about what had to change for that."""

    config: Tree
    plan: Plan
    fitted: tuple[str, ...] = ()


def settings_for(name: str, module: Algorithm, start: Preset, asked: Asked) -> Settings:
    """Derive Config and Plan of a run. Raises UsageError if the user's settings are contradictory."""
    kind = plan_for(module.learns_from)
    for what, given, cls, words in (
        ("config", asked.config, module.Config, f"{name}.Config"),
        ("plan", asked.plan, kind, f"a {kind.__name__}"),
    ):
        if not (given is None or isinstance(given, dict | cls)):
            raise UsageError(f"{what} is a {type(given).__name__}: give {words}, or a dictionary of its fields")
    given = _values(asked.plan)
    if asked.steps is not None:
        given = {**given, "env_steps": whole_steps(asked.steps)}
    values, messages = _fitted_plan(kind, {**start.plan, **given}, set(given))
    plan: Plan = _construct(module, kind, values)
    given_config = _values(asked.config)
    config = _construct(module, module.Config, {**start.config, **given_config})
    config = _fitted_config(module, config, plan, set(given_config))
    learn.validate(module, config, plan)
    changed = [
        *_changes(start.plan, kind, plan, set(given)),
        *_changes(start.config, module.Config, config, set(given_config)),
    ]
    if changed:
        messages.append(f"to fit {plan.env_steps:,} step{'s' * (plan.env_steps > 1)}: {', '.join(changed)}")
    return Settings(config, plan, tuple(messages))


def _values(given: object) -> dict[str, object]:
    """Return the given fields; those of a settings object are all of its fields."""
    if isinstance(given, dict):
        return given
    names = [field.name for field in dataclasses.fields(given)] if dataclasses.is_dataclass(given) else []
    return {name: getattr(given, name) for name in names}


def _construct(module: Algorithm, cls: type[Made], values: Mapping[str, object]) -> Made:
    known = [field.name for field in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            raise UsageError(f"unknown field {key!r}: {explained(str(key), module) or nearest(str(key), known)}")
    try:
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except TypeError as error:
        raise UsageError(f"a setting has the wrong type: {error}") from error


COUNTS = ("env_steps", "envs", "rollout_length", "warmup", "batch", "capacity")


def _fitted_plan(kind: type[Plan], values: dict[str, object], given: set[str]) -> tuple[dict[str, object], list[str]]:
    """Reduce fields that are not given until they fit the steps; report steps that are not taken."""
    wanted = {name: values.get(name, getattr(kind, name)) for name in COUNTS if hasattr(kind, name)}
    counts = {name: int(count) for name, count in wanted.items() if is_count(count, least=name != "warmup")}
    if len(counts) < len(wanted):
        return values, []  # the plan reports the error
    asked, free, on_policy = counts["env_steps"], set(counts) - given, issubclass(kind, RolloutPlan)
    if "envs" in free:
        counts["envs"] = 1 if values.get("evaluation_envs") == 0 else min(counts["envs"], asked)
    if on_policy:
        _shorten_rollout(counts, free)
    unit = counts["envs"] * (counts["rollout_length"] if on_policy else 1)
    counts["env_steps"] = taken = asked // unit * unit or asked
    if "warmup" in free:
        counts["warmup"] = min(counts["warmup"], taken // WARMUP_SHARE) // counts["envs"] * counts["envs"]
    if "batch" in free:
        counts["batch"] = min(counts["batch"], counts["capacity"])
    if "rollout_length" in free and "capacity" in counts:
        counts["rollout_length"] = min(counts["rollout_length"], max(counts["capacity"] // counts["envs"], 1))
    messages = [left_over(kind, asked, taken, unit)] if taken < asked else []
    return {**values, **counts}, messages


def is_count(value: object, least: int) -> TypeGuard[int]:
    """Return whether a value is an integer and at least `least`."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least


def whole_steps(steps: object) -> int:
    """Return a number of steps, which may be a float such as 2e4. Raises UsageError unless it is a positive integer."""
    if isinstance(steps, float) and steps.is_integer():
        steps = int(steps)
    if not is_count(steps, least=1):
        raise UsageError(f"steps = {steps!r} must be a whole number, at least 1")
    return int(steps)


def _shorten_rollout(counts: dict[str, int], free: set[str]) -> None:
    """Shorten the rollout, or reduce environments, for a run that is shorter than a rollout."""
    steps, envs, rollout_length = (counts[name] for name in ("env_steps", "envs", "rollout_length"))
    if envs * rollout_length <= steps:
        return
    if "rollout_length" in free:
        counts["rollout_length"] = max(steps // envs, 1)
    elif "envs" in free:
        counts["envs"] = max(steps // rollout_length, 1)


def left_over(kind: type[Plan], asked: int, taken: int, unit: int) -> str:
    """Say which of the requested steps do not fill a rollout, or cannot be divided evenly by environments."""
    count = taken // unit
    whole = f"{count:,} rollout{'s' * (count > 1)} of {unit:,}"
    if not issubclass(kind, RolloutPlan):
        whole = f"{count:,} in each of {unit:,} environments"
    left = asked - taken
    return f"{asked:,} steps are {whole}; the last {f'{left:,} are' if left > 1 else 'one is'} not taken"


def _fitted_config(module: Algorithm, config: Tree, plan: Plan, given: set[str]) -> Tree:
    """Change fields that are not given and do not fit the plan."""
    fitted = module.fit(config, plan) if hasattr(module, "fit") else config
    if module.learns_from == "replay" and hasattr(config, "n_step"):
        most = max(plan.room() // plan.envs, 1)
        fitted = dataclasses.replace(fitted, n_step=min(fitted.n_step, most))
    kept = {name: value for name, value in _values(config).items() if name in given}
    return dataclasses.replace(fitted, **kept)


def _changes(before: Mapping[str, object], cls: type, after: object, given: set[str]) -> list[str]:
    """List the settings that would differ in a longer run."""
    usual = {field.name: before.get(field.name, field.default) for field in dataclasses.fields(cls)}
    return [
        f"{name} = {value:,} instead of {usual[name]:,}"
        for name, value in _values(after).items()
        if isinstance(value, int) and name not in given and name != "env_steps" and value != usual[name]
    ]
