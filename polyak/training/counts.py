"""How far each lane has come in its plan: what log, evaluations and progress line go by."""

from dataclasses import dataclass

import numpy as np

from polyak.training.plan import Plan


@dataclass(frozen=True)
class Counts:
    """What each lane has done of its plan between two iterations; every array is `[lane]`."""

    plan: Plan
    env_steps: np.ndarray
    episodes: np.ndarray  # of training that have ended
    updates: np.ndarray
    ready: np.ndarray  # whether the lane may be logged and evaluated now

    @property
    def progress(self) -> np.ndarray:
        """Share of the plan that each lane has done."""
        return self.plan.progress(self.env_steps, self.episodes)

    @property
    def finished(self) -> np.ndarray:
        """Which lanes have taken all their steps, or ended all their episodes; the last may not be learned from yet."""
        return self.plan.finished(self.env_steps, self.episodes)

    @property
    def done(self) -> bool:
        """Whether every lane has finished, and learned from everything."""
        return bool((self.finished & self.ready).all())
