"""Train an algorithm of your own: a module that satisfies `polyak.types.Algorithm`.

This one is DDPG with the rewards clipped while learning, as DQN clips them (Mnih et al. 2015, "Human-level control
through deep reinforcement learning"). All but two of its parts are DDPG's own.

    python examples/own_algorithm.py --steps 5000

From the command line an algorithm is named by its module's dotted path, in the folder that holds the module:

    cd examples && polyak train own_algorithm Pendulum-v1 --steps 5000 --config.reward-limit 5
"""

import argparse
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp

import polyak
from polyak.algorithms import ddpg
from polyak.algorithms.ddpg import State, act, acts_on, init, init_memory, learns_from, sampling
from polyak.fields import number
from polyak.tree import pytree, replace
from polyak.types import Clock, Metrics, Transition

__all__ = ["Config", "act", "acts_on", "init", "init_memory", "learns_from", "sampling", "update"]


@pytree
class Config(ddpg.Config):
    """DDPG's hyperparameters and one more."""

    reward_limit: float = number(default=1.0, above=0)
    """Rewards are clipped to ± this before learning."""


def update(config: Config, state: State, batch: Transition, key: jax.Array, clock: Clock) -> tuple[State, Metrics]:
    """Update as DDPG does, from clipped rewards; log how many were clipped."""
    limited = jnp.clip(batch.reward, -config.reward_limit, config.reward_limit)
    state, metrics = ddpg.update(config, state, replace(batch, reward=limited), key, clock)
    return state, {**metrics, "clipped": (limited != batch.reward).mean()}


def main() -> None:
    """Train for `--steps` environment steps; everything is written to a temporary folder."""
    parser = argparse.ArgumentParser(description="Train an algorithm of your own.")
    parser.add_argument("--steps", type=int, default=2_000, help="environment steps")
    steps = parser.parse_args().steps

    with tempfile.TemporaryDirectory() as folder:
        run = polyak.train(
            "own_algorithm",  # a module is found by its path, and can be loaded and resumed by it later
            "Pendulum-v1",
            steps=steps,
            config={"reward_limit": 5.0, "actor_layers": (64, 64), "critic_joint_layers": (64, 64)},
            plan={"warmup": min(1_000, steps // 2), "batch": 64, "evaluations": 2},
            out=Path(folder) / "run",
        )
        last = (run.folder / "metrics.csv").read_text().splitlines()
        print(last[0])
        print(last[-1])
        print(f"final return: {run.scores['final']['return_mean']:.1f}")


if __name__ == "__main__":
    main()
