"""The peers' agents, DDPG of Stable-Baselines3 and of SBX, made alike and watched while they learn."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

MODULES = {"polyak": "polyak", "sbx": "sbx", "sb3": "stable_baselines3", "torch": "torch"}
NAMES = {"polyak": "polyak", "sbx": "SBX", "sb3": "Stable-Baselines3", "torch": "plain PyTorch"}
FOREVER = 1_000_000_000  # more steps than any measurement takes


@dataclass(frozen=True)
class Settings:
    """What is set for both; everything else is their default."""

    layers: tuple[int, ...] = (256, 256)
    batch: int = 256
    gamma: float = 0.99
    warmup: int = 1_000
    capacity: int = 1_000_000


def limit_threads(system: str, threads: int) -> None:
    """Use this many threads for arithmetic; 0 leaves it to the library. Call it before the library starts.

    PyTorch has a setting. XLA has none, so that its process is bound to as many cores. Raises OSError where the
    operating system cannot.
    """
    if not threads:
        return
    if system in ("sb3", "torch"):
        import torch

        torch.set_num_threads(threads)
    elif hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    else:
        raise OSError("this operating system cannot bind a process to cores")


def make(system: str, env: str, settings: Settings, seed: int) -> Any:
    """Build an agent: one environment, one update per step, Adam at 1e-3, Gaussian noise of 0.1."""
    import gymnasium
    import numpy as np
    from stable_baselines3.common.noise import NormalActionNoise

    if system == "sb3":
        from stable_baselines3 import DDPG

        own: dict[str, Any] = {"device": "cpu"}
    else:
        from sbx import DDPG

        own = {"qf_learning_rate": 1e-3}
    size = gymnasium.make(env).action_space.shape[0]
    return DDPG(
        "MlpPolicy",
        env,
        learning_rate=1e-3,
        buffer_size=settings.capacity,
        learning_starts=settings.warmup,
        batch_size=settings.batch,
        gamma=settings.gamma,
        train_freq=1,
        gradient_steps=1,
        action_noise=NormalActionNoise(np.zeros(size), np.full(size, 0.1)),
        policy_kwargs={"net_arch": list(settings.layers)},
        seed=seed,
        **own,
    )


def learn_until(model: Any, enough: Callable[[int, int, Sequence[float]], bool], most: int = FOREVER) -> None:
    """Let a peer learn until `enough(env_steps, updates, returns of the episodes that just ended)` says so.

    It is asked after every environment step, before the update that follows it.
    """
    from stable_baselines3.common.callbacks import BaseCallback

    class Ask(BaseCallback):
        def _on_step(self) -> bool:
            returns = [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
            return not enough(self.num_timesteps, self.model._n_updates, returns)

    model.learn(most, callback=Ask())
