"""A run: one training on disk, and the four things done with it: train, resume, load, evaluate."""

import contextlib
import copy
import dataclasses
import numbers
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Never

from polyak import algorithms
from polyak.envs.functional import CompiledEnv
from polyak.envs.gymnasium import Environment
from polyak.envs.make import Maker, Source, found_again, from_name, name_of, refuse_untrusted
from polyak.errors import UsageError, option, reason
from polyak.runs import checkpoint, execute, files, interrupts, request, scores, sizes, starting
from polyak.runs import folder as folders
from polyak.runs.audience import Audience, Progress
from polyak.runs.inheritance import inherited
from polyak.runs.opening import Opening, lengthened, steps_taken
from polyak.runs.other_words import refuse_arguments
from polyak.runs.policy import Policy, Saved
from polyak.runs.record import RunRecord
from polyak.runs.settings import Asked, settings_for
from polyak.training.evaluate import Evaluator
from polyak.training.job import Job
from polyak.training.learn import Task
from polyak.training.plan import Plan


@dataclasses.dataclass(repr=False)
class Run:
    """One training on disk. `record` is what its run.json says; the policies are loaded when asked for.

    `env` is what made the environment, where this process knows it; else it is found by its name in `record`. `trust`
    lets the run's files name modules to import, which is to run the modules' code.
    """

    folder: Path
    record: RunRecord
    env: Maker | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        """Keep where the folder is, as an environment may make another folder the current one."""
        self.place = folders.absolute(self.folder)

    def __repr__(self) -> str:
        """Say in two lines what was trained and what came of it."""
        record, seeds = self.record, len(self.record.seeds)
        trained = f"{record.env_steps:,} environment steps of {seeds} seed{'s' * (seeds > 1)}"
        head = f"Run in {self.folder}: {record.algorithm} on {record.env}, {record.status}, {trained}"
        return f"{head}\n{scores.in_words(self.scores)}"

    @property
    def saved(self) -> Saved:
        """The policies of all seeds."""
        return Saved(self.place / "policy", self.trust)

    @property
    def policy(self) -> Policy:
        """The best policy of the seed that did best in its periodic evaluations."""
        if "_policy" not in self.__dict__:
            self.__dict__["_policy"] = self.saved.policy()
        return self.__dict__["_policy"]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what made the environment where it cannot be found by name again."""
        kept = self.env is None or found_again(Source.of(self.env))
        return self.__dict__ if kept else {**self.__dict__, "env": None}

    def __copy__(self) -> "Run":
        return dataclasses.replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Run":
        return Run(self.folder, copy.deepcopy(self.record, memo), self.env, self.trust)

    @property
    def scores(self) -> dict[str, Any]:
        """The score tables made at the end of training, by "best" and "final"; empty before the end."""
        return self.record.scores

    def source(self, env: Maker | None = None) -> Source:
        """Return what makes the run's environment, or `env` in its place, with the run's arguments.

        Raises UsageError where the run's files name what is not trusted, or what cannot be found.
        """
        named_in = None if self.trust else self.folder / "run.json"
        kwargs = self.record.env_kwargs
        if env is None and self.env is None:
            refuse_untrusted(kwargs, named_in)
        return Source.of(env or self.env or from_name(self.record.env, named_in), kwargs)

    @interrupts.listening()
    def evaluate(
        self,
        episodes: int = 100,
        which: str = "best",
        deterministic: bool = True,
        seed: int = 0,
        env: Maker | None = None,
        env_kwargs: dict[str, Any] | None = None,
        **others: Never,
    ) -> dict[str, Any]:
        """Play fresh episodes with every seed's policy and summarize them; `seed` chooses other episodes.

        `env` and `env_kwargs` name another environment than the run's, which must have the same spaces.
        Raises UsageError for a damaged run, RunError where the environment fails.
        """
        refuse_arguments("evaluate", others)
        for name, value, least in (("episodes", episodes, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, numbers.Integral):
                raise UsageError(f"{name} = {value!r} must be a whole number")
            if value < least:
                raise UsageError(f"{name} = {value} is too small: it must be at least {least}")
        if env is None and env_kwargs is None:
            source = self.source()
        else:
            source = Source.of(env or self.source().maker, request.json_kwargs(env_kwargs))
        heard, saved = execute.listen(), self.saved
        plan = files.settings_from_json(Plan, self.record.plan, self.folder / "run.json")
        evaluator = Evaluator(saved.algorithm, saved.config, lambda: Environment(source), plan, heard.check)
        evaluator.verdict = saved.verdict
        with contextlib.closing(evaluator):
            evaluator.refuse_unlike(saved.spec)
            return execute.score(saved, which, evaluator, episodes, deterministic, seed)


@interrupts.listening()
def train(
    algorithm: Any = None,
    env: Maker | None = None,
    *,
    env_kwargs: dict[str, Any] | None = None,
    steps: int | None = None,
    seeds: int | Sequence[int] | None = None,
    preset: str | None = None,
    config: Any = None,
    plan: Plan | dict[str, Any] | None = None,
    backend: str | None = None,
    like: str | Path | None = None,
    start_from: str | Path | None = None,
    trust: bool = False,
    out: str | Path | None = None,
    force: bool = False,
    quiet: bool | None = None,
    on_report: Callable[[Progress], Any] | None = None,
    stop_at: float | None = None,
    **others: Never,
) -> Run:
    """Train independent agents, one unless `seeds` says otherwise, and return the finished run.

    `algorithm` is a registered name or a module; `env` an id, "module:Id" or a callable that returns an environment,
    which is given `env_kwargs`; `max_episode_steps` among them is a time limit for any environment.
    `seeds` counts from seed 0, or lists the seeds. `config` and `plan` are settings objects, or dictionaries of what
    differs from the preset. `backend` is "host" (the default), which steps environments in Python; "device", which
    compiles those that are written in JAX together with everything else; or "auto": the device where it can. `like` is
    the folder of a run that gives whatever is not given here: algorithm, environment, settings, seeds, backend;
    `trust` is that of `load`. `start_from` is the folder of a run of the same algorithm on the same spaces: what it has
    learned is where training begins, and its config holds unless a preset is named. The run is written to `out`, by
    default a new folder under runs/. Progress is shown on standard error where that is a terminal or a notebook, unless
    `quiet` is True, and everywhere if it is False.

    `on_report` is called with a `Progress` at every row of the log and at every evaluation; training ends when it
    returns True, or when the mean return of an evaluation over all seeds reaches `stop_at`.

    Raises UsageError for a request that cannot work, before anything is written; RunError where the environment fails;
    KeyboardInterrupt after saving when interrupted.
    """
    refuse_arguments("train", others, algorithm)
    destination = folders.Destination(out, force)
    repeated, donor = (None if each is None else load(each, trust=trust) for each in (like, start_from))
    wish = starting.Wish(algorithm, env, env_kwargs, seeds, preset, backend)
    execute.prepare(starting.lanes_of(wish, repeated))  # before modules of the user's own start JAX
    start = starting.start_of(wish, repeated, donor)
    name, module, source, lanes = start.name, start.module, start.source, start.lanes
    settings = settings_for(name, module, start.settings, Asked(steps, config, plan))
    config, plan, audience = settings.config, settings.plan, Audience(quiet, on_report, stop_at)
    audience.validate(plan.evaluations)
    first = request.first_of(name, module, source, plan, start.backend)
    task = Task(module, plan, first.spec)
    sizes.refuse_unfit(task, config, len(lanes))
    state, inheriting = inherited(donor, module, config, first.spec, len(lanes)) if donor else (None, None)
    sizes.refuse_too_large(task, config, len(lanes))
    with (
        contextlib.closing(request.make_envs(first, source, lanes, plan)) as envs,
        folders.new(destination, name, name_of(source)) as claim,
    ):
        backend = "device" if isinstance(envs, CompiledEnv) else "host"
        record = starting.record_of(start, settings, backend)
        record.fitted += [inheriting] if inheriting else []
        record.stop_at = stop_at
        claim.start(record)
        return execute.execute(
            Run(claim.shown, record, source, trust=True),
            claim,
            Job(module, config, plan, envs, lanes),
            audience,
            Opening(state=state),
        )


@interrupts.listening()
def resume(
    folder: str | Path,
    *,
    steps: int | None = None,
    env: Maker | None = None,
    workers: int | None = None,
    quiet: bool | None = None,
    trust: bool = False,
    on_report: Callable[[Progress], Any] | None = None,
    stop_at: float | None = None,
    **others: Never,
) -> Run:
    """Continue a run from its checkpoint to its end, with as many workers as before or as given.

    With `steps`, more than it has taken, its end is after so many in all, and a finished run goes on, too.

    `on_report` and `stop_at` are those of `train`; the run's own `stop_at` holds where none is given. `trust` is that
    of `load`.

    Raises as `train` and `load` do.
    """
    refuse_arguments("resume", others)
    shown = load(folder, trust=trust).folder
    with contextlib.closing(folders.Claim(shown)) as claim:
        run = load(shown, trust=trust)  # once more, now that nobody else writes to it
        if stop_at is None and (steps is None or run.record.stopped is None):  # then it has done its work
            stop_at = run.record.stop_at
        if workers is not None:
            run.record.plan = {**run.record.plan, "workers": workers}
        return _continue(run, claim, env, steps, Audience(quiet, on_report, stop_at))


def _continue(run: Run, claim: folders.Claim, env: Maker | None, steps: Any, audience: Audience) -> Run:
    if run.record.status == "finished" and steps is None:
        more = option("steps", 2 * run.record.env_steps)
        raise UsageError(f"{run.folder} is finished; to train it further, give the total number of steps: {more}")
    taken = steps_taken(checkpoint.read(run.place / "checkpoint", checkpoint.settings_of(run.record)))
    execute.prepare(run.record.seeds)
    path = run.folder / "run.json"
    name, module = algorithms.find(run.record.algorithm, None if run.trust else path)
    config = files.settings_from_json(module.Config, run.record.config, path)
    plan, messages = files.settings_from_json(Plan, run.record.plan, path), tuple[str, ...]()
    if steps is not None:
        plan, messages = lengthened(plan, module.learns_from, steps, taken)
        run.record.continues_to(files.settings_to_json(plan), messages)
    if plan.env_steps < taken:
        raise UsageError(f"{path} has env_steps = {plan.env_steps}, but {taken:,} steps were taken: it was changed")
    run.record.stop_at = audience.stop_at
    audience.validate(plan.evaluations)
    run.env = maker = run.source(env)
    first, lanes = request.first_of(name, module, maker, plan, run.record.backend), run.record.seeds
    task = Task(module, plan, first.spec)
    sizes.refuse_unfit(task, config, len(lanes))
    sizes.refuse_too_large(task, config, len(lanes))
    with contextlib.closing(request.make_envs(first, maker, lanes, plan)) as envs:
        return execute.execute(run, claim, Job(module, config, plan, envs, lanes), audience, Opening(True, messages))


def load(folder: str | Path, *, trust: bool = False) -> Run:
    """Open a run. Raises UsageError if there is none in the folder, or it is damaged or of a newer format.

    What a run's files name is imported only if an algorithm or an environment is registered under the name: a module
    of a stranger's choice could do anything. `trust` says that whoever made the run may choose.
    """
    folder = folders.path_of(folder)
    try:
        there, has_run = folder.is_dir(), os.path.lexists(folder / "run.json")
    except OSError as error:
        raise UsageError(f"{folder} cannot be a run folder: {reason(error)}") from error
    if not there:
        raise UsageError(f"there is no run folder {folder}")
    if not has_run:
        raise UsageError(f"{folder} holds no run: it has no run.json")
    record = RunRecord.read(folder / "run.json")
    if record.status == "starting":
        raise UsageError(
            f"the training in {folder} has not started: wait if it is just starting, otherwise train again with"
            f" {option('out', str(folder))}, which reuses the folder"
        )
    return Run(folder, record, trust=trust)
