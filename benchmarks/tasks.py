"""What is trained in a measurement, by name; polyak's side is in steady_state.py, the peers' in peers.py."""

from dataclasses import dataclass, replace

FOREVER = 100_000_000  # more environment steps than any measurement takes
EPSILON = 0.05  # share of random actions of DQN, from the start
TARGET_PERIOD = 1_000  # environment steps between two copies of DQN's target


@dataclass(frozen=True)
class Task:
    """An algorithm and its settings; what is not said here is each library's default."""

    about: str
    algorithm: str
    env: str
    layers: tuple[int, ...]  # of actor and critic, or of the only network
    batch: int  # transitions in one gradient step
    envs: int = 1
    rollout: int = 0  # steps of every environment that are learned from at once; 0: an update per step, from a replay
    epochs: int = 1  # times that a rollout is learned from
    per_episode: bool = False  # the teaching recipe with its own networks, and 10 updates after each episode
    gamma: float = 0.99
    capacity: int = 1_000_000
    warmup: int = 500  # environment steps before the first update from a replay
    start: int = 1_000  # environment steps before the clock runs

    @property
    def minibatches(self) -> int:
        """Return the gradient steps that one epoch makes of a rollout, or an update of a batch."""
        return self.envs * self.rollout // self.batch if self.rollout else 1


PPO = Task(
    "PPO, 64-64, 8 × 2048 steps, 10 epochs, batch 64",
    "ppo",
    "CartPole-v1",
    (64, 64),
    64,
    envs=8,
    rollout=2_048,
    epochs=10,
    start=8 * 2_048,
)
TASKS = {
    "small": Task("DDPG, 128-64, batch 32", "ddpg", "Pendulum-v1", (128, 64), 32),
    "large": Task("DDPG, 256-256, batch 256", "ddpg", "Pendulum-v1", (256, 256), 256),
    "tutorial": Task(
        "DDPG, tutorial recipe, 10 updates per episode",
        "ddpg",
        "Pendulum-v1",
        (128, 64),
        32,
        per_episode=True,
        warmup=2_000,
        start=4_000,
    ),
    "dqn": Task("DQN, 128-128, batch 32", "dqn", "CartPole-v1", (128, 128), 32),
    "td3": Task("TD3, 256-256, batch 256", "td3", "Pendulum-v1", (256, 256), 256),
    "sac": Task("SAC, 256-256, batch 256", "sac", "Pendulum-v1", (256, 256), 256),
    "a2c": Task("A2C, 64-64, 8 × 5 steps", "a2c", "CartPole-v1", (64, 64), 40, envs=8, rollout=5, start=4_000),
    "ppo": PPO,
    "ppo-wide": replace(
        PPO, about="PPO, 64-64, 64 × 256 steps, 10 epochs, batch 64", envs=64, rollout=256, start=64 * 256
    ),
    "crossq-small": Task("CrossQ, 128-64, batch 32", "crossq", "Pendulum-v1", (128, 64), 32),
    "crossq-medium": Task("CrossQ, 256-256, batch 256", "crossq", "Pendulum-v1", (256, 256), 256),
}


def of_algorithm(algorithm: str) -> tuple[str, ...]:
    """Return the names of an algorithm's tasks."""
    return tuple(name for name, task in TASKS.items() if task.algorithm == algorithm)


def selected(words: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the tasks that are named, or whose algorithm is, by algorithm."""
    wanted = {name: task for name, task in TASKS.items() if {name, task.algorithm} & set(words)}
    algorithms = dict.fromkeys(task.algorithm for task in wanted.values())
    return {each: tuple(name for name in of_algorithm(each) if name in wanted) for each in algorithms}
