"""Train: from what a caller asks for to a finished run."""

import contextlib
from typing import Unpack

from polyak.envs.functional import CompiledEnv
from polyak.envs.make import Maker
from polyak.runs import execute, interrupts, request, sizes, starting
from polyak.runs import folder as folders
from polyak.runs.audience import Audience
from polyak.runs.inheritance import inherited
from polyak.runs.opening import Opening
from polyak.runs.options import TrainOptions, audience_of, offering, unknown
from polyak.runs.other_words import refuse_arguments
from polyak.runs.run import Run, load
from polyak.runs.settings import Asked, Settings, settings_for
from polyak.training.job import Job
from polyak.training.learn import Task
from polyak.types import Algorithm


@interrupts.listening()
@offering(TrainOptions)
def train(algorithm: Algorithm | str | None = None, env: Maker | None = None, **options: Unpack[TrainOptions]) -> Run:
    """Train independent agents, one unless `seeds` says otherwise, and return the finished run.

    `algorithm` is a registered name or a module; `env` an id, "module:Id" or a callable that returns an environment,
    which is given `env_kwargs`; `max_episode_steps` among them is a time limit for any environment. `steps` are the
    environment steps of each seed. `seeds` counts from seed 0, or lists the seeds. `preset` names the settings to start
    from; `config` and `plan` are settings objects, or dictionaries of what differs from the preset. `backend` is "host"
    (the default), which steps environments in Python; "device", which compiles those that are written in JAX together
    with everything else; or "auto": the device where it can. `like` is the folder of a run that gives whatever is not
    given here: algorithm, environment, settings, seeds, backend; `trust` is that of `load`. `start_from` is the folder
    of a run of the same algorithm on the same spaces: what it has learned is where training begins, and its config
    holds unless a preset is named. The run is written to `out`, by default a new folder under runs/; `force` replaces a
    run that is there. Progress is shown on standard error where that is a terminal or a notebook, unless `quiet` is
    True, and everywhere if it is False.

    `on_report` is called with a `Progress` at every row of the log and at every evaluation; training ends when it
    returns True, or when the mean return of an evaluation over all seeds reaches `stop_at`.

    Raises UsageError for a request that cannot work, before anything is written; RunError where the environment fails;
    KeyboardInterrupt after saving when interrupted.
    """
    refuse_arguments("train", unknown(options, TrainOptions), algorithm)
    destination = folders.Destination(options.get("out"), options.get("force", False))
    named, trust = (options.get("like"), options.get("start_from")), options.get("trust", False)
    repeated, donor = (None if each is None else load(each, trust=trust) for each in named)
    asked_for = options.get("env_kwargs"), options.get("seeds"), options.get("preset"), options.get("backend")
    wish = starting.Wish(algorithm, env, *asked_for)
    execute.prepare(starting.lanes_of(wish, repeated))  # before modules of the user's own start JAX
    start = starting.start_of(wish, repeated, donor)
    asked = Asked(options.get("steps"), options.get("config"), options.get("plan"))
    settings = settings_for(start.name, start.module, start.settings, asked)
    audience = audience_of(options)
    audience.validate(settings.plan.evaluations)
    return _begin(start, settings, donor, destination, audience)


def _begin(
    start: starting.Start, settings: Settings, donor: Run | None, destination: folders.Destination, audience: Audience
) -> Run:
    """Make environments and folder of a new run, and execute it."""
    config, plan, lanes = settings.config, settings.plan, start.lanes
    first = request.first_of(start.name, start.module, start.source, plan, start.backend)
    task = Task(start.module, plan, first.spec)
    sizes.refuse_unfit(task, config, len(lanes))
    state, inheriting = inherited(donor, task, config, len(lanes)) if donor else (None, None)
    sizes.refuse_too_large(task, config, len(lanes))
    with (
        contextlib.closing(request.make_envs(first, start.source, lanes, plan)) as envs,
        folders.new(destination, start.name, start.source.name) as claim,
    ):
        record = starting.record_of(start, settings, "device" if isinstance(envs, CompiledEnv) else "host")
        record.fitted += [inheriting] if inheriting else []
        record.stop_at = audience.stop_at
        claim.start(record)
        run = Run(claim.shown, record, start.source, trust=True)
        return execute.execute(run, claim, Job(start.module, config, plan, envs, lanes), audience, Opening(state=state))
