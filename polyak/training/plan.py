"""How a run spends its time: environment steps, updates, replay, evaluations."""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np

from polyak.errors import UsageError, option
from polyak.fields import check, number

NO_LIMIT = 2**31 - 1  # episodes
LEAST_LIMIT = 1_000  # steps of an evaluation episode, where neither the user nor the environment sets a limit


@dataclass(frozen=True)
class Plan:
    """The loop's settings. All counts are for each seed."""

    env_steps: int = number(default=100_000, least=1)
    """Environment steps to train for, all environments of a seed together."""
    episodes: int | None = number(default=None, least=1)
    """Training episodes after which a seed stops, if that is before its last step; for updates per episode."""
    envs: int = number(default=1, least=1)
    """Environments of each seed."""
    workers: int = number(default=0, least=0)
    """Processes that step the environments, for environments that are slow; 0: this process does."""
    rollout_length: int = number(default=128, least=1)
    """Steps that each environment takes between two rounds of updates."""
    updates: float = number(default=1.0, above=0)
    """Gradient updates per environment step, per rollout or per episode."""
    updates_per: Literal["step", "rollout", "episode"] = "step"
    """What `updates` counts by; with "episode" a rollout also ends where its episode ends."""
    batch: int = number(default=256, least=1)
    """Transitions in each update's minibatch."""
    capacity: int = number(default=1_000_000, least=1)
    """Transitions that the replay buffer holds; never more than the run has steps."""
    warmup: int = number(default=1_000, least=0)
    """Environment steps before the first update."""
    warmup_actions: Literal["uniform", "policy"] = "uniform"
    """Who acts during the warm-up: uniformly random actions, or the exploring policy."""
    overlap: bool = True
    """Collect the next rollout while the learner works on the last one."""
    evaluations: int = number(default=10, least=0)
    """Evaluations over the run, denser at its start, besides one before it; they choose each seed's best policy."""
    evaluation_episodes: int = number(default=10, least=1)
    """Episodes of each of those evaluations, without exploration."""
    evaluation_envs: int = number(default=16, least=0)
    """Copies of the environment for evaluation, at most; 0: evaluate in the training environment, whose unfinished
    episode is then truncated."""
    evaluation_steps: int = number(default=0, least=0)
    """Steps after which an evaluation episode is cut; 0: at the environment's time limit or, if it has none, such that
    all evaluations together take no more steps than training, but not before step 1000."""
    score_episodes: int = number(default=20, least=1)
    """Fresh episodes that score the final and the best policies at the end."""
    checkpoint_seconds: float = number(default=60.0, above=0)
    """Seconds between checkpoints."""

    def __post_init__(self) -> None:
        """Refuse combinations that contradict each other, with the fix."""
        check(self)
        whole = self.rollout_length * self.envs if self.updates_per == "rollout" else self.envs  # what is sure to fit
        for name in ("env_steps", "warmup"):
            if getattr(self, name) % self.envs:
                count = getattr(self, name)
                fixed = f"use {-(-count // whole) * whole}"
                if name == "warmup":
                    fixed += ", or 0, as an algorithm must that learns from rollouts"
                raise UsageError(f"{name} = {count} is not a multiple of envs = {self.envs}: {fixed}")
        if self.warmup >= self.env_steps:
            raise UsageError(
                f"warmup = {self.warmup} leaves none of env_steps = {self.env_steps} to learn from: lower"
                f" it ({option('plan.warmup')}), or take more steps"
            )
        if self.updates_per != "step" and self.updates != int(self.updates):
            raise UsageError(f"updates = {self.updates} per {self.updates_per} must be a whole number")
        if self.episodes is not None and self.updates_per != "episode":
            raise UsageError(f'episodes = {self.episodes} needs updates_per = "episode": limit env_steps instead')
        if self.evaluation_envs == 0 and (self.envs > 1 or self.workers):
            raise UsageError(
                f"evaluation_envs = 0 evaluates in the training environment: it needs envs = 1, not {self.envs},"
                f" and workers = 0, not {self.workers}"
            )
        if self.updates_per == "episode" and self.envs > 1:
            raise UsageError(f"updates per episode need envs = 1, not {self.envs}: episodes end at different times")

    def refuse_for(self, learns_from: str) -> None:
        """Raise UsageError if algorithms that learn from this cannot be trained by this plan."""
        if learns_from == "dataset":
            raise UsageError("this algorithm learns from a dataset, not from an environment")
        if learns_from == "replay":
            self._refuse_small_capacity()
        if learns_from == "rollout":
            per_rollout = self.rollout_length * self.envs
            if self.env_steps % per_rollout:
                fixed = -(-self.env_steps // per_rollout) * per_rollout
                raise UsageError(
                    f"env_steps = {self.env_steps} is not a multiple of rollout_length × envs = {per_rollout}, which an"
                    f" on-policy algorithm learns from at once: use {fixed}"
                )
            if self.warmup or self.updates_per != "rollout" or self.updates != 1:
                raise UsageError('an on-policy algorithm needs warmup = 0, updates = 1 and updates_per = "rollout"')
            for name in ("batch", "capacity", "warmup_actions"):
                if getattr(self, name) != getattr(Plan, name):
                    raise UsageError(
                        f"{name} = {getattr(self, name)} is for algorithms that learn from a replay buffer, not from"
                        " rollouts: leave it out"
                    )

    def _refuse_small_capacity(self) -> None:
        if self.batch > self.capacity:
            raise UsageError(f"batch = {self.batch} is larger than capacity = {self.capacity}: raise the capacity")
        if self.rollout_length * self.envs > self.capacity:
            raise UsageError(
                f"a rollout of {self.rollout_length} × {self.envs} transitions does not fit capacity = {self.capacity}"
            )

    def finished(self, env_steps: np.ndarray, episodes: np.ndarray) -> np.ndarray:
        """Return which lanes `[lane]` have taken all their steps, or finished all their episodes."""
        return (env_steps >= self.env_steps) | (episodes >= (self.episodes or np.inf))

    def progress(self, env_steps: np.ndarray, episodes: np.ndarray) -> np.ndarray:
        """Return the share of the run that each lane `[lane]` has behind it: of its steps or its episodes."""
        return np.maximum(env_steps / self.env_steps, episodes / (self.episodes or np.inf))

    def episodes_left(self, episodes: np.ndarray, warming: bool) -> np.ndarray:
        """Return how many episodes end each lane's (`[lane]`) next rollout, if it is not full before."""
        if self.updates_per == "episode" and not warming:
            return np.ones(len(episodes), np.int32)
        return np.minimum((self.episodes or NO_LIMIT) - episodes, NO_LIMIT).astype(np.int32)

    def evaluations_due(self, env_steps: np.ndarray, episodes: np.ndarray) -> np.ndarray:
        """Return how many evaluations each lane `[lane]` should have had by now, that before any step included."""
        if not self.evaluations:
            return np.zeros(np.shape(env_steps), np.int64)
        marks = _marks(self.evaluations, self.warmup / self.env_steps)
        return 1 + np.searchsorted(marks, self.progress(env_steps, episodes), side="right")

    def evaluation_limit(self, time_limit: int | None) -> int:
        """Return the steps after which evaluation episodes are cut in an environment with this time limit."""
        if self.evaluation_steps or time_limit is not None:
            return self.evaluation_steps or time_limit or 0
        evaluations = self.evaluations + (self.evaluations > 0)  # and one before any step
        episodes = evaluations * self.evaluation_episodes + 2 * self.score_episodes  # of a best and a final policy
        return max(self.env_steps // episodes, LEAST_LIMIT)

    def fewest_updates(self, time_limit: int | None) -> int | None:
        """Return the updates that a seed makes if all its episodes are as long as they can be; None: not limited so."""
        if self.updates_per != "episode" or time_limit is None:
            return None
        episodes = max(self.env_steps - self.warmup, 0) // time_limit
        return int(self.updates) * min(episodes, self.episodes or episodes)

    def room(self, env_steps: int | None = None) -> int:
        """Return how many transitions the replay buffer has room for, in a run of so many steps or this one."""
        return min(self.capacity, env_steps or self.env_steps)

    @property
    def log_interval(self) -> int:
        """Environment steps between two rows of the log."""
        return max(self.env_steps // 200, 1)

    @property
    def most_updates(self) -> int:
        """Most updates that one iteration can owe: the length of the compiled scan."""
        if self.updates_per != "step":
            return int(self.updates)
        return math.ceil(self.rollout_length * self.envs * self._rate)

    def updates_due(self, env_steps: int, done: int) -> int:
        """Return the updates due after `env_steps` steps of which `done` updates have been made."""
        learning = env_steps - self.warmup
        if learning <= 0:
            return 0
        return int(learning * self._rate) - done if self.updates_per == "step" else int(self.updates)

    @property
    def _rate(self) -> Fraction:
        # as written, not as binary: 100 steps of 0.7 updates are 70
        return Fraction(str(self.updates))


@lru_cache(maxsize=16)
def _marks(evaluations: int, warmup: float) -> np.ndarray:
    """Return the shares of the run after which to evaluate `[evaluation]`; `warmup` is the share without learning.

    The first is 3 % of the rest where there are ten, so that the rise of a fast run shows; the last is the whole.
    """
    marks = warmup + (1 - warmup) * (np.arange(1, evaluations + 1) / evaluations) ** 1.5
    marks[-1] = 1.0
    return marks
