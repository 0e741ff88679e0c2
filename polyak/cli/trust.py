"""Modules in the current folder, which only a name that the user typed or trusts may lead to."""

import os
import sys


def trusting_here() -> None:
    """Let modules in the current folder be found, after all others, for a name that the user typed or trusts."""
    if not sys.flags.safe_path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
