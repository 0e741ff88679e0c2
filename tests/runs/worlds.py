"""Little worlds by id, `tests.runs.worlds:Lopsided-v0` and more: a quick good one, and ones that go wrong."""

import ctypes
import subprocess
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

LOW, HIGH = np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32)
BREAKS_AT = 50  # step of one environment, counted over all its episodes


class Lopsided(gymnasium.Env[Any, Any]):
    """Drag a point about for at most 20 steps; the action's bounds differ by dimension. Drawn as a growing bar."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (Gymnasium's own)
    observation_space: Any = spaces.Box(-4.0, 4.0, (3,))
    action_space: Any = spaces.Box(LOW, HIGH)

    def __init__(self, render_mode: str | None = None, observation: Any = None, action: Any = None):
        self.render_mode, self.taken = render_mode, 0
        self.observation_space = self.observation_space if observation is None else observation
        self.action_space = self.action_space if action is None else action

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.time = self.np_random.uniform(-1, 1, 2), 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.taken, self.time = self.taken + 1, self.time + 1
        self.place = 0.9 * self.place + 0.1 * self.push(action) + 0.1 * self.np_random.normal(size=2)
        reward = 1.0 - float(np.square(self.place).sum())
        return self.observe(), reward, bool(abs(self.place[0]) > 1.5), self.time >= 20, {}

    def push(self, action: Any) -> Any:
        return action

    def observe(self) -> Any:
        return np.array([*self.place, self.time / 20], np.float32)

    def render(self) -> Any:
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[:, : 1 + 3 * self.time] = 255
        return frame


class Described(Lopsided):
    """The same, observed as a dictionary of a vector and a number of three."""

    observation_space = spaces.Dict({"place": spaces.Box(-4.0, 4.0, (2,)), "phase": spaces.Discrete(3)})

    def observe(self) -> Any:
        return {"place": self.place.astype(np.float32), "phase": np.int64(self.time % 3)}


class Chosen(Lopsided):
    """The same, pushed by the first two of several choices."""

    def push(self, action: Any) -> Any:
        return action.reshape(-1)[:2] - 0.5


class Raising(Lopsided):
    """Raises at one step."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.taken + 1 == BREAKS_AT:
            raise RuntimeError("the motor\nis on fire")
        return super().step(action)


class UnprintableError(Exception):
    """An error whose message cannot be made."""

    def __str__(self) -> str:
        raise LookupError("no words")


class Exiting(Lopsided):
    """Leaves at one step, as the code of a window that is closed does."""

    leave: Any = SystemExit(0)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.taken + 1 == BREAKS_AT:
            raise self.leave
        return super().step(action)


class Speechless(Exiting):
    """Raises an error that cannot be printed."""

    leave = UnprintableError()


class Interrupting(Exiting):
    """Raises KeyboardInterrupt itself."""

    leave = KeyboardInterrupt("from a C library")


class Blind(Lopsided):
    """Observes NaN at one step."""

    def observe(self) -> Any:
        return super().observe() * (np.nan if self.taken == BREAKS_AT else 1)


class Priceless(Lopsided):
    """Rewards with infinity at one step."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, reward, *rest = super().step(action)
        return obs, np.inf if self.taken == BREAKS_AT else reward, *rest


class Talking(Lopsided):
    """Prints at every step, and when it is closed by other means."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        print("I am alive")
        return super().step(action)

    def close(self) -> None:
        subprocess.run(["echo", "so is my program"], check=True)
        ctypes.CDLL(None).printf(b"and my code in C\n")  # into a buffer of its own


class Slow(Lopsided):
    """Takes five thousandths of a second for each step, so that there is time to interrupt it."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(0.005)
        return super().step(action)


def _box(low: Any, high: Any) -> spaces.Box:
    return spaces.Box(np.array(low, np.float32), np.array(high, np.float32))


IDS: dict[str, tuple[type, dict[str, Any]]] = {
    "Lopsided-v0": (Lopsided, {}),
    "Described-v0": (Described, {}),
    "Raising-v0": (Raising, {}),
    "Exiting-v0": (Exiting, {}),
    "Speechless-v0": (Speechless, {}),
    "Interrupting-v0": (Interrupting, {}),
    "Blind-v0": (Blind, {}),
    "Priceless-v0": (Priceless, {}),
    "Slow-v0": (Slow, {}),
    "Talking-v0": (Talking, {}),
    "Unbounded-v0": (Lopsided, {"action": _box([-1, -np.inf], [1, 1])}),
    "Empty-v0": (Lopsided, {"action": _box([1, 1], [1, 1])}),
    "Sizeless-v0": (Lopsided, {"action": _box([], [])}),
    "Choices-v0": (Chosen, {"action": spaces.MultiDiscrete([[2, 2], [2, 2]], np.int32, start=[[0, -1], [5, 0]])}),
    "Switches-v0": (Chosen, {"action": spaces.MultiBinary([2, 2])}),
    "Several-v0": (Lopsided, {"action": spaces.MultiDiscrete([2, 3])}),
    "Images-v0": (Lopsided, {"observation": spaces.Box(0, 255, (64, 64, 3), np.uint8)}),
    "Worded-v0": (Lopsided, {"observation": spaces.Text(5)}),
}
for _id, (_cls, _kwargs) in IDS.items():
    gymnasium.register(_id, entry_point=_cls, kwargs=_kwargs)
