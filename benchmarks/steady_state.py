"""One measurement in this process: how fast a system trains once everything is imported, built, compiled and warm.

`python benchmarks/steady_state.py polyak --task small --seconds 10` prints one JSON object. throughput.py runs it in
fresh processes; it is of use alone with a profiler.
"""

import argparse
import json
import time
from dataclasses import asdict
from typing import Any

import peers
from tasks import EPSILON, FOREVER, TARGET_PERIOD, TASKS, Task

LEAST = 2  # iterations in the time that is measured
ACTOR_CRITIC = ("actor_layers", "critic_joint_layers")
LAYERS = {  # the settings of polyak's algorithms that a task's layers go to
    "ddpg": ACTOR_CRITIC,
    "td3": ACTOR_CRITIC,
    "sac": ACTOR_CRITIC,
    "crossq": ("actor_layers", "critic_layers"),
    "dqn": ("layers",),
    "a2c": ("actor_layers", "value_layers"),
    "ppo": ("actor_layers", "value_layers"),
}


class Stopwatch:
    """Times from the first visit at or after `start` environment steps to the first one `seconds` later.

    Visits are where whole iterations end; there are at least `LEAST` of these between the two.
    """

    def __init__(self, start: int, seconds: float):
        self.start, self.seconds, self.visits = start, seconds, 0
        self.first: tuple[float, int, int] | None = None

    def enough(self, env_steps: int, updates: int) -> bool:
        """Take note of a moment when so many steps and updates are done; say whether to stop."""
        now = time.perf_counter()
        if self.first is None:
            if env_steps >= self.start:
                self.first = now, env_steps, updates
            return False
        self.last, self.visits = (now, env_steps, updates), self.visits + 1
        return self.visits >= LEAST and now - self.first[0] >= self.seconds

    def result(self) -> dict[str, float]:
        """Return what was done in the time between, and per second."""
        seconds, env_steps, updates = (b - a for a, b in zip(self.first, self.last, strict=True))
        rates = {"env_steps_per_second": env_steps / seconds, "updates_per_second": updates / seconds}
        return {"seconds": seconds, "env_steps": env_steps, "updates": updates, **rates}


def polyak(task: Task, seeds: int, watch: Stopwatch, compiled: bool) -> None:
    """Train polyak as one of its loops does; steps and updates are those of all seeds together."""
    from polyak.training import devices

    devices.prepare(seeds)
    from polyak.envs.functional import find
    from polyak.envs.gymnasium import VectorEnv
    from polyak.training.device import DeviceLoop
    from polyak.training.host import HostLoop
    from polyak.training.job import Job

    algorithm, config, plan = polyak_settings(task)
    lanes = list(range(seeds))
    if compiled:
        loop: Any = DeviceLoop(Job(algorithm, config, plan, find(task.env), lanes))
    else:
        loop = HostLoop(Job(algorithm, config, plan, VectorEnv(task.env, lanes, plan.envs), lanes))
    watch.start *= seeds
    each = task.epochs * task.minibatches * seeds
    while not watch.enough(int(loop.counts.env_steps.sum()), loop.shared_updates * each):
        loop.advance()


def polyak_settings(task: Task) -> tuple[Any, Any, Any]:
    """Return the algorithm, its Config and the ReplayPlan."""
    from polyak import algorithms
    from polyak.runs import presets
    from polyak.training.plans import ReplayPlan, RolloutPlan

    _, algorithm = algorithms.find(task.algorithm)
    if task.per_episode:
        return algorithm, *presets.settings(algorithm, presets.find(task.algorithm, "tutorial", task.env), FOREVER)
    if task.rollout:
        whole = FOREVER - FOREVER % (task.rollout * task.envs)  # what is learned from is always a whole rollout
        plan = RolloutPlan(whole, envs=task.envs, rollout_length=task.rollout)
    else:
        plan = ReplayPlan(FOREVER, envs=task.envs, batch=task.batch, capacity=task.capacity, warmup=task.warmup)
    return algorithm, algorithm.Config(**config_of(task)), plan


def config_of(task: Task) -> dict[str, Any]:
    """Return the settings of polyak's algorithm that are not its defaults."""
    config: dict[str, Any] = {"gamma": task.gamma, **dict.fromkeys(LAYERS[task.algorithm], task.layers)}
    if task.algorithm == "ppo":
        config |= {"epochs": task.epochs, "minibatch": task.batch}
    if task.algorithm == "dqn":  # as the peers have it
        config |= {"double": False, "tau": 1.0, "target_period": TARGET_PERIOD}
        config |= {"epsilon_start": EPSILON, "epsilon_end": EPSILON}
    return config


def plain(task: Task, watch: Stopwatch) -> None:
    """Train the plain PyTorch loop."""
    import plain_torch

    recipe = plain_torch.Recipe(task.layers, critic_joint_layers=task.layers, batch=task.batch, warmup=task.warmup)
    for progress in plain_torch.run(plain_torch.TUTORIAL if task.per_episode else recipe, task.env, seed=0):
        if watch.enough(progress.env_steps, progress.updates):
            return


def baselines(system: str, task: Task, watch: Stopwatch) -> None:
    """Train Stable-Baselines3 or SBX. PPO counts its epochs as updates."""
    model = peers.make(system, task, seed=0)
    peers.learn_until(model, lambda env_steps, updates, _: watch.enough(env_steps, updates * task.minibatches))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=tuple(peers.NAMES))
    parser.add_argument("--task", choices=tuple(TASKS), default="small")
    parser.add_argument("--seeds", type=int, default=1, help="agents side by side (of polyak)")
    parser.add_argument("--core", type=int, help="bind the process to this core, the first being 0")
    parser.add_argument("--threads", type=int, default=0, help="threads for arithmetic; 0: the library's own choice")
    parser.add_argument("--seconds", type=float, default=10.0, help="time to measure, after the warm-up")
    options = parser.parse_args()
    task = TASKS[options.task]
    ours = options.system in peers.OURS
    if options.seeds > 1 and not ours:
        parser.error(f"{options.system} trains one seed")
    if task.per_episode and options.system in ("sb3", "sbx"):
        parser.error("the tutorial recipe is for polyak and torch")
    if task.algorithm != "ddpg" and options.system == "torch":
        parser.error("the plain loop is DDPG")
    watch = Stopwatch(task.start, options.seconds)
    peers.limit_threads(options.system, options.threads, options.core)
    if ours:
        polyak(task, options.seeds, watch, compiled=options.system == "device")
    elif options.system == "torch":
        plain(task, watch)
    else:
        baselines(options.system, task, watch)
    print(json.dumps({**vars(options), "settings": asdict(task), **watch.result()}))


if __name__ == "__main__":
    main()
