"""`polyak resume`."""

import dataclasses

from polyak.cli.flags import folder_and
from polyak.cli.tables import report
from polyak.cli.trust import trusting_here
from polyak.envs.stdout import keeping_quiet


@dataclasses.dataclass(frozen=True)
class Resume:
    """Continue a run from its checkpoint."""

    steps: int | None = None
    """Environment steps for each seed in all, those before included, if not as planned: a finished run goes on, too."""
    workers: int | None = None
    """Processes that step the environments, if not as many as before."""
    stop_at: float | None = None
    """Stop when the mean return of an evaluation, over all seeds, reaches this."""
    quiet: bool = False
    """Print nothing while training."""
    json: bool = False
    """Print one JSON object with the scores, and nothing else."""
    trust: bool = False
    """Let the run's files name modules to import: you trust whoever made them to run code here."""


def run(words: list[str]) -> None:
    """Continue a run."""
    folder, options = folder_and(Resume, words, "polyak resume RUN")
    from polyak.runs.resume import resume as resume_run

    if options.trust:
        trusting_here()
    with keeping_quiet(options.json):
        run = resume_run(
            folder,
            steps=options.steps,
            workers=options.workers,
            quiet=options.quiet or options.json,
            stop_at=options.stop_at,
            trust=options.trust,
        )
    report(run, options)
