"""Tiny environments with known solutions, to find out which part of a learning agent is broken.

Train on them in order. The first that fails identifies the broken part; each is learned in seconds.

    ConstantReward           the critic's regression
    ObservationReward        the critic sees the observation
    DiscountedReward         bootstrapping and γ
    TimeLimit                truncation is not termination
    ActionReward             the critic sees the action, the actor climbs it
    ObservationActionReward  the actor sees the observation

Observations are one number. Actions are one number in [-1, 1], or with `actions=n` one of n indices, which stand for n
numbers spaced evenly over [-1, 1]. The idea is from Andy Jones, "Debugging RL, Without the Agonizing Pain" (2021).
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Probe(gymnasium.Env[np.ndarray, Any]):
    """The base of all probes: one step with reward 0."""

    def __init__(self, actions: int | None = None):
        """Take numbers in [-1, 1], or one of `actions` indices."""
        self.observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32) if actions is None else spaces.Discrete(actions)
        self.steps = 0
        self.seen = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[np.ndarray, dict[str, object]]:
        """Start an episode."""
        super().reset(seed=seed)
        self.steps = 0
        self.seen = self.observe()
        return np.array([self.seen], np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        """Take a step; its reward may depend on the observation before it."""
        reward = self.reward(self._number(action))
        self.steps += 1
        terminated, truncated = self.ends()
        self.seen = self.observe()
        return np.array([self.seen], np.float32), reward, terminated, truncated, {}

    def observe(self) -> float:
        """Return the current observation."""
        return 0.0

    def reward(self, action: float) -> float:
        """Return the reward of an action in [-1, 1]."""
        return 0.0

    def ends(self) -> tuple[bool, bool]:
        """Return whether the episode terminated, and whether it was truncated."""
        return True, False

    def _number(self, action: np.ndarray) -> float:
        if isinstance(self.action_space, spaces.Discrete):
            return 2.0 * float(action) / max(int(self.action_space.n) - 1, 1) - 1.0
        return float(action[0])


class ConstantReward(Probe):
    """One step with reward 1: the value is 1."""

    def reward(self, action: float) -> float:
        """Return 1."""
        return 1.0


class ObservationReward(Probe):
    """One step whose reward is the observation: -1 or 1, drawn anew in each episode."""

    def observe(self) -> float:
        """Draw -1 or 1."""
        return float(self.np_random.choice((-1.0, 1.0)))

    def reward(self, action: float) -> float:
        """Return the observation."""
        return self.seen


class DiscountedReward(Probe):
    """Two steps, with observations -1 and 1; only the second has a reward, 1. The values are γ and 1."""

    def observe(self) -> float:
        """Return -1 at first, then 1."""
        return -1.0 if self.steps == 0 else 1.0

    def reward(self, action: float) -> float:
        """Return 1 for the second step, else 0."""
        return float(self.steps == 1)

    def ends(self) -> tuple[bool, bool]:
        """Terminate after two steps."""
        return self.steps == 2, False


class TimeLimit(Probe):
    """A task that never terminates: one state, a constant reward, truncated after `limit` steps.

    The value is reward/(1 - γ). An agent that confuses truncation with termination arrives at about
    reward/(1 - γ·(1 - 1/limit)), which is far less.
    """

    def __init__(self, actions: int | None = None, reward: float = 1.0, limit: int = 5):
        """Reward each step with `reward`; truncate the episode after `limit` steps."""
        super().__init__(actions)
        self.each, self.limit = reward, limit

    def reward(self, action: float) -> float:
        """Return the constant reward."""
        return self.each

    def ends(self) -> tuple[bool, bool]:
        """Truncate at the limit; never terminate."""
        return False, self.steps == self.limit


class ActionReward(Probe):
    """One step with reward 1 - (a - 1/2)²: the best action is 1/2, its reward 1."""

    def reward(self, action: float) -> float:
        """Return the reward, which is largest for the action 1/2."""
        return 1.0 - (action - 0.5) ** 2


class ObservationActionReward(ObservationReward):
    """One step with reward 1 - (a - s/2)², where s = -1 or 1 is observed: the best action is s/2, its reward 1."""

    def reward(self, action: float) -> float:
        """Return the reward, which is largest for half the observation."""
        return 1.0 - (action - 0.5 * self.seen) ** 2
