"""Train on an environment of your own: any callable that returns a Gymnasium environment will do.

    python examples/own_environment.py --steps 5000

From the command line the same environment is named by module and class, in the folder that holds the module:

    cd examples && polyak train ddpg own_environment:PointMass --steps 5000 --plan.warmup 500
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

import polyak

LIMIT = 60  # steps of an episode
DT = 0.1  # seconds of a step


class PointMass(gymnasium.Env[np.ndarray, np.ndarray]):
    """Push a point mass along a line to the origin and keep it there."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-20.0, 20.0, (2,), np.float32)  # position, velocity: never so far out
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)  # force

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start at rest, somewhere in [-1, 1]."""
        super().reset(seed=seed)
        self.position, self.velocity, self.steps = float(self.np_random.uniform(-1.0, 1.0)), 0.0, 0
        return self._obs(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Move on by `DT`; the task has no end, so reaching the limit truncates and never terminates."""
        force = float(action[0])
        self.velocity += DT * (force - 0.1 * self.velocity)
        self.position += DT * self.velocity
        self.steps += 1
        reward = -(self.position**2) - 0.01 * force**2
        return self._obs(), reward, False, self.steps >= LIMIT, {}

    def _obs(self) -> np.ndarray:
        return np.array([self.position, self.velocity], np.float32)


def main() -> None:
    """Train for `--steps` environment steps; everything is written to a temporary folder."""
    parser = argparse.ArgumentParser(description="Train on an environment of your own.")
    parser.add_argument("--steps", type=int, default=3_000, help="environment steps")
    steps = parser.parse_args().steps

    with tempfile.TemporaryDirectory() as folder:
        run = polyak.train(
            "ddpg",
            PointMass,
            steps=steps,
            config={"gamma": 0.97, "actor_layers": (64, 64), "critic_joint_layers": (64, 64)},
            plan={"warmup": min(500, steps // 2), "batch": 64, "evaluations": 4},
            out=Path(folder) / "run",
        )
        idle = -np.mean([PointMass().reset(seed=seed)[0][0] ** 2 for seed in range(100)]) * LIMIT
        trained = run.evaluate(episodes=20, which="final")["return_mean"]
        print(f"doing nothing returns about {idle:.1f}; after {steps:,} steps the policy returns {trained:.1f}")


if __name__ == "__main__":
    main()
