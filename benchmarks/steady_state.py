"""One measurement in this process: how fast a system trains once everything is imported, built, compiled and warm.

`python benchmarks/steady_state.py polyak --task small --seconds 10` prints one JSON object. throughput.py runs it in
fresh processes; it is of use alone with a profiler.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass

import peers

ENV = "Pendulum-v1"
FOREVER = 100_000_000  # more steps than any measurement takes
CAPACITY = 1_000_000


@dataclass(frozen=True)
class Task:
    """What is trained; `tutorial` is the teaching recipe with its own networks."""

    about: str
    layers: tuple[int, ...]
    batch: int
    per_episode: bool = False
    warmup: int = 500  # environment steps before the first update
    start: int = 1_000  # environment steps before the clock runs


TASKS = {
    "small": Task("128-64, batch 32, an update per step", (128, 64), 32),
    "large": Task("256-256, batch 256, an update per step", (256, 256), 256),
    "tutorial": Task("tutorial recipe, 10 updates per episode", (128, 64), 32, True, warmup=2_000, start=4_000),
}


class Stopwatch:
    """Times from the first visit at or after `start` environment steps to the first one `seconds` later."""

    def __init__(self, start: int, seconds: float):
        self.start, self.seconds = start, seconds
        self.first: tuple[float, int, int] | None = None

    def enough(self, env_steps: int, updates: int) -> bool:
        """Take note of a moment when so many steps and updates are done; say whether to stop."""
        now = time.perf_counter()
        if self.first is None:
            if env_steps >= self.start:
                self.first = now, env_steps, updates
            return False
        self.last = now, env_steps, updates
        return now - self.first[0] >= self.seconds

    def result(self) -> dict[str, float]:
        """Return what was done in the time between, and per second."""
        seconds, env_steps, updates = (b - a for a, b in zip(self.first, self.last, strict=True))
        rates = {"env_steps_per_second": env_steps / seconds, "updates_per_second": updates / seconds}
        return {"seconds": seconds, "env_steps": env_steps, "updates": updates, **rates}


def polyak(task: Task, seeds: int, watch: Stopwatch) -> None:
    """Train polyak as its host loop does; steps and updates are those of all seeds together."""
    from polyak.training import devices

    devices.prepare(seeds)
    from polyak.algorithms import ddpg
    from polyak.envs.gymnasium import Worlds
    from polyak.runs import presets
    from polyak.training.host import Training
    from polyak.training.plan import Plan

    if task.per_episode:
        config, plan = presets.settings(ddpg, presets.find("ddpg", "tutorial", ENV), FOREVER)
    else:
        config = ddpg.Config(actor_layers=task.layers, critic_joint_layers=task.layers)
        plan = Plan(env_steps=FOREVER, batch=task.batch, capacity=CAPACITY, warmup=task.warmup)
    lanes = list(range(seeds))
    training = Training(ddpg, config, plan, Worlds(ENV, lanes, plan.envs), lanes)
    watch.start *= seeds
    while not watch.enough(int(training.env_steps.sum()), training.step * seeds):
        training.advance()


def plain(task: Task, watch: Stopwatch) -> None:
    """Train the plain PyTorch loop."""
    import plain_torch

    recipe = plain_torch.Recipe(task.layers, critic_joint_layers=task.layers, batch=task.batch, warmup=task.warmup)
    for progress in plain_torch.run(plain_torch.TUTORIAL if task.per_episode else recipe, ENV, seed=0):
        if watch.enough(progress.env_steps, progress.updates):
            return


def baselines(system: str, task: Task, watch: Stopwatch) -> None:
    """Train Stable-Baselines3 or SBX."""
    settings = peers.Settings(task.layers, task.batch, warmup=task.warmup, capacity=CAPACITY)
    model = peers.make(system, ENV, settings, seed=0)
    peers.learn_until(model, lambda env_steps, updates, _: watch.enough(env_steps, updates))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=tuple(peers.NAMES))
    parser.add_argument("--task", choices=tuple(TASKS), default="small")
    parser.add_argument("--seeds", type=int, default=1, help="agents side by side (polyak only)")
    parser.add_argument("--threads", type=int, default=0, help="threads for arithmetic; 0: the library's own choice")
    parser.add_argument("--seconds", type=float, default=10.0, help="time to measure, after the warm-up")
    options = parser.parse_args()
    task = TASKS[options.task]
    if options.seeds > 1 and options.system != "polyak":
        parser.error(f"{options.system} trains one seed")
    if task.per_episode and options.system in ("sb3", "sbx"):
        parser.error("the tutorial recipe is for polyak and torch")
    watch = Stopwatch(task.start, options.seconds)
    peers.limit_threads(options.system, options.threads)
    if options.system == "polyak":
        polyak(task, options.seeds, watch)
    elif options.system == "torch":
        plain(task, watch)
    else:
        baselines(options.system, task, watch)
    print(json.dumps({**vars(options), "settings": asdict(task), **watch.result()}))


if __name__ == "__main__":
    main()
