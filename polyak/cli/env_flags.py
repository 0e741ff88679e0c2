"""The flags `--env.KEY VALUE`: keyword arguments for whatever makes the environment, which no dataclass declares."""

import json
import math
import re

from polyak.errors import UsageError
from polyak.types import Json

PREFIX = "--env."
WORDS = {"True": True, "False": False, "None": None}
PAIRS = ("action_bounds",)  # which take two values
NUMBER = re.compile(r"-[\d.]")


def take(words: list[str]) -> tuple[list[str], dict[str, Json]]:
    """Split words of the command into those that are left, and the arguments; a flag without a value is True."""
    left, arguments, following = list[str](), dict[str, Json](), list(words)
    while following:
        word = following.pop(0)
        if not word.startswith(PREFIX):
            left.append(word)
            continue
        key, equals, text = word.removeprefix(PREFIX).partition("=")
        name = key.replace("-", "_")
        if not name.isidentifier():
            raise UsageError(f"{word}: name an argument of the environment, for example {PREFIX}g 4.0")
        if equals:
            arguments[name] = value_of(text)
        elif name in PAIRS and len(following) > 1 and all(map(_is_value, following[:2])):
            arguments[name] = [value_of(following.pop(0)), value_of(following.pop(0))]
        elif following and _is_value(following[0]):
            arguments[name] = value_of(following.pop(0))
        else:
            arguments[name] = True
    return left, arguments


def _is_value(word: str) -> bool:
    return not word.startswith("-") or bool(NUMBER.match(word))


def value_of(text: str) -> Json:
    """Read a number, True, False, None, a list or a dictionary in JSON; all else is text."""
    if text in WORDS:
        return WORDS[text]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value
