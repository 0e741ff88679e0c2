"""What becomes of a run: in run.json, and in a sentence."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from polyak.runs import trust
from polyak.runs.record import RunRecord
from polyak.runs.record import Status as RunStatus
from polyak.runs.session import Session
from polyak.training.devices import Compiling


class Status:
    """Keeps `status`, and the counts and seconds beside it, in the run.json of the run that `session` trains."""

    def __init__(self, folder: Path, record: RunRecord, session: Session, compiling: Compiling):
        self.folder, self.record, self.session, self.compiling = folder, record, session, compiling
        self.began, self.setup = time.monotonic(), 0.0
        self.writing, self.resuming = threading.Lock(), trust.command("resume", folder, record)

    def write(self, status: RunStatus, error: str | None = None) -> None:
        """Write run.json."""
        with self.writing:
            self._write(status, error)

    def write_forced(self) -> None:
        """Write that the run was interrupted: from another thread, while the one that trains is stuck anywhere."""
        if self.record.status == "training" and self.writing.acquire(timeout=0.2):  # and never released
            self._write("interrupted", None)

    def _write(self, status: RunStatus, error: str | None) -> None:
        record, session = self.record, self.session
        seconds = {"setup": self.setup, "compiling": self.compiling.seconds, **session.seconds}
        record.status, record.error = status, error
        record.env_steps, record.updates = session.checkpointed["env_steps"], session.checkpointed["updates"]
        record.exploring_returns = session.log.exploring_returns()
        record.seconds = {part: round(value, 3) for part, value in seconds.items()}
        record.updated = datetime.now(UTC).isoformat(timespec="seconds")
        session.claim.write(record)

    def what_is_kept(self) -> str:
        """Say what there is of a run that failed."""
        kept = self.session.checkpointed["env_steps"]
        if kept:
            return f"what was learned up to step {kept:,} is kept in {self.folder}"
        return f"nothing that was learned is kept in {self.folder}"

    def why_stopped(self) -> str:
        """Say where a run was ended before its last step, and why."""
        reached = int(self.session.loop.counts.env_steps.min())
        return f"stopped at {reached:,} of {self.session.plan.env_steps:,} steps: {self.session.stopped}"

    def how_to_go_on(self) -> str:
        """Say where an interrupted run stands, what is saved of it, and how to resume it."""
        if self.record.status == "finished":
            return f"stopped; the run had finished, and is saved in {self.folder}"
        reached, kept, plan = (
            int(self.session.loop.counts.env_steps.min()),
            self.session.checkpointed["env_steps"],
            self.session.plan,
        )
        saved = "everything is saved" if kept == reached else f"the checkpoint has {kept:,} of them"
        whole = f"{plan.env_steps:,} steps"
        if plan.max_episodes is not None:
            whole += f" or {plan.max_episodes:,} episodes"
        return f"stopped at {reached:,} of {whole}; {saved}: {self.resuming}"
