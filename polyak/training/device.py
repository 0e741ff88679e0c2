"""The device loop: environments, acting, replay and learning of all lanes inside one compiled program.

One iteration collects `rollout_length` steps with the present policy, then calls the same `learn` as the host loop.
There is no host to overlap with, so the policy is never behind. One program (`segment.py`) runs segments of any number
of iterations.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polyak import tree
from polyak.errors import RunError
from polyak.lazy import jax
from polyak.training import devices, schedule
from polyak.training.lanes import Lanes, of_numbers, on_host, priorities_for, put_back, shapes, with_keys
from polyak.training.learn import Task
from polyak.training.numpy_trial import Verdict, try_in_numpy
from polyak.training.plan import Plan
from polyak.training.protocols import CompiledEnv, Report
from polyak.training.segment import Lane, Programs, Record
from polyak.types import Algorithm, Episode


class DeviceTraining:
    """One run in memory, all of it on the devices. It is used as `host.Training` is."""

    def __init__(
        self,
        algorithm: Algorithm,
        config: Any,
        plan: Plan,
        env: CompiledEnv,
        seeds: Sequence[int],
        most_devices: int | None = None,
    ):
        self.algorithm, self.plan, self.seeds, self.spec = algorithm, plan, list(seeds), env.spec
        schedule.validate(plan, env.limit)
        task = Task(algorithm, plan, self.spec)
        lanes = Lanes.begin(task, config, self.seeds, most_devices)
        self.sharding, self.config, self.keys = lanes.sharding, lanes.config, lanes.keys
        fixed = (Programs(task, env),)
        begin = devices.program(Programs.begin, fixed, self.sharding, lanes=(False, True, True), config=config)
        self.lane: Lane = begin(self.config, lanes.learner, self.keys)
        shared = (False, True, True, True, False, False)
        self.segment = devices.program(Programs.segment, fixed, self.sharding, shared, donate=(1,), config=config)
        self.finite = True  # whether all numbers so far were finite
        self.shared_updates = 0  # updates made by the lanes that still train
        self.updates = np.zeros(len(self.seeds), np.int64)  # by each lane
        self.episodes = np.zeros(len(self.seeds), np.int64)  # finished by each lane
        self.learned = False  # whether the program has run, and so is compiled
        self.env_steps = np.zeros(len(self.seeds), np.int64)
        self.report = Report([], None, self.updates)

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the algorithm would act in NumPy, as its policies do once they are loaded."""
        config = jax.tree.map(np.asarray, self.config)
        return try_in_numpy(self.algorithm, config, self.spec, self.policy)

    @property
    def num_devices(self) -> int:
        """Over how many devices the lanes are spread."""
        return self.sharding.num_devices

    @property
    def progress(self) -> np.ndarray:
        """Share of the plan `[lane]` that each lane has done."""
        return self.plan.progress(self.env_steps, self.episodes)

    @property
    def finished(self) -> np.ndarray:
        """Which lanes `[lane]` have taken all their steps, or finished all their episodes."""
        return self.plan.finished(self.env_steps, self.episodes)

    @property
    def ready(self) -> np.ndarray:
        """Which lanes `[lane]` may be logged and evaluated: all, since each segment ends with learning."""
        return np.ones(len(self.seeds), bool)

    @property
    def done(self) -> bool:
        """Whether every lane has taken all its steps and learned from them."""
        return bool(self.finished.all())

    @property
    def policy(self) -> Any:
        """The learned policy of every lane, on the host."""
        # copied, because the learner's memory is donated to the next segment
        return jax.tree.map(lambda leaf: np.array(leaf, copy=True), self.lane.learner.state.policy)

    def advance(self) -> Report:
        """Run one segment; return its report, which is also kept as `report`. Raises RunError for infinite numbers."""
        rows, share = schedule.segment(self.plan, self.env_steps, self.episodes, self.shared_updates)
        table, count = schedule.table(rows, schedule.most_iterations(self.plan)), np.asarray(len(rows), np.int32)
        self.lane, record = self.segment(self.config, self.lane, self.keys, share, table, count)
        record, learned = devices.fetched(record), sum(row.num_updates for row in rows)
        made = np.where(share.steps > 0, learned, 0)
        self.env_steps, self.shared_updates, self.learned = (
            self.env_steps + record.taken,
            self.shared_updates + learned,
            True,
        )
        self.updates, self.episodes = self.updates + made, self.episodes + np.count_nonzero(record.length, (1, 2, 3))
        self.report = Report(_episodes(record), record.metrics if learned else None, made)
        self.finite = bool(record.finite.all())
        if not self.finite:
            seed = self.seeds[int(np.argmin(record.finite))]
            learning = "learning diverged, lower the learning rate; or " if self.shared_updates else ""
            raise RunError(
                f"a number of seed {seed} is not finite, before environment step {self.env_steps.max()}:"
                f" {learning}the environment is at fault"
            )
        return self.report

    def snapshot(self) -> dict[str, Any]:
        """Return everything the run is at this moment, as a tree of arrays, good until the next segment."""
        rest = of_numbers(tree.replace(self.lane, learner=None))
        parts = {"learner": on_host(self.lane.learner), "lane": rest, "pending": None}
        counts = {"env_steps": self.env_steps, "episodes": self.episodes, "updates": self.updates}
        return {**parts, **counts, "shared_updates": np.asarray(self.shared_updates)}

    def template(self, pending: bool, planned: int | None = None) -> dict[str, Any]:
        """Return the shapes of a snapshot; the length of the replay may differ.

        `planned` is the number of environment steps that the run was to have then, if it was another.
        """
        parts = shapes(self.snapshot())
        return {**parts, "learner": priorities_for(self.plan.room(planned), parts["learner"])}

    def restore(self, snapshot: dict[str, Any]) -> int:
        """Go back to the moment of a snapshot; return how many environments could not: none."""
        self.shared_updates, self.env_steps = int(snapshot["shared_updates"]), np.array(snapshot["env_steps"])
        self.episodes, self.updates = np.array(snapshot["episodes"]), np.array(snapshot["updates"])
        learner = put_back(snapshot["learner"], self.lane.learner, self.sharding)
        rest = with_keys(snapshot["lane"], tree.replace(self.lane, learner=None))
        self.lane = tree.replace(jax.device_put(rest, self.sharding), learner=learner)
        return 0

    def start_from(self, state: Any) -> None:
        """Begin with what other learners have learned: the states of all lanes, `[lane, ...]`."""
        learner = tree.replace(self.lane.learner, state=jax.device_put(state, self.sharding))
        self.lane = tree.replace(self.lane, learner=learner)


def _episodes(record: Record) -> list[Episode]:
    """List the episodes that ended, in order."""
    where = np.nonzero(record.length)
    lanes, _, _, envs = (axis.tolist() for axis in where)
    return [*map(Episode, lanes, envs, record.total[where].tolist(), record.length[where].tolist())]
