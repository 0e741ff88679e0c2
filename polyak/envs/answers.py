"""What an environment answers: its reset and its step, checked and converted where they can be read in one way only."""

import re
from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from polyak.envs.flatten import flatten, shorten
from polyak.envs.spaces import AnySpace
from polyak.errors import place

WRAPPED = "wrap an environment of Gym's in shimmy.GymV21CompatibilityV0 (pip install shimmy)"


def advice_on(made: object) -> str:
    """Say how to go on with what is no `gymnasium.Env`, where it is an environment of the old Gym's; else nothing."""
    of_gym = any(part.__module__.partition(".")[0] == "gym" for part in type(made).__mro__)
    return f": {WRAPPED}" if of_gym else ""


def first_observation(space: AnySpace, answer: object) -> object:
    """Return the observation that `reset` answered with. Raises TypeError where it answered as in Gym before 0.26."""
    pair = answer if isinstance(answer, tuple | list) and len(answer) == 2 else None
    if pair is not None and isinstance(pair[1], Mapping | None):
        return pair[0]
    try:
        flatten(space, answer)
    except ValueError:
        if pair is not None:  # the info is never read
            return pair[0]
        raise TypeError(f"reset() returned {_kind(answer)}: it must return (observation, info)") from None
    raise TypeError(
        "reset() returned an observation alone, as in the old Gym API: Gymnasium's returns (observation, info), where"
        f" info may be {{}}; or {WRAPPED}"
    )


def refuse_seedless(error: TypeError) -> None:
    """Raise TypeError with the fix in it where an environment's `reset` takes no seed."""
    if re.search(r"reset\(\) got an unexpected keyword argument '(seed|options)'", str(error)) and not place(error):
        raise TypeError(
            "reset() takes no seed, as in the old Gym API: Gymnasium's is reset(self, *, seed=None, options=None), and"
            f" begins with super().reset(seed=seed); or {WRAPPED}"
        ) from error


def refuse_step(answer: object) -> NoReturn:
    """Raise TypeError for what a step returned instead of Gymnasium's five values."""
    if isinstance(answer, tuple | list) and len(answer) == 4:
        raise TypeError(
            "step() returned 4 values, as in the old Gym API (observation, reward, done, info): Gymnasium's returns 5"
            f" (observation, reward, terminated, truncated, info); or {WRAPPED}"
        )
    raise TypeError(
        f"step() returned {_kind(answer)}: it must return 5 values (observation, reward, terminated, truncated, info)"
    )


def reward_of(value: object) -> float:
    """Convert a reward to a float: any number, or an array or a list that holds one. Raises TypeError for others."""
    one = value
    if isinstance(value, list | tuple) or getattr(value, "shape", ()) != ():
        array = np.asarray(value)
        one = array.item() if array.size == 1 else None
    if not hasattr(one, "__float__") or isinstance(one, NO_NUMBERS):  # text has no __float__
        raise TypeError(f"the reward is {shorten(value)}, not one number")
    return float(one)


NO_NUMBERS = (complex, np.complexfloating, np.datetime64, np.timedelta64)


def truth(name: str, value: object) -> bool:
    """Convert `terminated` or `truncated` to a bool: True, False, whole numbers, 0.0 and 1.0. Raises TypeError."""
    array = np.asarray(value)
    if array.size == 1 and (array.dtype.kind in "biu" or (array.dtype.kind == "f" and array.item() in (0, 1))):
        return bool(array.item())
    raise TypeError(f"{name} is {shorten(value)}, not True or False")


def _kind(answer: object) -> str:
    if isinstance(answer, tuple | list):
        return f"{len(answer)} value{'s' * (len(answer) != 1)}"
    return "None" if answer is None else f"a {type(answer).__name__}"
