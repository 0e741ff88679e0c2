"""DDPG with an `act` that only JAX can run: it splits its key, as examples of JAX do."""

from typing import Any

import jax

from polyak.algorithms.ddpg import Config, acts_on, init, init_memory, learns_from, update
from polyak.algorithms.ddpg import act as ddpg_act

__all__ = ["Config", "act", "acts_on", "init", "init_memory", "learns_from", "update"]


def act(config: Config, policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
    """Choose actions."""
    _, key = jax.random.split(key)
    return ddpg_act(config, policy, memory, obs, key, explore)
