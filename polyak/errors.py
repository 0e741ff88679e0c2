"""What goes wrong for a reason the user can mend: one plain sentence, with the fix and the nearest valid name."""

import difflib
import importlib.metadata
from collections.abc import Iterable


class UsageError(ValueError):
    """A wrong request. The command prints its message on one line and exits with code 2."""


class RunError(RuntimeError):
    """Training stopped by something outside it, such as an environment that raised. Exit code 1."""


class Interrupted(KeyboardInterrupt):
    """Training was interrupted, and saved; its message says how to go on. Exit code 130."""


def nearest(name: str, valid: Iterable[str], otherwise: str = "`polyak list` shows what there is") -> str:
    """Say which valid name is closest to a wrong one, or list the valid names when none is close.

    Where there are too many to list, say `otherwise`.
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose one of: {', '.join(names)}" if len(names) <= 20 else otherwise


def describe(error: BaseException) -> str:
    """Say what was raised, in its own words; also where its message cannot be printed, or was an exit."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else repr(error.code)})"
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return f"{type(error).__name__}, whose message cannot be printed"


def reason(error: Exception) -> str:
    """Return what went wrong in the system's own words, without its number and its path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def installing(extra: str) -> str:
    """Return the command that installs the packages of one of polyak's extras."""
    try:
        lines = importlib.metadata.requires("polyak") or []
    except importlib.metadata.PackageNotFoundError:  # run from a folder of sources
        return f'pip install ".[{extra}]", in the folder of polyak\'s sources'
    packages = [line.partition(";")[0].strip() for line in lines if f'extra == "{extra}"' in line]
    return " ".join(["pip install", *(f'"{package}"' for package in packages)])
