"""run.json: what a run is and what became of it, with a type and a condition for every key."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from polyak.runs import files
from polyak.runs.conditions import (
    are_seeds,
    conditions_of,
    is_count,
    is_number,
    is_positive,
    is_table,
    is_text,
    is_word,
    list_of,
    none_or,
)
from polyak.runs.scores import Summary
from polyak.types import Json

Status = Literal["starting", "training", "interrupted", "failed", "finished"]


def _is_status(value: object) -> bool:
    return value in get_args(Status)


@dataclasses.dataclass
class RunRecord:
    """What run.json says. A key without a default must be there; each value must meet the condition beside its type."""

    status: Annotated[Status, _is_status]
    algorithm: Annotated[str, is_word]
    env: Annotated[str, is_word]
    config: Annotated[dict[str, Json], is_table]
    env_kwargs: Annotated[dict[str, Json], is_table]
    plan: Annotated[dict[str, Json], is_table]
    seeds: Annotated[list[int], are_seeds]
    backend: Annotated[str, is_word]
    device: Annotated[str, is_word]  # its kind, and the number of CPU cores
    preset: Annotated[str | None, none_or(is_text)] = None
    warning: Annotated[str | None, none_or(is_text)] = None
    fitted: Annotated[list[str], list_of(is_text)] = dataclasses.field(default_factory=list)
    stop_at: Annotated[float | None, none_or(is_number)] = None
    started: Annotated[str | None, none_or(is_text)] = None
    updated: Annotated[str | None, none_or(is_text)] = None
    versions: Annotated[dict[str, str], is_table] = dataclasses.field(default_factory=dict)
    commit: Annotated[str | None, none_or(is_text)] = None
    error: Annotated[str | None, none_or(is_text)] = None
    env_steps: Annotated[int, is_count] = 0
    updates: Annotated[int, is_count] = 0
    devices: Annotated[int, is_positive] = 0  # not known before training begins, like all below
    seconds: Annotated[dict[str, float], is_table] = dataclasses.field(default_factory=dict)
    exploring_returns: Annotated[list[float | None] | None, none_or(list_of(none_or(is_number)))] = None
    scores: Annotated[dict[str, Summary], is_table] = dataclasses.field(default_factory=dict)  # by "final" and "best"
    stopped: Annotated[str | None, none_or(is_text)] = None
    others: dict[str, Json] = dataclasses.field(default_factory=dict)  # keys of whoever else wrote to the file

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Read a run.json. Raises UsageError if it is missing, damaged, of another format, or not of polyak's."""
        content = files.read_json(path, NEEDED, optional=OPTIONAL)
        if content["status"] != "starting":
            files.check(path, content, LATER)
        del content["format"]
        known: dict[str, Any] = {name: content.pop(name) for name in (*NEEDED, *OPTIONAL) if name in content}
        return cls(**known, others=content)

    def to_json(self) -> dict[str, Json]:
        """Return what the file holds: what is not known yet has no key."""
        content = dict(vars(self))
        others: dict[str, Json] = content.pop("others")
        return {**others, **{name: value for name, value in content.items() if value or name not in WHEN_KNOWN}}

    def continues_to(self, plan: dict[str, Json], told: tuple[str, ...]) -> None:
        """Let a run go on by a longer plan: what came of the shorter one no longer holds."""
        self.plan, self.fitted = plan, [*self.fitted, *told]
        self.scores, self.stopped = {}, None


def status_of(path: Path) -> Status:
    """Read only the status of a run, of this or an older format. Raises UsageError where the file is not a run's."""
    return cast(Status, files.read_json(path, RECOGNIZED, oldest=1)["status"])


NEEDED, OPTIONAL = conditions_of(RunRecord)
RECOGNIZED = {name: NEEDED[name] for name in ("status", "algorithm", "env", "config", "plan", "seeds")}  # in any format
LATER = {name: OPTIONAL[name] for name in ("devices", "seconds")}  # which a run has when its training begins
WHEN_KNOWN = ("updated", "devices", "seconds", "exploring_returns", "scores", "stopped")
