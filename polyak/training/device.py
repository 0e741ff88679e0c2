"""The device loop: environments, acting, replay and learning of all lanes inside one compiled program.

One iteration collects `rollout_length` steps with the current policy, then calls the same `learn` as the host loop.
There is no host to overlap with, so the policy never lags. One program (`segment.py`) runs segments of any number of
iterations.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from polyak import tree
from polyak.errors import RunError
from polyak.lazy import jax
from polyak.training import devices, schedule
from polyak.training.counts import Counts
from polyak.training.job import Job
from polyak.training.lanes import Lanes, of_numbers, on_host, policies, put_back, shapes, with_keys
from polyak.training.numpy_trial import Verdict, try_in_numpy
from polyak.training.protocols import CompiledEnv, Report
from polyak.training.segment import Lane, Programs, Record
from polyak.types import Episode, Tree

COUNTED = ("env_steps", "episodes", "updates")  # in a snapshot


class DeviceLoop:
    """One run in memory, all of it on the devices; used like `host.HostLoop`."""

    def __init__(self, job: Job[CompiledEnv], most_devices: int | None = None):
        """Begin a job on at most `most_devices` devices. Raises UsageError for settings that do not fit together."""
        self.algorithm, self.plan, self.seeds, self.spec = job.algorithm, job.plan, list(job.seeds), job.envs.spec
        schedule.validate(job.plan, job.envs.limit)
        lanes = Lanes.begin(job, most_devices)
        self.sharding, self.config, self.keys = lanes.sharding, lanes.config, lanes.keys
        fixed = (Programs(job.task, job.envs),)
        begin = devices.program(Programs.begin, fixed, self.sharding, lanes=(False, True, True), config=job.config)
        self.lane: Lane = begin(self.config, lanes.learner, self.keys)
        shared = (False, True, True, True, False, False)
        self.segment = devices.program(Programs.segment, fixed, self.sharding, shared, donate=(1,), config=job.config)
        self.finite = True  # whether all numbers so far were finite
        self.shared_updates = 0  # updates made by the lanes that still train
        self.counts = self._counts(*np.zeros((3, len(self.seeds)), np.int64))
        self.learned = False  # whether the program has run, and so is compiled
        self.report = Report([], None, self.counts.updates)

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the algorithm can act in NumPy, as loaded policies do."""
        config = jax.tree.map(np.asarray, self.config)
        return try_in_numpy(self.algorithm, config, self.spec, self.policy)

    def _counts(self, env_steps: np.ndarray, episodes: np.ndarray, updates: np.ndarray) -> Counts:
        """Return counts of lanes that are all ready, since each segment ends with learning."""
        return Counts(self.plan, env_steps, episodes, updates, np.ones(len(self.seeds), bool))

    @property
    def policy(self) -> Tree:
        """The learned policy of every lane, on the host."""
        return policies(self.lane.learner)

    def advance(self) -> Report:
        """Run one segment; return its report, which is also kept as `report`. Raises RunError for infinite numbers."""
        counts = self.counts
        rows, share = schedule.segment(self.plan, counts.env_steps, counts.episodes, self.shared_updates)
        table, count = schedule.table(rows, schedule.most_iterations(self.plan)), np.asarray(len(rows), np.int32)
        self.lane, record = self.segment(self.config, self.lane, self.keys, share, table, count)
        record, learned = devices.fetched(record), sum(row.num_updates for row in rows)
        made, ended = np.where(share.steps > 0, learned, 0), np.count_nonzero(record.length, (1, 2, 3))
        self.counts = self._counts(counts.env_steps + record.taken, counts.episodes + ended, counts.updates + made)
        self.shared_updates, self.learned = self.shared_updates + learned, True
        self.report = Report(_episodes(record), record.metrics if learned else None, made)
        self.finite = bool(record.finite.all())
        if not self.finite:
            seed = self.seeds[int(np.argmin(record.finite))]
            cause = "the environment returned such a value"
            if self.shared_updates:
                cause = f"either learning diverged (lower the learning rate), or {cause}"
            raise RunError(
                f"seed {seed} produced NaN or infinity before environment step {self.counts.env_steps.max():,}: {cause}"
            )
        return self.report

    def snapshot(self) -> dict[str, Tree]:
        """Return the entire state of the run as a tree of arrays, valid until the next segment."""
        rest = of_numbers(tree.replace(self.lane, learner=None))
        parts = {"learner": on_host(self.lane.learner), "lane": rest, "pending": None}
        counts = {name: getattr(self.counts, name) for name in COUNTED}
        return {**parts, **counts, "shared_updates": np.asarray(self.shared_updates)}

    def template(self, pending: bool, planned: int | None = None) -> dict[str, Tree]:
        """Return the shapes of a snapshot; the size of the replay buffer may differ.

        `planned` is the number of environment steps in the plan at that time, if it was another.
        """
        return shapes(self.snapshot(), self.plan.room(planned))

    def restore(self, snapshot: dict[str, Tree]) -> int:
        """Restore a snapshot; return how many environments could not be restored: none."""
        self.shared_updates = int(snapshot["shared_updates"])
        self.counts = self._counts(*(np.array(snapshot[name]) for name in COUNTED))
        learner = put_back(snapshot["learner"], self.lane.learner, self.sharding)
        rest = with_keys(snapshot["lane"], tree.replace(self.lane, learner=None))
        self.lane = tree.replace(jax.device_put(rest, self.sharding), learner=learner)
        return 0

    def start_from(self, state: Tree) -> None:
        """Begin with the states of other learners, of all lanes `[lane, ...]`."""
        learner = tree.replace(self.lane.learner, state=jax.device_put(state, self.sharding))
        self.lane = tree.replace(self.lane, learner=learner)


def _episodes(record: Record) -> list[Episode]:
    """List the episodes that ended, in order."""
    where = np.nonzero(record.length)
    lanes, _, _, envs = (axis.tolist() for axis in where)
    return [*map(Episode, lanes, envs, record.total[where].tolist(), record.length[where].tolist())]
