"""The kinds of plans, by what an algorithm learns from."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from polyak.errors import UsageError, option
from polyak.fields import number
from polyak.training.plan import Plan, rounded_up


@dataclass(frozen=True)
class ReplayPlan(Plan):
    """The loop's settings for algorithms that learn from a replay buffer. All counts are for each seed."""

    episodes: int | None = number(default=None, least=1)
    """Training episodes after which a seed stops, if that is before its last step; for updates per episode."""
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

    def __post_init__(self) -> None:
        """Refuse combinations that contradict each other, with the fix."""
        super().__post_init__()
        if self.warmup % self.envs:
            fixed = rounded_up(self.warmup, self.envs)
            raise UsageError(f"warmup = {self.warmup} is not a multiple of envs = {self.envs}: use {fixed}")
        if self.warmup >= self.env_steps:
            raise UsageError(
                f"warmup = {self.warmup} leaves none of env_steps = {self.env_steps} to learn from: lower"
                f" it ({option('plan.warmup')}), or take more steps"
            )
        if self.updates_per != "step" and self.updates != int(self.updates):
            raise UsageError(f"updates = {self.updates} per {self.updates_per} must be a whole number")
        if self.episodes is not None and self.updates_per != "episode":
            raise UsageError(f'episodes = {self.episodes} needs updates_per = "episode": limit env_steps instead')
        if self.updates_per == "episode" and self.envs > 1:
            raise UsageError(f"updates per episode need envs = 1, not {self.envs}: episodes end at different times")
        if self.batch > self.capacity:
            raise UsageError(f"batch = {self.batch} is larger than capacity = {self.capacity}: raise the capacity")
        if self.rollout_length * self.envs > self.capacity:
            raise UsageError(
                f"a rollout of {self.rollout_length} × {self.envs} transitions does not fit capacity = {self.capacity}"
            )

    @property
    def learning_starts(self) -> int:
        """Environment steps before the first update."""
        return self.warmup

    @property
    def starts_uniformly(self) -> bool:
        """Whether actions are uniformly random until learning starts."""
        return self.warmup_actions == "uniform"

    @property
    def by_episode(self) -> bool:
        """Whether rollouts end where episodes do, each followed by updates."""
        return self.updates_per == "episode"

    @property
    def overlaps(self) -> bool:
        """Whether the next rollout is collected while the last one is learned from."""
        return self.overlap

    @property
    def max_episodes(self) -> int | None:
        """Training episodes after which a seed stops, if that is before its last step."""
        return self.episodes

    @property
    def most_updates(self) -> int:
        """Largest number of updates in one iteration: the length of the compiled scan."""
        if self.updates_per != "step":
            return int(self.updates)
        return math.ceil(self.rollout_length * self.envs * self._rate)

    def updates_due(self, env_steps: int, done: int) -> int:
        """Return the updates due after `env_steps` steps of which `done` updates have been made."""
        learning = env_steps - self.warmup
        if learning <= 0:
            return 0
        return int(learning * self._rate) - done if self.updates_per == "step" else int(self.updates)

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
    def _rate(self) -> Fraction:
        # as written, not as binary: 100 steps of 0.7 updates are 70
        return Fraction(str(self.updates))


@dataclass(frozen=True)
class RolloutPlan(Plan):
    """The loop's settings for algorithms that learn from each rollout as a whole. All counts are for each seed."""

    rollout_length: int = number(default=100, least=1)
    """Steps that each environment takes before the policy learns from all of them, once."""

    def __post_init__(self) -> None:
        """Refuse combinations that contradict each other, with the fix."""
        super().__post_init__()
        if self.env_steps % self.unit:
            raise UsageError(
                f"env_steps = {self.env_steps} is not a multiple of rollout_length × envs = {self.unit}, which an"
                f" on-policy algorithm learns from at once: use {rounded_up(self.env_steps, self.unit)}"
            )

    @property
    def unit(self) -> int:
        """Environment steps that a run is a multiple of: those of a rollout."""
        return self.rollout_length * self.envs


def plan_for(learns_from: str) -> type[Plan]:
    """Return the kind of plan that fits what an algorithm learns from. Raises UsageError where there is none."""
    if learns_from not in PLANS:
        raise UsageError(f"this algorithm learns from a {learns_from}, not from an environment")
    return PLANS[learns_from]


PLANS: dict[str, type[Plan]] = {"replay": ReplayPlan, "rollout": RolloutPlan}
