"""A run: one training on disk, and what is done with it later: load, evaluate."""

import contextlib
import copy
import dataclasses
import numbers
import os
from pathlib import Path
from typing import Never

from polyak.envs.gymnasium import Environment
from polyak.envs.make import EnvSource, Maker
from polyak.envs.names import from_name, refuse_untrusted
from polyak.errors import UsageError, option, reason
from polyak.runs import execute, files, interrupts, request
from polyak.runs import folder as folders
from polyak.runs.other_words import refuse_arguments
from polyak.runs.policy import Policy, Saved
from polyak.runs.record import RunRecord
from polyak.runs.scores import Summary, in_words
from polyak.training.evaluate import Evaluator
from polyak.training.plans import plan_for
from polyak.types import Json


@dataclasses.dataclass(repr=False)
class Run:
    """One training on disk. `record` is what its run.json says; the policies are loaded when asked for.

    `env` is what made the environment, where this process knows it; else it is found by its name in `record`. `trust`
    lets the run's files name modules to import, which is to run the modules' code.
    """

    folder: Path
    record: RunRecord
    env: EnvSource | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        """Keep where the folder is, as an environment may make another folder the current one."""
        self.place = folders.absolute(self.folder)

    def __repr__(self) -> str:
        """Say in two lines what was trained and what came of it."""
        record, seeds = self.record, len(self.record.seeds)
        trained = f"{record.env_steps:,} environment steps of {seeds} seed{'s' * (seeds > 1)}"
        head = f"Run in {self.folder}: {record.algorithm} on {record.env}, {record.status}, {trained}"
        return f"{head}\n{in_words(self.scores)}"

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

    def __getstate__(self) -> dict[str, object]:
        """Leave out what made the environment where it cannot be found by name again."""
        kept = self.env is None or self.env.can_be_found
        return self.__dict__ if kept else {**self.__dict__, "env": None}

    def __copy__(self) -> "Run":
        return dataclasses.replace(self)

    def __deepcopy__(self, memo: dict[int, object]) -> "Run":
        return Run(self.folder, copy.deepcopy(self.record, memo), self.env, self.trust)

    @property
    def scores(self) -> dict[str, Summary]:
        """The score tables made at the end of training, by "best" and "final"; empty before the end."""
        return self.record.scores

    def source(self, env: Maker | None = None) -> EnvSource:
        """Return what makes the run's environment, or `env` in its place, with the run's arguments.

        Raises UsageError where the run's files name what is not trusted, or what cannot be found.
        """
        named_in = None if self.trust else self.folder / "run.json"
        kwargs = self.record.env_kwargs
        if env is None and self.env is None:
            refuse_untrusted(kwargs, named_in)
        return EnvSource.of(env or self.env or from_name(self.record.env, named_in), kwargs)

    @interrupts.listening()
    def evaluate(
        self,
        episodes: int = 100,
        which: str = "best",
        deterministic: bool = True,
        seed: int = 0,
        env: Maker | None = None,
        env_kwargs: dict[str, Json] | None = None,
        **others: Never,
    ) -> Summary:
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
            source = EnvSource.of(env or self.source().maker, request.json_kwargs(env_kwargs))
        heard, saved = execute.listen(), self.saved
        plan = files.settings_from_json(
            plan_for(saved.algorithm.learns_from), self.record.plan, self.folder / "run.json"
        )
        evaluator = Evaluator(saved.algorithm, saved.config, lambda: Environment(source), plan, heard.check)
        evaluator.verdict = saved.verdict
        with contextlib.closing(evaluator):
            evaluator.refuse_unlike(saved.spec)
            return execute.score(saved, which, evaluator, episodes, deterministic, seed)


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
