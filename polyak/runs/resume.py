"""Resume: continue a run from its checkpoint."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Unpack

from polyak import algorithms
from polyak.envs.make import Maker
from polyak.errors import UsageError, option
from polyak.runs import checkpoint, execute, files, interrupts, request, sizes
from polyak.runs import folder as folders
from polyak.runs.audience import Audience
from polyak.runs.opening import Opening, lengthened
from polyak.runs.options import ResumeOptions, audience_of, offering, unknown
from polyak.runs.other_words import refuse_arguments
from polyak.runs.run import Run, load
from polyak.training.job import Job
from polyak.training.learn import Task
from polyak.training.plans import plan_for


@interrupts.listening()
@offering(ResumeOptions)
def resume(folder: str | Path, **options: Unpack[ResumeOptions]) -> Run:
    """Continue a run from its checkpoint to its end, with as many workers as before or as given.

    With `steps`, more than it has taken, its end is after so many in all, and a finished run goes on, too.

    `on_report` and `stop_at` are those of `train`; the run's own `stop_at` holds where none is given. `trust` is that
    of `load`.

    Raises as `train` and `load` do.
    """
    refuse_arguments("resume", unknown(options, ResumeOptions))
    steps, workers, trust = options.get("steps"), options.get("workers"), options.get("trust", False)
    shown = load(folder, trust=trust).folder
    with contextlib.closing(folders.Claim(shown)) as claim:
        run = load(shown, trust=trust)  # once more, now that nobody else writes to it
        audience = audience_of(options)
        if audience.stop_at is None and (steps is None or run.record.stopped is None):  # then it has done its work
            audience = dataclasses.replace(audience, stop_at=run.record.stop_at)
        if workers is not None:
            run.record.plan = {**run.record.plan, "workers": workers}
        return _continue(run, claim, options.get("env"), steps, audience)


def _continue(run: Run, claim: folders.Claim, env: Maker | None, steps: object, audience: Audience) -> Run:
    if run.record.status == "finished" and steps is None:
        more = option("steps", 2 * run.record.env_steps)
        raise UsageError(f"{run.folder} is finished; to train it further, give the total number of steps: {more}")
    taken = checkpoint.read(run.place / "checkpoint", checkpoint.settings_of(run.record)).steps_taken
    execute.prepare(run.record.seeds)
    path = run.folder / "run.json"
    name, module = algorithms.find(run.record.algorithm, None if run.trust else path)
    config = files.settings_from_json(module.Config, run.record.config, path)
    messages = tuple[str, ...]()
    plan = files.settings_from_json(plan_for(module.learns_from), run.record.plan, path)
    if steps is not None:
        plan, messages = lengthened(plan, steps, taken)
        run.record.continues_to(files.settings_to_json(plan), messages)
    if plan.env_steps < taken:
        raise UsageError(f"{path} has env_steps = {plan.env_steps}, but {taken:,} steps were taken: it was changed")
    run.record.stop_at = audience.stop_at
    audience.validate(plan.evaluations)
    run.env = source = run.source(env)
    first, lanes = request.first_of(name, module, source, plan, run.record.backend), run.record.seeds
    task = Task(module, plan, first.spec)
    sizes.refuse_unfit(task, config, len(lanes))
    sizes.refuse_too_large(task, config, len(lanes))
    with contextlib.closing(request.make_envs(first, source, lanes, plan)) as envs:
        return execute.execute(run, claim, Job(module, config, plan, envs, lanes), audience, Opening(True, messages))
