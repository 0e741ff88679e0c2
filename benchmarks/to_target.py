"""One process that learns a task until its newest 20 training episodes, exploration included, are good enough.

`python benchmarks/to_target.py polyak` prints one JSON object at that moment and ends: for Pendulum-v1 when they
average -200, with `--goal cartpole` for CartPole-v1 at 475, compiled with its environments. cold_start.py runs it in
fresh processes and times them from outside.
"""

import argparse
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import peers
from tasks import Task


@dataclass(frozen=True)
class Goal:
    """What polyak learns with a default preset, and when it is good enough."""

    algorithm: str
    env: str
    compiled: bool  # by the device loop, not the host loop
    target: float


GOALS = {"pendulum": Goal("ddpg", "Pendulum-v1", False, -200.0), "cartpole": Goal("ppo", "CartPole-v1", True, 475.0)}
EPISODES = 20
PEERS_MOST = 40_000  # environment steps after which a peer gives up


class Target:
    """Watches the returns of training episodes."""

    def __init__(self, target: float):
        self.target = target
        self.newest: deque[float] = deque(maxlen=EPISODES)
        self.episodes, self.env_steps = 0, 0

    def reached(self, env_steps: int, returns: Sequence[float]) -> bool:
        """Take in the episodes that just ended; say whether the newest ones are good enough."""
        self.env_steps = env_steps
        self.episodes += len(returns)
        self.newest.extend(float(total) for total in returns)
        return self.good

    @property
    def mean(self) -> float | None:
        """Return the mean of the newest episodes."""
        return sum(self.newest) / len(self.newest) if self.newest else None

    @property
    def good(self) -> bool:
        """Return whether there are enough episodes, and good ones."""
        return len(self.newest) == EPISODES and self.mean >= self.target


def polyak(goal: Goal, seed: int, target: Target) -> None:
    """Train with the default preset, as `polyak train` does but without a run on disk."""
    from polyak.training import devices

    devices.prepare()
    from polyak import algorithms
    from polyak.envs.functional import find
    from polyak.envs.gymnasium import VectorEnv
    from polyak.runs import presets
    from polyak.training.device import DeviceLoop
    from polyak.training.host import HostLoop
    from polyak.training.job import Job

    _, algorithm = algorithms.find(goal.algorithm)
    config, plan = presets.settings(algorithm, presets.find(goal.algorithm, "default", goal.env))
    parts = algorithm, config, plan
    if goal.compiled:
        loop = DeviceLoop(Job(*parts, find(goal.env), [seed]))
    else:
        loop = HostLoop(Job(*parts, VectorEnv(goal.env, [seed], plan.envs), [seed]))
    while not loop.counts.done:
        report = loop.advance()
        if target.reached(int(loop.counts.env_steps[0]), [episode.total for episode in report.episodes]):
            return


def baseline(system: str, seed: int, target: Target) -> None:
    """Train a peer with settings tuned for this task, after those of RL Baselines3 Zoo."""
    tuned = Task("", "ddpg", GOALS["pendulum"].env, (256, 256), 256, gamma=0.98, capacity=200_000, warmup=1_000)
    model = peers.make(system, tuned, seed)
    peers.learn_until(model, lambda env_steps, _, returns: target.reached(env_steps, returns), PEERS_MOST)


def main() -> None:
    """Learn and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=("polyak", "sbx", "sb3"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--goal", choices=tuple(GOALS), default="pendulum", help="of polyak; peers learn the pendulum")
    parser.add_argument("--target", type=float, help="return that is good enough, if not the goal's own")
    parser.add_argument("--threads", type=int, default=0, help="threads for arithmetic; 0: the library's own choice")
    options = parser.parse_args()
    goal = GOALS[options.goal]
    target = Target(goal.target if options.target is None else options.target)
    peers.limit_threads(options.system, options.threads)
    if options.system == "polyak":
        polyak(goal, options.seed, target)
    else:
        baseline(options.system, options.seed, target)
    counts = {"env_steps": target.env_steps, "episodes": target.episodes, "mean": target.mean}
    print(json.dumps({"reached": target.good, **counts}), flush=True)


if __name__ == "__main__":
    main()
