"""The keyword arguments that an environment's maker takes, and those that polyak handles itself."""

import inspect
from collections.abc import Callable, Iterable

import gymnasium
from gymnasium.envs.registration import load_env_creator

from polyak.errors import UsageError, option

LIMIT = "max_episode_steps"
BOUNDS = "action_bounds"  # never passed to a maker: polyak acts within them


def creator_of(spec: gymnasium.envs.registration.EnvSpec) -> Callable[..., object] | None:
    """Return the callable behind a registered id."""
    return load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point


def takes(maker: Callable[..., object] | None, keyword: str) -> bool:
    """Return whether a callable takes a keyword argument."""
    names = _parameters(maker)
    return names is None or keyword in names


def refuse_unknown(name: str, maker: Callable[..., object] | None, keywords: Iterable[str]) -> None:
    """Raise UsageError for a keyword that a callable does not take, listing those that it does."""
    names = _parameters(maker)
    for keyword in keywords:
        if names is not None and keyword not in names:
            valid = ", ".join(dict.fromkeys([*names, LIMIT, BOUNDS]))
            raise UsageError(f"{name} has no argument {keyword!r}: it takes {valid}")


def checked_limit(value: object, what: str) -> int | None:
    """Return a valid time limit. Raises UsageError unless it is None or a number of steps."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UsageError(f"{what} = {value!r} must be a whole number of steps, at least 1, or None")
    return value


def checked_bounds(value: object) -> tuple[float, float] | None:
    """Return valid action bounds. Raises UsageError unless they are None or two numbers."""
    if value is None:
        return None
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or any(type(bound) not in (int, float) for bound in value)
    ):
        bounds = option(f"env.{BOUNDS}", (-1, 1))
        raise UsageError(f"{BOUNDS} = {value!r} must be two numbers, the lower one first: {bounds}")
    return float(value[0]), float(value[1])


def _parameters(maker: Callable[..., object] | None) -> list[str] | None:
    """List the keyword arguments that a callable takes; None if it takes any, or does not say."""
    if maker is None:
        return None
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in parameters if parameter.kind in by_keyword]
