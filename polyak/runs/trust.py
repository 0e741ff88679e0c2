"""Which runs another process opens only with trust, and the commands for them."""

from pathlib import Path
from typing import Any

from polyak import algorithms
from polyak.envs.make import has_no_name, refuse_untrusted
from polyak.errors import UsageError, call


def is_needed(facts: dict[str, Any]) -> bool:
    """Say whether a run's files name code that a new process does not import without trust."""
    try:
        refuse_untrusted(facts.get("env_kwargs", {}), Path("run.json"))
    except UsageError:
        return True
    imported = ":" in facts["env"] and not has_no_name(facts["env"])
    return imported or facts["algorithm"] not in algorithms.REGISTRY


def command(name: str, folder: object, facts: dict[str, Any]) -> str:
    """Name one of polyak's commands for a run, with the word of trust where the run needs it."""
    return call(name, folder, trust=is_needed(facts))
