"""One session of a run: iterations, and between them the log, the evaluations, the checkpoints and the interrupts."""

from __future__ import annotations

import contextlib
import time
from typing import TypeVar

import numpy as np

from polyak.envs.gymnasium import episode_seed
from polyak.envs.spaces import Spaces
from polyak.errors import RunError
from polyak.lazy import jax
from polyak.runs import checkpoint, policy
from polyak.runs.audience import Listeners, Progress
from polyak.runs.folder import Claim
from polyak.runs.interrupts import Interrupts, Stop
from polyak.runs.log import Log
from polyak.runs.record import RunRecord
from polyak.runs.request import AnyEnvs
from polyak.training.device_evaluate import DeviceEvaluator
from polyak.training.evaluate import Evaluator, Scores
from polyak.training.job import Job
from polyak.training.protocols import Loop
from polyak.tree import take
from polyak.types import Tree

T = TypeVar("T")

CHOOSING, SCORING = 1, 2  # streams of evaluation seeds: the first chooses the best policy, the second scores it


class Session:
    """Trains a loop, to the end or to an interrupt, and keeps its folder true all the while."""

    def __init__(
        self,
        claim: Claim,
        record: RunRecord,
        job: Job[AnyEnvs],
        loop: Loop,
        evaluator: Evaluator | DeviceEvaluator,
        listeners: Listeners,
    ):
        """Prepare a session of the run that `record` describes."""
        self.trained = {key: getattr(record, key) for key in ("algorithm", "env", "config", "seeds", "env_kwargs")}
        self.claim, self.folder = claim, claim.folder
        self.job, self.loop, self.evaluator = job, loop, evaluator
        self.plan, self.seeds = job.plan, list(job.seeds)
        self.best = loop.policy
        self.best_returns = np.full(len(self.seeds), -np.inf)
        self.evaluated = np.zeros(len(self.seeds), np.int64)  # [lane] evaluations so far
        self.progress, self.audience = listeners.line, listeners.audience
        self.newest = np.full(len(self.seeds), np.nan)  # [lane] mean return of the newest evaluation of this session
        self.stopped: str | None = None  # why training ended before its last step
        self.settings = checkpoint.settings_of(record)
        self.seconds = {"training": 0.0, "evaluation": 0.0}
        self.log = Log(self.folder, self.seeds, self.plan.log_interval)
        self.checkpointed = {"env_steps": 0, "updates": 0}  # in the checkpoint

    def resume(self) -> None:
        """Go back to the checkpoint in the folder."""
        at = checkpoint.load(self.folder / "checkpoint", self.loop, self.best, self.settings)
        self.best, self.best_returns, self.evaluated = at.best, at.best_returns, at.evaluated
        self.seconds.update(at.seconds)
        self.log.resume(at.log_position, self.loop.counts.env_steps)
        self._count_kept()
        if at.begun_anew:
            self.progress.say(
                f"{at.begun_anew} of {len(self.seeds) * self.plan.envs} environments could not be restored (same seed"
                " and actions, different observation): their unfinished episodes are truncated, and new ones begin"
            )

    def train(self, interrupts: Interrupts) -> None:
        """Train to the end. Raises Stop after saving when asked to stop, RunError when it fails."""
        saved = time.monotonic()
        try:
            self._evaluate_if_due()  # one that failed, or was cut short, is made up for
            self.log.flush()
            while not self.loop.counts.done and not self.stopped:
                interrupts.check()
                self._iterate()
                self._evaluate_if_due()
                self.log.flush()  # only here, between whole steps: what is saved if it fails counts what was done
                if time.monotonic() - saved > self.plan.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
            self.save()
        except KeyboardInterrupt as interrupt:
            # between two steps, or raised by an environment, where an iteration is undone: not by a second press
            if isinstance(interrupt, Stop) or not interrupts.asked:
                self.save()
            raise
        except RunError:
            if self.loop.finite:
                with contextlib.suppress(RunError):  # what failed first is what the user must know
                    self.save()
                    interrupts.check()  # Ctrl-C reaches an environment's helper processes too: it may fail of that
            raise
        finally:
            self.progress.close()

    def save(self) -> None:
        """Write checkpoint and policies. Raises RunError, and writes nothing, where learning diverged."""
        self._refuse_diverged()
        self.claim.refuse_changed()
        self.log.sync()  # before the checkpoint counts its rows
        at = checkpoint.Progress(
            self.best, self.best_returns, self.evaluated, self.seconds, self.settings, self.log.position()
        )
        checkpoint.save(self.folder / "checkpoint", self.loop, at)
        self._count_kept()
        # without any evaluation after learning there is no best but the newest
        best = _chosen(self.best_returns > -np.inf, self.best, self.loop.policy)
        best_seed = int(self.seeds[int(np.argmax(self.best_returns))])
        trees = {"final": self.loop.policy, "best": best}
        facts = {**self.trained, "best_seed": best_seed, "acts_in_numpy": self.loop.verdict.in_numpy}
        spaces = Spaces(self.job.envs.observation_space, self.job.envs.action_space)
        policy.save(self.folder / "policy", facts, trees, spaces)

    def _refuse_diverged(self) -> None:
        """Raise RunError where a policy holds what is not finite: of such values an index may still be chosen."""
        finite = [np.isfinite(leaf).reshape(len(self.seeds), -1).all(1) for leaf in jax.tree.leaves(self.loop.policy)]
        finite = np.all(finite, 0)
        if not finite.all():
            self.loop.finite = False
            seed, step = self.seeds[int(np.argmin(finite))], int(self.loop.counts.env_steps.max())
            raise RunError(
                f"the policy of seed {seed} is not finite at environment step {step:,}: learning diverged, lower the"
                " learning rate"
            )

    def _count_kept(self) -> None:
        counts = self.loop.counts
        self.checkpointed = {
            "env_steps": int(counts.env_steps.min()),
            "updates": int(counts.updates.min()),
        }

    def _iterate(self) -> None:
        began = time.monotonic()
        loop = self.loop
        try:
            report = loop.advance()
        except (RunError, KeyboardInterrupt):  # something was learned all the same
            self.log.iteration(loop.report, loop.counts)
            raise
        written = self.log.iteration(report, loop.counts)
        self._show("" if loop.learned else "compiling…")
        self.seconds["training"] += time.monotonic() - began
        if written:
            self._tell(None)

    def _show(self, note: str) -> None:
        counts = self.loop.counts
        self.progress.returned(self.log.exploring_returns())
        self.progress.update(int(counts.env_steps.min()), float(counts.progress.min()), note)

    def _evaluate_if_due(self) -> None:
        counts = self.loop.counts
        due = self.plan.evaluations_due(counts.env_steps, counts.episodes)
        behind = due > self.evaluated
        if behind.any() and (lanes := np.flatnonzero(behind & counts.ready)).size:
            means = self._evaluate(lanes)
            self.evaluated[lanes], self.newest[lanes] = due[lanes], means
            self.progress.evaluated(self.newest, self.best_returns)
            self.stopped = self.stopped or self.audience.satisfied(self.newest.tolist())
            self._tell(dict(zip(lanes.tolist(), means.tolist(), strict=True)))

    def _tell(self, evaluation: dict[int, float] | None) -> None:
        """Tell the user's function what was measured: a row of the log, or an evaluation of some lanes."""
        if self.audience.on_report is None:
            return
        count, counts = range(len(self.seeds)), self.loop.counts
        told = Progress(
            env_steps=tuple(counts.env_steps.tolist()),
            updates=tuple(counts.updates.tolist()),
            metrics=tuple(dict(row) for row in self.log.rows),
            evaluation=None if evaluation is None else tuple(evaluation.get(lane) for lane in count),
        )
        self.stopped = self.stopped or self.audience.tell(told)

    def _evaluate(self, lanes: np.ndarray) -> np.ndarray:
        """Evaluate some lanes; return their mean returns."""
        began = time.monotonic()
        self._refuse_diverged()
        self._show("evaluating…")
        # the same episodes each time: their luck then cancels out when policies are compared
        scores = self.play(take(self.loop.policy, lanes), self.plan.evaluation_episodes, lanes)
        self.log.evaluation(lanes.tolist(), self.loop.counts.env_steps[lanes], scores)
        means = np.full(len(self.seeds), -np.inf)
        means[lanes] = scores.returns.mean(1)
        # the first evaluation is of a policy that has not learned: it begins the curve, and is never the best
        better = np.isfinite(means) & (self.evaluated > 0) & (means >= self.best_returns)
        self.best = _chosen(better, self.loop.policy, self.best)
        self.best_returns = np.where(better, means, self.best_returns)
        self.seconds["evaluation"] += time.monotonic() - began
        return means[lanes]

    def play(self, policies: Tree, episodes: int, lanes: np.ndarray) -> Scores:
        """Play the episodes that choose the best policy with the policies of some lanes."""
        of_lanes = (self.seeds[lane] for lane in lanes)
        seeds = [[episode_seed(seed, 0, i, CHOOSING) for i in range(episodes)] for seed in of_lanes]
        return self.evaluator.play(policies, seeds)


def _chosen(lanes: np.ndarray, yes: T, no: T) -> T:
    """Take the trees of these lanes `[lane]` from one, of the others from the other."""
    return jax.tree.map(lambda a, b: np.where(lanes.reshape(-1, *[1] * (a.ndim - 1)), a, b), yes, no)
