"""The host loop: collect from Gymnasium environments on the host, overlapped with learning on the devices.

One iteration: (1) `learn` of the last rollout is dispatched, not awaited; (2) meanwhile the policy from before it takes
`rollout_length` steps; (3) the new rollout waits as `pending`, and the learned policy is fetched. The policy is always
exactly one iteration behind, whatever the timing, and everything a run is between two iterations is in `snapshot()`.
Without overlap (and always for on-policy algorithms) a rollout is learned from before the next one is collected;
rollout_length = 1 without overlap is the textbook loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polyak import tree
from polyak.errors import RunError
from polyak.lazy import jax
from polyak.training import devices
from polyak.training.acting import Behavior, make_acting
from polyak.training.finite import refuse_nonfinite
from polyak.training.lanes import Lanes, on_host, priorities_for, put_back, shapes, truncate_newest
from polyak.training.learn import Rollout, Task, UpdateSchedule, learn
from polyak.training.moment import Moment
from polyak.training.numpy_trial import Verdict
from polyak.training.plan import Plan
from polyak.training.protocols import Report, VectorEnv
from polyak.types import Algorithm


class Training:
    """One run in memory: learners on the devices, environments on the host, and what is under way between them."""

    def __init__(
        self,
        algorithm: Algorithm,
        config: Any,
        plan: Plan,
        envs: VectorEnv,
        seeds: Sequence[int],
        most_devices: int | None = None,
    ):
        self.algorithm, self.plan, self.envs, self.seeds = algorithm, plan, envs, list(seeds)
        self.spec = envs.spec
        task = Task(algorithm, plan, self.spec)
        begun = Lanes.begin(task, config, self.seeds, most_devices)
        self.sharding, self.config, self.keys, self.learner = begun.sharding, begun.config, begun.keys, begun.learner
        self.learn = devices.program(
            learn,
            (task,),
            self.sharding,
            lanes=(False, True, True, True, False),
            donate=(1,),
            config=config,
        )
        self.finite = True  # what is not finite is refused before it is learned from
        self.shared_updates = 0  # updates made by the lanes that still train
        self.updates = np.zeros(len(self.seeds), np.int64)  # by each lane
        self.learned = False  # whether `learn` has been called, and so compiled
        self.env_steps = np.zeros(len(self.seeds), np.int64)
        self.pending: Rollout | None = None
        self.num_updates = 0  # updates to make with the pending rollout
        # with updates per episode: which lanes take part in this round of episodes, and which are still in theirs
        self.round = np.ones(len(self.seeds), bool)
        self.open = self.round
        self.at_rest = True  # whether no round is under way; without updates per episode always
        self.begun = np.zeros(len(self.seeds), np.float32)  # progress of each lane when its rollout, or round, began
        self._fetch()
        behavior = Behavior(algorithm, config, self.spec, plan.envs, explore=True)
        self.acting = make_acting(behavior, self.seeds, self.policy)

    @property
    def verdict(self) -> Verdict:
        """Whether the algorithm acts in NumPy."""
        return self.acting.verdict

    @property
    def episodes(self) -> np.ndarray:
        """Training episodes that each lane `[lane]` has finished."""
        return self.envs.episodes.sum(1)

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
        """Which lanes `[lane]` may be logged and evaluated: all between two rounds, but finished ones that still learn.

        So what is told of a lane does not depend on when the others finish their episodes.
        """
        waits = np.zeros(len(self.seeds), bool) if self.pending is None else self.finished & self.pending.active
        return ~waits if self.at_rest else np.zeros(len(self.seeds), bool)

    @property
    def done(self) -> bool:
        """Whether every lane has taken all its steps and learned from them."""
        return bool(self.finished.all()) and self.pending is None

    def advance(self) -> Report:
        """Run one iteration; return its report, which is also kept as `report`.

        Raises RunError where an environment fails. Then what was pending has been learned from, as `report` says, and
        all else is as before the rollout, which is discarded.
        """
        overlapped = self.plan.overlap and self.algorithm.learns_from != "rollout"
        metrics: Any = None
        episodes: list[Any] = []
        before = self.updates
        if self.pending is not None:
            metrics, self.pending = self._learn_from(self.pending), None
        if not self.finished.all():
            try:
                rollout, episodes = self._collect()
            except (RunError, KeyboardInterrupt):
                self._report([], metrics, self.updates - before)
                raise
            if overlapped:
                self.pending = rollout
            else:
                metrics = self._learn_from(rollout)
        self._report(episodes, metrics, self.updates - before)
        self.acting.set_policy(self.policy)
        return self.report

    def snapshot(self) -> dict[str, Any]:
        """Return everything the run is at this moment, as a tree of arrays, good until the next iteration."""
        return {
            "learner": on_host(self.learner),
            "acting": self.acting.policy,
            "memory": self.acting.memory,
            "pending": self.pending,
            "num_updates": np.asarray(self.num_updates),
            "open": self.open.copy(),
            "round": self.round.copy(),
            "at_rest": np.asarray(self.at_rest),
            "begun": self.begun,
            "actions": [[np.asarray(taken, np.float32) for taken in lane] for lane in self.envs.actions],
            "episodes": self.envs.episodes.copy(),
            "obs": self.envs.obs.copy(),
            "env_steps": self.env_steps,
            "shared_updates": np.asarray(self.shared_updates),
            "updates": self.updates,
        }

    def template(self, pending: bool, planned: int | None = None) -> dict[str, Any]:
        """Return the shapes of a snapshot; the lengths of the replay and of the unfinished episodes may differ.

        `planned` is the number of environment steps that the run was to have then, if it was another.
        """
        parts = shapes({**self.snapshot(), "pending": self._empty_rollout() if pending else None})
        return {**parts, "learner": priorities_for(self.plan.room(planned), parts["learner"])}

    def restore(self, snapshot: dict[str, Any]) -> int:
        """Go back to the moment of a snapshot; return how many environments could not, and began a new episode."""
        self.shared_updates, self.updates = int(snapshot["shared_updates"]), np.array(snapshot["updates"])
        self.learner = put_back(snapshot["learner"], self.learner, self.sharding)
        self.acting.memory = snapshot["memory"]
        self.pending, self.num_updates = snapshot["pending"], int(snapshot["num_updates"])
        self.round, self.open = np.array(snapshot["round"]), np.array(snapshot["open"])
        self.at_rest, self.begun = bool(snapshot["at_rest"]), np.array(snapshot["begun"])
        self.env_steps = np.array(snapshot["env_steps"])
        actions = [[list(taken) for taken in lane] for lane in snapshot["actions"]]
        elsewhere = self.envs.restore(snapshot["episodes"], actions, snapshot["obs"])
        if self.at_rest:
            self.round = self.open = ~self.finished  # more of them, if the plan is longer now
        self._break_off(elsewhere)
        self._fetch()
        self.acting.set_policy(snapshot["acting"])
        return len(elsewhere)

    def _break_off(self, environments: list[tuple[int, int]]) -> None:
        """Truncate the episodes of these environments after their last stored step: what follows is another episode."""
        stored = np.zeros((len(self.seeds), self.plan.envs), bool)
        if self.pending is not None and environments:
            steps = tree.replace(self.pending.steps, truncated=np.array(self.pending.steps.truncated))
            self.pending = tree.replace(self.pending, steps=steps)  # a snapshot may hold the old array
        for lane, e in environments:
            self.acting.reset_memory(lane, e)
            if self.pending is not None and self.pending.count[lane]:
                self.pending.steps.truncated[lane, self.pending.count[lane] - 1, e] = 1
            else:
                stored[lane, e] = True
        if stored.any():
            self.learner = truncate_newest(self.learner, stored, self.sharding)

    def start_from(self, state: Any) -> None:
        """Begin with what other learners have learned: the states of all lanes, `[lane, ...]`."""
        self.learner = tree.replace(self.learner, state=jax.device_put(state, self.sharding))
        self._fetch()
        self.acting.set_policy(self.policy)

    def _learn_from(self, rollout: Rollout) -> Any:
        updates, self.num_updates = self.num_updates, 0
        schedule = UpdateSchedule(np.asarray(self.shared_updates, np.int32), np.asarray(updates, np.int32))
        # arrays of NumPy, which the program spreads over the devices itself at a third of what `device_put` costs
        self.learner, metrics = self.learn(self.config, self.learner, rollout, self.keys, schedule)
        self.shared_updates, self.learned = self.shared_updates + updates, True
        self.updates = self.updates + updates * rollout.active
        return metrics if updates else None

    def _report(self, episodes: list[Any], metrics: Any, updates: np.ndarray) -> None:
        self._fetch()
        self.report = Report(episodes, None if metrics is None else devices.fetched(metrics), updates)

    def _fetch(self) -> None:
        """Copy the learned policy to the host, which waits for the learner."""
        # copied, because the learner's memory is donated to its next call
        self.policy = jax.tree.map(lambda leaf: np.array(leaf, copy=True), self.learner.state.policy)

    def _empty_rollout(self) -> Rollout:
        lanes, plan = len(self.seeds), self.plan
        axes = (lanes, plan.rollout_length, plan.envs)
        steps = jax.tree.map(lambda array: np.zeros((*axes, *array.shape), array.dtype), self.spec.transition())
        return Rollout(steps, np.zeros(lanes, np.int32), self.round, self.begun)

    def _collect(self) -> tuple[Rollout, list[Any]]:
        """Collect up to `rollout_length` steps in every active lane, or to the end of its warm-up, run or episode."""
        plan = self.plan
        if self.at_rest:
            self.begun = plan.progress(self.env_steps, self.episodes).astype(np.float32)
        rollout = self._empty_rollout()
        warming = bool(self.env_steps.max() < plan.warmup)
        until = plan.warmup if warming else plan.env_steps
        remaining = np.minimum(plan.rollout_length, (until - self.env_steps) // plan.envs).clip(0) * self.open
        by_episode = not warming and plan.updates_per == "episode"
        choose = self.acting.uniform if warming and plan.warmup_actions == "uniform" else self.acting
        before, played = Moment(self.envs, self.acting), self.episodes
        self.acting.seed(self.env_steps)
        try:
            with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, which is refused
                episodes = self._fill(rollout, remaining, choose, plan.episodes_left(self.episodes, warming))
            refuse_nonfinite(rollout, self.envs, self.seeds, self.env_steps)
            if plan.evaluation_envs == 0:
                self._make_way(rollout, played)
        except (RunError, KeyboardInterrupt):  # an environment may raise either
            before.rewind(self.envs, self.acting)
            raise
        self.env_steps = self.env_steps + rollout.count.astype(np.int64) * plan.envs
        if by_episode:
            self._close_lanes({episode.lane for episode in episodes})
        self.at_rest = not (by_episode and self.open.any())
        if not self.at_rest:
            self.num_updates = 0
        else:
            self.num_updates = plan.updates_due(int(self.env_steps.max()), self.shared_updates)
            self.round = self.open = ~self.finished
            if by_episode:  # all lanes are at a start; the memory of those that waited went on meanwhile
                for lane in range(len(self.seeds)):
                    self.acting.reset_memory(lane, 0)
        return rollout, episodes

    def _make_way(self, rollout: Rollout, played: np.ndarray) -> None:
        """Cut the episode under way if an evaluation, which needs its environment, is due after this rollout.

        The last transition is marked as truncated, which is what has happened to the episode: nothing is taken for an
        end of the task. `played` are the episodes before the rollout.
        """
        plan, envs = self.plan, self.envs
        after = self.env_steps + rollout.count.astype(np.int64) * plan.envs
        due = plan.evaluations_due(after, self.episodes) > plan.evaluations_due(self.env_steps, played)
        if due.all() and envs.actions[0][0]:
            rollout.steps.truncated[0, rollout.count[0] - 1, 0] = 1
            self.acting.reset_memory(0, 0)
            envs.restore(envs.episodes + 1, [[[]]], envs.obs)

    def _close_lanes(self, ended: set[int]) -> None:
        """Let lanes whose episode ended wait until every lane's has: then all learn at once, by one clock."""
        self.open = self.open & ~self.finished & ~np.isin(np.arange(len(self.seeds)), list(ended))

    def _fill(self, rollout: Rollout, remaining: np.ndarray, choose: Any, episodes_left: np.ndarray) -> list[Any]:
        envs, parts, episodes = self.envs, rollout.steps, list[Any]()
        rollout.count[:] = remaining
        lanes = [lane for lane in range(len(self.seeds)) if remaining[lane]]
        for t in range(int(remaining.max())):
            parts.obs[:, t] = envs.obs
            parts.action[:, t] = actions = choose(envs.obs)
            ended = envs.step(actions, lanes)
            parts.next_obs[:, t], parts.reward[:, t] = envs.next_obs, envs.reward
            parts.terminated[:, t], parts.truncated[:, t] = envs.terminated, envs.truncated
            for episode in ended:
                self.acting.reset_memory(episode.lane, episode.env)
                episodes_left[episode.lane] -= 1
                if not episodes_left[episode.lane]:
                    rollout.count[episode.lane] = t + 1
            episodes += ended
            if self.plan.updates_per == "episode":  # only then do lanes stop at different times
                lanes = [lane for lane in lanes if rollout.count[lane] > t + 1]
                if not lanes:
                    break
        return episodes
