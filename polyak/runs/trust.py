"""Which runs another process opens only with trust, and the commands for them."""

from pathlib import Path

from polyak import algorithms
from polyak.envs.make import has_no_name, refuse_untrusted
from polyak.errors import UsageError, call
from polyak.runs.record import RunRecord


def is_needed(record: RunRecord) -> bool:
    """Say whether a run's files name code that a new process does not import without trust."""
    try:
        refuse_untrusted(record.env_kwargs, Path("run.json"))
    except UsageError:
        return True
    imported = ":" in record.env and not has_no_name(record.env)
    return imported or record.algorithm not in algorithms.REGISTRY


def command(name: str, folder: object, record: RunRecord) -> str:
    """Name one of polyak's commands for a run, with the word of trust where the run needs it."""
    return call(name, folder, trust=is_needed(record))
