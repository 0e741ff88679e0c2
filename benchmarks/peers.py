"""The peers' agents, of Stable-Baselines3 and of SBX, made as a task says and watched while they learn."""

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from tasks import EPSILON, TARGET_PERIOD, Task

MODULES = {"polyak": "polyak", "device": "polyak", "sbx": "sbx", "sb3": "stable_baselines3", "torch": "torch"}
OURS = {"polyak": "polyak", "device": "polyak, device loop"}
NAMES = {
    **OURS,
    "sbx": "SBX",
    "sb3": "Stable-Baselines3",
    "torch": "plain PyTorch",
}
CLASSES = {"crossq": "CrossQ"}  # of the other algorithms: the name in capitals
FOREVER = 1_000_000_000  # more steps than any measurement takes


def limit_threads(system: str, threads: int, core: int | None = None) -> None:
    """Use this many threads for arithmetic; 0 leaves it to the library. Call it before the library starts.

    PyTorch has a setting. XLA has none, so that its process is bound to as many cores. With `core` any process is bound
    to that one. Raises OSError where the operating system cannot.
    """
    by_setting = system in ("sb3", "torch")
    if threads and by_setting:
        import torch

        torch.set_num_threads(threads)
    if core is not None:
        _bind(usable_cores()[core : core + 1])
    elif threads and not by_setting:
        _bind(usable_cores()[:threads])


def usable_cores() -> list[int]:
    """List the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [*range(os.cpu_count() or 1)]


def _bind(cores: list[int]) -> None:
    if not hasattr(os, "sched_setaffinity"):
        raise OSError("this operating system cannot bind a process to cores")
    os.sched_setaffinity(0, cores)


def make(system: str, task: Task, seed: int) -> Any:
    """Build an agent for a task, with step sizes and noise as polyak has them; all else is the library's default."""
    from stable_baselines3.common.env_util import make_vec_env

    name = CLASSES.get(task.algorithm, task.algorithm.upper())
    kind = getattr(importlib.import_module(MODULES[system]), name)
    envs = make_vec_env(task.env, task.envs)
    settings = _of_rollouts(task) if task.rollout else _of_replay(task, envs.action_space.shape)
    if system == "sb3":
        settings["device"] = "cpu"
    return kind(
        "MlpPolicy", envs, gamma=task.gamma, policy_kwargs={"net_arch": list(task.layers)}, seed=seed, **settings
    )


def _of_rollouts(task: Task) -> dict[str, Any]:
    """Return what on-policy agents are given; A2C learns once from the whole rollout, and has no setting for it."""
    epochs = {"batch_size": task.batch, "n_epochs": task.epochs} if task.algorithm == "ppo" else {}
    return {"n_steps": task.rollout, **epochs}


def _of_replay(task: Task, action_shape: tuple[int, ...]) -> dict[str, Any]:
    """Return what agents with a replay are given: an update after each step, and what their algorithm asks for."""
    import numpy as np
    from stable_baselines3.common.noise import NormalActionNoise

    replay = {"buffer_size": task.capacity, "learning_starts": task.warmup, "batch_size": task.batch}
    replay |= {"train_freq": 1, "gradient_steps": 1}
    if task.algorithm == "dqn":
        epsilon = {"exploration_initial_eps": EPSILON, "exploration_final_eps": EPSILON}
        return {**replay, "learning_rate": 5e-4, "tau": 1.0, "target_update_interval": TARGET_PERIOD, **epsilon}
    if task.algorithm in ("ddpg", "td3"):
        noise = NormalActionNoise(np.zeros(action_shape), np.full(action_shape, 0.1))
        return {**replay, "learning_rate": 1e-3, "action_noise": noise}
    return replay


def learn_until(model: Any, enough: Callable[[int, int, Sequence[float]], bool], most: int = FOREVER) -> None:
    """Let a peer learn until `enough(env_steps, updates, returns of the episodes that have ended since)` says so.

    It is asked when the collection of a rollout begins, all before having been learned from: with a replay before every
    environment step, else at the end of whole iterations. `updates` are counted as the peer does.
    """
    from stable_baselines3.common.callbacks import BaseCallback

    class Ask(BaseCallback):
        def _on_training_start(self) -> None:
            self.returns: list[float] = []

        def _on_rollout_start(self) -> None:
            self.stop = enough(self.model.num_timesteps, self.model._n_updates, self.returns)
            self.returns = []

        def _on_step(self) -> bool:
            self.returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
            return not self.stop

    model.learn(most, callback=Ask())
