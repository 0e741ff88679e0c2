"""Stepping environments of a given cost: in this process, in worker processes, by Gymnasium's AsyncVectorEnv.

`python benchmarks/workers.py` steps four environments that compute for so many microseconds a step, and prints the
environment steps per second of each way, nothing but stepping; the ways take turns.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import measuring
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

ENVS = 4
COSTS = (0, 30, 100, 300, 1_000, 3_000)  # microseconds


class Busy(gymnasium.Env[np.ndarray, np.ndarray]):
    """An environment that computes for some microseconds and never ends."""

    observation_space = spaces.Box(-1.0, 1.0, (17,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (6,), np.float32)

    def __init__(self, microseconds: int):
        self.seconds, self.seen = 1e-6 * microseconds, np.zeros(17, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin."""
        return self.seen, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Compute."""
        until = time.perf_counter() + self.seconds
        while time.perf_counter() < until:
            pass
        return self.seen, 0.0, False, False, {}


def polyak(workers: int, cost: int) -> tuple[Callable[[], Any], Callable[[], None]]:
    """Return a function that steps all environments, and one that ends them."""
    from polyak.envs.gymnasium import VectorEnv
    from polyak.envs.workers import Workers

    env, actions = partial(Busy, cost), np.zeros((1, ENVS, 6), np.float32)
    envs = Workers(env, (0,), ENVS, workers) if workers else VectorEnv(env, (0,), ENVS)
    return lambda: envs.step(actions, (0,)), envs.close


def gymnasium_async(cost: int) -> tuple[Callable[[], Any], Callable[[], None]]:
    """Return the same of an AsyncVectorEnv, which has a process for each environment."""
    made = AsyncVectorEnv([partial(Busy, cost)] * ENVS, context="spawn", autoreset_mode=AutoresetMode.DISABLED)
    made.reset(seed=0)
    actions = np.zeros((ENVS, 6), np.float32)
    return lambda: made.step(actions), made.close


WAYS: dict[str, Callable[[int], Any]] = {
    "this process": partial(polyak, 0),
    "2 workers": partial(polyak, 2),
    "4 workers": partial(polyak, 4),
    "AsyncVectorEnv": gymnasium_async,
}


def rate(way: str, cost: int, seconds: float) -> float:
    """Return environment steps per second."""
    step, close = WAYS[way](cost)
    with ExitStack() as stack:
        stack.callback(close)
        for _ in range(20):
            step()
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            step()
            count += ENVS
        return count / (time.perf_counter() - began)


def main() -> None:
    """Measure in rounds, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=measuring.at_least_one, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of a second each: does it run at all?")
    parser.add_argument("--out", type=Path, help="the JSON file, by default results/workers.json")
    asked = parser.parse_args()
    facts = {**measuring.provenance(), "rounds": asked.rounds, "quick": asked.quick}
    rates: dict[str, dict[int, list[float]]] = {way: {cost: [] for cost in COSTS} for way in WAYS}
    for _ in range(1 if asked.quick else asked.rounds):
        for cost in COSTS:
            for way in WAYS:
                rates[way][cost].append(rate(way, cost, 0.1 if asked.quick else 1.5))
    rows = []
    for cost in COSTS:
        medians = [measuring.spread(rates[way][cost])["median"] for way in WAYS]
        rows.append((f"{cost:,} µs a step", *(f"{median:,.0f}" for median in medians)))
    print(measuring.table(("environment steps per second", *WAYS), rows))
    place = measuring.place_of("workers", asked.out, asked.quick)
    measuring.write_json(place, {**facts, "env_steps_per_second": rates})
    measuring.say(f"written: {place}")


if __name__ == "__main__":
    main()
