"""Errors that the user can fix: one plain sentence, with the fix and the nearest valid name."""

import contextlib
import contextvars
import importlib.util
import os
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path


class UsageError(ValueError):
    """An invalid request. The command prints the message on one line and exits with code 2."""


class RunError(RuntimeError):
    """A failure outside polyak, such as an environment that raised. Exit code 1."""


class Interrupted(KeyboardInterrupt):
    """Training was interrupted and saved; the message says how to continue. Exit code 130."""


def nearest(name: str, valid: Iterable[str], otherwise: str = "`polyak list` shows what there is") -> str:
    """Suggest the valid name closest to a wrong one, or list the valid names if none is close.

    If there are too many to list, return `otherwise`.
    """
    import difflib

    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose one of: {', '.join(names)}" if len(names) <= 20 else otherwise


def describe(error: BaseException) -> str:
    """Describe an exception and where in the user's code it came from: "ValueError: … (my_env.py, line 12)"."""
    if isinstance(error, SystemExit):
        said = f"it called sys.exit({'' if error.code is None else repr(error.code)})"
    else:
        try:
            said = f"{type(error).__name__}: {error}"
        except Exception:
            said = f"{type(error).__name__}, whose message cannot be printed"
    where = place(error)
    return f"{said} ({where})" if where else said


def place(error: BaseException) -> str:
    """Return the innermost file and line of the user's code in an exception's traceback; "" if there is none.

    Installed packages count only if none of the user's code is involved; polyak, Gymnasium and Python never do.
    """
    lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    gymnasium = importlib.util.find_spec("gymnasium")
    folders = [str(Path(__file__).parent), *((gymnasium and gymnasium.submodule_search_locations) or ())]
    never = ("<frozen ", *(f"{folder}{os.sep}" for folder in folders))
    installed = [(file, line) for file, line in lines if INSTALLED & {*Path(file).parts}]
    python = f"{sysconfig.get_path('stdlib')}{os.sep}"
    own = [(file, line) for file, line in lines if (file, line) not in installed and not file.startswith(python)]
    for file, line in reversed(installed + own):
        if not file.startswith(never):
            return f"{Path(file).name}, line {line}"
    return ""


INSTALLED = {"site-packages", "dist-packages"}


def reason(error: Exception) -> str:
    """Return the operating system's message without error number and path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def installing(extra: str) -> str:
    """Return the command that installs one of polyak's extras."""
    import importlib.metadata  # slow, and the command does not handle Ctrl-C yet

    try:
        lines = importlib.metadata.requires("polyak") or []
    except importlib.metadata.PackageNotFoundError:  # run from a folder of sources
        return f'pip install ".[{extra}]", in the folder of polyak\'s sources'
    packages = [line.partition(";")[0].strip() for line in lines if f'extra == "{extra}"' in line]
    return " ".join(["pip install", *(f'"{package}"' for package in packages)])


_ON_COMMAND_LINE = contextvars.ContextVar("on the command line", default=False)


@contextlib.contextmanager
def command_line() -> Iterator[None]:
    """Word messages for the command line; outside this context they are worded for Python."""
    token = _ON_COMMAND_LINE.set(True)
    try:
        yield
    finally:
        _ON_COMMAND_LINE.reset(token)


def option(name: str, value: object = None) -> str:
    """Write a setting as the user would: `--plan.warmup 10` on the command line, else `plan={"warmup": 10}`.

    Settings of the environment are in the group `env`: `--env.g 4.0`, or `env_kwargs={"g": 4.0}`.
    """
    if _ON_COMMAND_LINE.get():
        flag, value = f"--{name.replace('_', '-')}", " ".join(map(str, value)) if isinstance(value, tuple) else value
        return flag if value is None or value is True else f"{flag} {value}"
    group, _, field = name.rpartition(".")
    shown = "…" if value is None else f'"{value}"' if isinstance(value, str) else repr(value)
    group = "env_kwargs" if group == "env" else group
    return f'{group}={{"{field}": {shown}}}' if group else f"{field}={shown}"


def call(name: str, argument: object, trust: bool = False) -> str:
    """Write a call of polyak as the user would: `polyak resume runs/a`, or `polyak.resume("runs/a")`."""
    if _ON_COMMAND_LINE.get():
        return f"polyak {name} {argument}{' --trust' if trust else ''}"
    return f'polyak.{name}("{argument}"{", trust=True" if trust else ""})'


def shortened(text: str, longest: int = 120) -> str:
    """Cut the middle out of a long text for a message; it may come from a damaged file."""
    return text if len(text) <= longest else f"{text[: longest - 30]}…{text[-25:]}"


def untrusted(path: object, what: str, name: str) -> str:
    """Say that a file names unregistered code to run, and how to allow it."""
    module = shortened(name.partition(":")[0])
    return f"{path} names the {what} {shortened(name)!r}, which would import {module} and run its code: {trusting()}"


def trusting() -> str:
    """Say how to allow the code that a run's files name."""
    return f"if you trust the author of this run folder, pass {option('trust', True)}"
