"""The values that reset and step return: converted where their meaning is unambiguous, otherwise rejected."""

import re
from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from polyak.envs.flatten import flatten, shorten
from polyak.envs.spaces import AnySpace
from polyak.errors import place

WRAPPED = "wrap an environment of Gym's in shimmy.GymV21CompatibilityV0 (pip install shimmy)"


def advice_on(made: object) -> str:
    """Say what to do with an environment of the old gym package; "" for any other object."""
    of_gym = any(part.__module__.partition(".")[0] == "gym" for part in type(made).__mro__)
    return f": {WRAPPED}" if of_gym else ""


def first_observation(space: AnySpace, answer: object) -> object:
    """Return the observation from what `reset` returned. Raises TypeError for the format of Gym before 0.26."""
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
        "reset() returned an observation alone, as in the old Gym API: Gymnasium's reset() returns (observation, info),"
        f" where info may be {{}}; or {WRAPPED}"
    )


def refuse_seedless(error: TypeError) -> None:
    """Raise TypeError with the fix if an environment's `reset` takes no seed."""
    if re.search(r"reset\(\) got an unexpected keyword argument '(seed|options)'", str(error)) and not place(error):
        raise TypeError(
            "reset() takes no seed, as in the old Gym API: define reset(self, *, seed=None, options=None), and begin it"
            f" with super().reset(seed=seed); or {WRAPPED}"
        ) from error


def refuse_step(answer: object) -> NoReturn:
    """Raise TypeError for a step that did not return Gymnasium's five values."""
    if isinstance(answer, tuple | list) and len(answer) == 4:
        raise TypeError(
            "step() returned 4 values, as in the old Gym API (observation, reward, done, info): return 5 values"
            f" (observation, reward, terminated, truncated, info); or {WRAPPED}"
        )
    raise TypeError(
        f"step() returned {_kind(answer)}: it must return 5 values (observation, reward, terminated, truncated, info)"
    )


def reward_of(value: object) -> float:
    """Convert a reward to a float: any number, or an array or list that holds one. Raises TypeError otherwise."""
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
