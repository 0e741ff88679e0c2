"""Prints what each stage of a training with a large replay buffer takes at its peak, in sizes of that buffer.

`python -m tests.runs.memory FOLDER` makes a checkpoint there; `python -m tests.runs.memory FOLDER load` reads it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import Env, spaces

from polyak import tree
from polyak.algorithms import ddpg
from polyak.envs.gymnasium import VectorEnv
from polyak.runs import checkpoint
from polyak.training.host import Training
from polyak.training.plan import Plan

OBS, CAPACITY, SEEDS = 200, 120_000, [3, 4]
BYTES = len(SEEDS) * CAPACITY * 4 * (2 * OBS + 1 + 3)


class Wide(Env[Any, Any]):
    """Many zeros to look at."""

    observation_space = spaces.Box(-1, 1, (OBS,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(OBS, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(OBS, np.float32), 0.0, False, False, {}


def peak(stage: Callable[[], Any]) -> float:
    """Return how far the process's memory rises above what it is now while a stage runs."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = status("VmRSS")
    stage()
    return round((status("VmHWM") - before) / BYTES, 3)


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


class Trial:
    """One training, begun small so that its programs are compiled before anything is measured."""

    def __init__(self, capacity: int):
        plan = Plan(env_steps=10 * CAPACITY, capacity=capacity, warmup=64, rollout_length=32, batch=16)
        config = ddpg.Config(actor_layers=(8,), critic_joint_layers=(8,))
        self.training = Training(ddpg, config, plan, VectorEnv(Wide, SEEDS, 1), SEEDS)

    def learn(self) -> None:
        for _ in range(6):
            self.training.advance()
        jax.block_until_ready(self.training.learner)

    def fill(self) -> None:
        """Pretend that the replay is full; all of it is zeros anyway."""
        learner = self.training.learner
        added = jnp.full_like(learner.buffer.added, CAPACITY)
        self.training.learner = tree.replace(learner, buffer=tree.replace(learner.buffer, added=added))

    def save(self, folder: Path) -> None:
        nothing = np.zeros(len(SEEDS))
        evaluations = nothing, nothing.astype(np.int64)
        checkpoint.save(folder, self.training, checkpoint.Progress({}, *evaluations, {}, "asked", {}))

    def load(self, folder: Path) -> None:
        checkpoint.load(folder, self.training, {}, "asked")
        jax.block_until_ready(self.training.learner)


def main(folder: Path, loads: bool) -> None:
    Trial(1_000).learn()
    trials: list[Trial] = []
    peaks = {"make": peak(lambda: trials.append(Trial(CAPACITY)))}
    (trial,) = trials
    if loads:
        peaks["load"] = peak(lambda: trial.load(folder))
    else:
        peaks["learn"] = peak(trial.learn)
        trial.fill()
        peaks["save"] = peak(lambda: trial.save(folder))
    peaks["learn on"] = peak(trial.learn)
    print(json.dumps(peaks))


if __name__ == "__main__":
    main(Path(sys.argv[1]), len(sys.argv) > 2)
