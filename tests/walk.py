"""A little world for the loops: seeded, deterministic, with episodes that end in both ways and differ in length."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

EDGE = 1.0


class Walk(gymnasium.Env[np.ndarray, Any]):
    """A point pushed by its action and by seeded gusts; it falls off beyond the edge, or is stopped at `limit`."""

    def __init__(self, limit: int = 9, actions: int | None = None):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32) if actions is None else spaces.Discrete(actions)
        self.limit = limit
        self.taken = 0  # steps in all
        self.seeds: list[int | None] = []
        self.ends: list[tuple[np.ndarray, bool, bool]] = []  # last observation of each episode, and how it ended

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.time = 0
        self.place, self.speed = self.np_random.uniform(-0.5, 0.5), 0.0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        push = float(action[0]) if isinstance(self.action_space, spaces.Box) else float(action) - 1.0
        self.taken, self.time = self.taken + 1, self.time + 1
        self.speed = 0.8 * self.speed + 0.2 * push + 0.1 * self.np_random.normal()
        self.place += self.speed
        obs, fallen = self._observe(), abs(self.place) > EDGE
        stopped = not fallen and self.time >= self.limit
        if fallen or stopped:
            self.ends.append((obs, fallen, stopped))
        return obs, 1.0 - self.place**2, fallen, stopped, {}

    def _observe(self) -> np.ndarray:
        return np.array([self.place, self.speed], np.float32)


class Breaking(Walk):
    """A walk that goes wrong at its n-th step: `how` makes the wrong answer, or raises."""

    def __init__(self, at: int, how: Callable[[np.ndarray, float], tuple[Any, Any]]):
        super().__init__()
        self.at, self.how = at, how

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        obs, reward, *ends, info = super().step(action)
        if self.taken == self.at:
            obs, reward = self.how(obs, reward)
        return obs, reward, *ends, info  # type: ignore[return-value]


class Kept:
    """Makes environments and keeps them, so that a test can ask them afterwards what happened."""

    def __init__(self, make: Callable[[], Any] = Walk):
        self.make, self.made = make, list[Any]()

    def __call__(self) -> Any:
        self.made.append(self.make())
        return self.made[-1]
