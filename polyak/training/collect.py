"""Collecting on the host: steps in Gymnasium environments with the policy that was set, for all lanes at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from polyak.errors import RunError
from polyak.training.finite import refuse_nonfinite
from polyak.training.learn import Rollout
from polyak.training.moment import Moment
from polyak.training.plan import Plan
from polyak.training.protocols import Acting, VectorEnv
from polyak.tree import copied, map_leaves, write
from polyak.types import Episode, Obs, Tree

ALL = slice(None)


class Collector:
    """The environments of all lanes, and the policy that acts in them: everything about collecting steps.

    With updates per episode lanes take part in rounds: each plays an episode, and waits until every lane has. `round`
    says which lanes take part, `open` which are still in their episode.
    """

    def __init__(self, plan: Plan, envs: VectorEnv, acting: Acting, seeds: Sequence[int]):
        self.plan, self.envs, self.acting, self.seeds = plan, envs, acting, list(seeds)
        self.env_steps = np.zeros(len(self.seeds), np.int64)
        self.round = np.ones(len(self.seeds), bool)
        self.open = self.round
        self.at_rest = True  # whether no round is under way; without updates per episode always
        self.begun = np.zeros(len(self.seeds), np.float32)  # progress of each lane when its rollout, or round, began

    @property
    def episodes(self) -> np.ndarray:
        """Training episodes that each lane `[lane]` has finished."""
        return self.envs.episodes.sum(1)

    @property
    def finished(self) -> np.ndarray:
        """Which lanes `[lane]` have taken all their steps, or finished all their episodes."""
        return self.plan.finished(self.env_steps, self.episodes)

    def collect(self) -> tuple[Rollout, list[Episode]]:
        """Collect up to `rollout_length` steps in every active lane, or to the end of its warm-up, run or episode.

        Raises RunError where an environment fails. Then everything is as before the rollout, which is discarded.
        """
        plan = self.plan
        if self.at_rest:
            self.begun = plan.progress(self.env_steps, self.episodes).astype(np.float32)
        rollout = self.empty_rollout()
        warming = bool(self.env_steps.max() < plan.learning_starts)
        until = plan.learning_starts if warming else plan.env_steps
        remaining = np.minimum(plan.rollout_length, (until - self.env_steps) // plan.envs).clip(0) * self.open
        by_episode = not warming and plan.by_episode
        choose = self.acting.uniform if warming and plan.starts_uniformly else self.acting
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
        if self.at_rest:
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

    def _fill(
        self, rollout: Rollout, remaining: np.ndarray, choose: Callable[[Obs], np.ndarray], episodes_left: np.ndarray
    ) -> list[Episode]:
        envs, parts, episodes = self.envs, rollout.steps, list[Episode]()
        rollout.count[:] = remaining
        lanes = [lane for lane in range(len(self.seeds)) if remaining[lane]]
        named = isinstance(parts.obs, dict)  # a call less for a single array shows in the speed of small tasks
        for t in range(int(remaining.max())):
            if named:
                write(parts.obs, (ALL, t), envs.obs)
            else:
                parts.obs[:, t] = envs.obs
            parts.action[:, t] = actions = choose(envs.obs)
            ended = envs.step(actions, lanes)
            if named:
                write(parts.next_obs, (ALL, t), envs.next_obs)
            else:
                parts.next_obs[:, t] = envs.next_obs
            parts.reward[:, t] = envs.reward
            parts.terminated[:, t], parts.truncated[:, t] = envs.terminated, envs.truncated
            for episode in ended:
                self.acting.reset_memory(episode.lane, episode.env)
                episodes_left[episode.lane] -= 1
                if not episodes_left[episode.lane]:
                    rollout.count[episode.lane] = t + 1
            episodes += ended
            if self.plan.by_episode:  # only then do lanes stop at different times
                lanes = [lane for lane in lanes if rollout.count[lane] > t + 1]
                if not lanes:
                    break
        return episodes

    def snapshot(self) -> dict[str, Tree]:
        """Return everything it is at this moment, as a tree of arrays, good until the next rollout."""
        dtype = self.envs.spec.action.array.dtype
        return {
            "policy": self.acting.policy,
            "memory": self.acting.memory,
            "open": self.open.copy(),
            "round": self.round.copy(),
            "at_rest": np.asarray(self.at_rest),
            "begun": self.begun,
            "actions": [[np.asarray(taken, dtype) for taken in lane] for lane in self.envs.actions],
            "episodes": self.envs.episodes.copy(),
            "obs": copied(self.envs.obs),
            "env_steps": self.env_steps,
        }

    def restore(self, snapshot: dict[str, Tree]) -> list[tuple[int, int]]:
        """Go back to the moment of a snapshot; return lane and number of the environments that began a new episode."""
        self.acting.memory = snapshot["memory"]
        self.round, self.open = np.array(snapshot["round"]), np.array(snapshot["open"])
        self.at_rest, self.begun = bool(snapshot["at_rest"]), np.array(snapshot["begun"])
        self.env_steps = np.array(snapshot["env_steps"])
        actions = [[list(taken) for taken in lane] for lane in snapshot["actions"]]
        elsewhere = self.envs.restore(snapshot["episodes"], actions, snapshot["obs"])
        if self.at_rest:
            self.round = self.open = ~self.finished  # more of them, if the plan is longer now
        for lane, e in elsewhere:
            self.acting.reset_memory(lane, e)
        self.acting.set_policy(snapshot["policy"])
        return elsewhere

    def empty_rollout(self) -> Rollout:
        """Make a rollout of no steps, with room for those of an iteration."""
        lanes, plan = len(self.seeds), self.plan
        axes = (lanes, plan.rollout_length, plan.envs)
        steps = map_leaves(lambda array: array.zeros(*axes), self.envs.spec.transition())
        return Rollout(steps, np.zeros(lanes, np.int32), self.round, self.begun)
