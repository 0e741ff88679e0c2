"""Which runs need `--trust` to be opened in another process, and the commands for them."""

from pathlib import Path

from polyak import algorithms
from polyak.envs.names import has_no_name, refuse_untrusted
from polyak.errors import UsageError, call
from polyak.runs.record import RunRecord


def is_needed(record: RunRecord) -> bool:
    """Return whether a run's files name code that a new process imports only with trust."""
    try:
        refuse_untrusted(record.env_kwargs, Path("run.json"))
    except UsageError:
        return True
    imported = ":" in record.env and not has_no_name(record.env)
    return imported or record.algorithm not in algorithms.REGISTRY


def command(name: str, folder: object, record: RunRecord) -> str:
    """Write a command for a run as the user would, with `--trust` if the run needs it."""
    return call(name, folder, trust=is_needed(record))
