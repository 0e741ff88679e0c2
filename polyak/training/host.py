"""The host loop: collect from Gymnasium environments on the host, overlapped with learning on the devices.

One iteration: (1) `learn` is dispatched on the last rollout, without waiting for it; (2) meanwhile the previous policy
takes `rollout_length` steps; (3) the new rollout becomes `pending`, and the learned policy is fetched. The policy is
always exactly one iteration behind, whatever the timing, and between two iterations `snapshot()` holds the entire state
of a run. Without overlap (and always for on-policy algorithms) a rollout is learned from before the next one is
collected; rollout_length = 1 without overlap is the textbook loop.
"""

from __future__ import annotations

import numpy as np

from polyak import tree
from polyak.errors import RunError
from polyak.lazy import jax
from polyak.training import devices
from polyak.training.acting import Behavior, make_acting
from polyak.training.collect import Collector
from polyak.training.counts import Counts
from polyak.training.job import Job
from polyak.training.lanes import Lanes, on_host, policies, put_back, shapes, truncate_newest
from polyak.training.learn import Rollout, UpdateSchedule, learn
from polyak.training.protocols import Report, VectorEnv
from polyak.types import Episode, Metrics, Tree


class HostLoop:
    """One run in memory: learners on the devices, environments on the host, and what is pending between them."""

    def __init__(self, job: Job[VectorEnv], most_devices: int | None = None):
        """Begin a job on at most `most_devices` devices. Raises UsageError for settings that do not fit together."""
        self.algorithm, self.plan, self.seeds, self.spec = job.algorithm, job.plan, list(job.seeds), job.envs.spec
        begun = Lanes.begin(job, most_devices)
        self.sharding, self.config, self.keys, self.learner = begun.sharding, begun.config, begun.keys, begun.learner
        shared = (False, True, True, True, False)
        self.learn = devices.program(learn, (job.task,), self.sharding, shared, donate=(1,), config=job.config)
        self.finite = True  # values that are not finite are rejected before learning
        self.shared_updates = 0  # updates made by the lanes that still train
        self.updates = np.zeros(len(self.seeds), np.int64)  # by each lane
        self.learned = False  # whether `learn` has been called, and so compiled
        self.pending: Rollout | None = None
        self.num_updates = 0  # updates to make with the pending rollout
        self._fetch()
        behavior = Behavior(job.algorithm, job.config, self.spec, self.plan.envs, explore=True)
        self.collector = Collector(self.plan, job.envs, make_acting(behavior, self.seeds, self.policy), self.seeds)
        self.verdict = self.collector.acting.verdict

    @property
    def counts(self) -> Counts:
        """What each lane has done of the plan.

        All lanes are ready between two rounds but finished ones that still learn, so what is written about a lane does
        not depend on when the others finish their episodes.
        """
        collector, ready = self.collector, np.full(len(self.seeds), self.collector.at_rest)
        if self.pending is not None:
            ready &= ~(collector.finished & self.pending.active)
        return Counts(self.plan, collector.env_steps, collector.episodes, self.updates, ready)

    def advance(self) -> Report:
        """Run one iteration; return its report, which is also kept as `report`.

        Raises RunError if an environment fails. Then the pending rollout has been learned from, as `report` says, the
        new rollout is discarded, and everything else is as before it.
        """
        metrics: Metrics | None = None
        episodes: list[Episode] = []
        before = self.updates
        if self.pending is not None:
            metrics, self.pending = self._learn_from(self.pending), None
        if not self.collector.finished.all():
            try:
                rollout, episodes = self.collector.collect()
            except (RunError, KeyboardInterrupt):
                self._report([], metrics, self.updates - before)
                raise
            env_steps = int(self.collector.env_steps.max())
            due = self.collector.at_rest
            self.num_updates = self.plan.updates_due(env_steps, self.shared_updates) if due else 0
            if self.plan.overlaps:
                self.pending = rollout
            else:
                metrics = self._learn_from(rollout)
        self._report(episodes, metrics, self.updates - before)
        self.collector.acting.set_policy(self.policy)
        return self.report

    def snapshot(self) -> dict[str, Tree]:
        """Return the entire state of the run as a tree of arrays, valid until the next iteration."""
        return {
            "learner": on_host(self.learner),
            "collector": self.collector.snapshot(),
            "pending": self.pending,
            "num_updates": np.asarray(self.num_updates),
            "shared_updates": np.asarray(self.shared_updates),
            "updates": self.updates,
        }

    def template(self, pending: bool, planned: int | None = None) -> dict[str, Tree]:
        """Return the shapes of a snapshot; the sizes of replay buffers and unfinished episodes may differ.

        `planned` is the number of environment steps in the plan at that time, if it was another.
        """
        pending_rollout = self.collector.empty_rollout() if pending else None
        return shapes({**self.snapshot(), "pending": pending_rollout}, self.plan.room(planned))

    def restore(self, snapshot: dict[str, Tree]) -> int:
        """Restore a snapshot; return how many environments could not be restored and began a new episode."""
        self.shared_updates, self.updates = int(snapshot["shared_updates"]), np.array(snapshot["updates"])
        self.learner = put_back(snapshot["learner"], self.learner, self.sharding)
        self.pending, self.num_updates = snapshot["pending"], int(snapshot["num_updates"])
        elsewhere = self.collector.restore(snapshot["collector"])
        self._break_off(elsewhere)
        self._fetch()
        return len(elsewhere)

    def _break_off(self, environments: list[tuple[int, int]]) -> None:
        """Truncate the episodes of these environments at their last stored step, since another episode follows."""
        stored = np.zeros((len(self.seeds), self.plan.envs), bool)
        if self.pending is not None and environments:
            steps = tree.replace(self.pending.steps, truncated=np.array(self.pending.steps.truncated))
            self.pending = tree.replace(self.pending, steps=steps)  # a snapshot may hold the old array
        for lane, e in environments:
            if self.pending is not None and self.pending.count[lane]:
                self.pending.steps.truncated[lane, self.pending.count[lane] - 1, e] = 1
            else:
                stored[lane, e] = True
        if stored.any():
            self.learner = truncate_newest(self.learner, stored, self.sharding)

    def start_from(self, state: Tree) -> None:
        """Begin with the states of other learners, of all lanes `[lane, ...]`."""
        self.learner = tree.replace(self.learner, state=jax.device_put(state, self.sharding))
        self._fetch()
        self.collector.acting.set_policy(self.policy)

    def _learn_from(self, rollout: Rollout) -> Metrics | None:
        updates, self.num_updates = self.num_updates, 0
        schedule = UpdateSchedule(np.asarray(self.shared_updates, np.int32), np.asarray(updates, np.int32))
        # the program distributes NumPy arrays over the devices in a third of the time of `device_put`
        self.learner, metrics = self.learn(self.config, self.learner, rollout, self.keys, schedule)
        self.shared_updates, self.learned = self.shared_updates + updates, True
        self.updates = self.updates + updates * rollout.active
        return metrics if updates else None

    def _report(self, episodes: list[Episode], metrics: Metrics | None, updates: np.ndarray) -> None:
        self._fetch()
        self.report = Report(episodes, None if metrics is None else devices.fetched(metrics), updates)

    def _fetch(self) -> None:
        """Copy the learned policy to the host, waiting for the learner."""
        self.policy = policies(self.learner)
