"""Environments with one fault each, or none, for the tests of what finds it."""

import random
import subprocess
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Good(gymnasium.Env[Any, Any]):
    """A seeded point in [-1, 1], rewarded for actions near it; five steps, the fifth truncates."""

    observation_space: Any = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space: Any = spaces.Box(-1.0, 1.0, (1,), np.float32)
    length = 5

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        return self.observe(), self.reward(action), *self.ends(), {}

    def observe(self) -> Any:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def reward(self, action: Any) -> Any:
        return -float(np.square(action).sum())

    def ends(self) -> tuple[Any, Any]:
        return False, self.time >= self.length


def with_(**methods: Any) -> Callable[[], Good]:
    """Return what makes good environments that differ in a few attributes or methods."""
    return type("Odd", (Good,), methods)


class Still(Good):
    """Returns one array, which it changes in place."""

    def observe(self) -> Any:
        if not hasattr(self, "seen"):
            self.seen = np.zeros(2, np.float32)
        self.seen[:] = super().observe()
        return self.seen


class Alone(Good):
    """Only one can be open."""

    open_now: ClassVar[list[int]] = []

    def __init__(self) -> None:
        if self.open_now:
            raise OSError("address already in use")
        self.open_now.append(1)

    def close(self) -> None:
        self.open_now.clear()


class Unseeded(Good):
    """Never heard of seeds."""

    generator = np.random.default_rng(3)

    def observe(self) -> Any:
        return self.generator.uniform(-1, 1, 2).astype(np.float32)


class Wandering(Good):
    """Its first observation obeys the seed, what follows does not."""

    def observe(self) -> Any:
        return super().observe() if self.time == 0 else Unseeded.observe(self)  # type: ignore[arg-type]

    generator = Unseeded.generator


class RewardedByChance(Good):
    """Its rewards obey no seed."""

    def reward(self, action: Any) -> float:
        return float(Unseeded.generator.uniform())


class Reseeding(Good):
    """Seeds the generators that all code shares, each time with the same number."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        np.random.seed(1)
        random.seed(1)
        return super().reset(seed=seed)


class Slow(Good):
    """A step takes 10 ms."""

    def step(self, action: Any) -> Any:
        time.sleep(0.01)
        return super().step(action)


class Threaded(Good):
    """Starts a thread that nothing ends but the test."""

    over = threading.Event()

    def __init__(self) -> None:
        threading.Thread(target=self.over.wait, name="my simulator", daemon=True).start()


class Spawning(Good):
    """Starts a program that nothing ends but the test."""

    children: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        self.children.append(subprocess.Popen(["sleep", "60"]))


class Unclosable(Good):
    """Fails when it is closed."""

    def close(self) -> None:
        raise RuntimeError("already disconnected")


class Talking(Good):
    """Prints at each reset."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        print("episode begins")
        return super().reset(seed=seed)


class OldReset(Good):
    """Takes no seed."""

    def reset(self) -> Any:  # type: ignore[override]
        return self.observe(), {}


def exits(env: Any, action: Any) -> Any:
    raise SystemExit(0)


def _box(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)


def _scaled(factor: float) -> Any:
    return lambda env: (Good.observe(env) * np.array([1, factor], np.float32)).astype(np.float32)


WARNINGS: dict[str, tuple[Any, str]] = {
    "outside": (with_(observe=lambda env: Good.observe(env) + np.float32(2)), "leave their space"),
    "type": (with_(observe=lambda env: Good.observe(env).astype(float)), "a float64 array of shape (2,) in place of"),
    "list": (with_(observe=lambda env: Good.observe(env).tolist()), "a list in place of float32 numbers"),
    "index": (
        with_(observation_space=spaces.Discrete(9), observe=lambda env: np.array([env.time])),
        "an int64 array of shape (1,) where Discrete(9)",
    ),
    "in place": (Still, "is changed in place by a later step"),
    "reward": (with_(reward=lambda env, action: Decimal(env.time)), "the reward is a Decimal, Decimal('1'), not"),
    "ends": (with_(ends=lambda env: (0, env.time >= 5)), "terminated is an int, 0, not True or False"),
    "alone": (Alone, "only one copy can be open at a time"),
    "unseeded": (Unseeded, "two resets with the same seed gave different observations"),
    "wandering": (Wandering, "gave another observation at step 1"),
    "chance": (RewardedByChance, "gave another reward at step 1"),
    "reseeding": (Reseeding, "seeds or draws from the global generator of numpy.random and random"),
    "slow": (Slow, "a step takes 1"),
    "thread": (Threaded, "after close() it leaves behind thread 'my simulator'"),
    "process": (Spawning, "(sleep)"),
    "close": (Unclosable, "close() failed, so what it holds may stay open: RuntimeError: already disconnected"),
    "prints": (Talking, "it prints to standard output ('episode begins')"),
    "scales": (with_(observation_space=_box(2), observe=_scaled(5000)), "differ widely in scale"),
    "large": (
        with_(observation_space=_box(2), observe=lambda env: Good.observe(env) + np.float32(9000)),
        "of the observation is as large as 9,",
    ),
    "constant": (with_(observe=lambda env: np.zeros(2, np.float32)), "observations were the same"),
    "no reward": (with_(reward=lambda env, action: 0.0), "was rewarded with 0,"),
    "large rewards": (with_(reward=lambda env, action: -5000.0 * env.time), "rewards are as large as 2.5e+04"),
    "at once": (with_(length=1), "every episode ended at its first step"),
}

ONE = Good()
ERRORS: dict[str, tuple[Any, str, str]] = {
    "unknown": ("Pendulun-v1", "refused", "did you mean 'Pendulum-v1'?"),
    "actions": (with_(action_space=_box(1)), "refused", "is unbounded: give bounds"),
    "observations": (with_(observation_space=spaces.Text(5)), "refused", "are a Text space"),
    "same": (lambda: ONE, "refused", "returned the same environment twice"),
    "statistics": (lambda: gymnasium.wrappers.NormalizeObservation(Good()), "refused", "uses NormalizeObservation"),
    "nan": (with_(observe=lambda env: np.full(2, np.nan, np.float32)), "fails", "an observation that is not finite"),
    "infinite": (with_(reward=lambda env, action: np.inf), "fails", "a reward that is not finite at step 1"),
    "too large": (with_(reward=lambda env, action: 1e39), "fails", "a reward that is not finite at step 1"),
    "no number": (with_(reward=lambda env, action: None), "fails", "the reward is None, not one number"),
    "outside": (
        with_(observation_space=spaces.Discrete(3), observe=lambda env: env.time - 1),
        "fails",
        "observation -1 is not in Discrete(3)",
    ),
    "four values": (
        with_(step=lambda env, action: (env.observe(), 0.0, False, {})),
        "fails",
        "step() returned 4 values",
    ),
    "old reset": (OldReset, "fails", "reset() takes no seed"),
    "exits": (with_(step=exits), "fails", "it called sys.exit(0)"),
}
