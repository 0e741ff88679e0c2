"""What a rollout changes on the host, remembered before it, so that one that fails can be undone."""

from __future__ import annotations

import numpy as np

from polyak.lazy import jax
from polyak.training.protocols import Acting, VectorEnv
from polyak.tree import copied, write


class Moment:
    """Where the environments and the acting memory were before a rollout, to go back there if it fails."""

    def __init__(self, envs: VectorEnv, acting: Acting):
        self.episodes, self.memory = envs.episodes.copy(), jax.tree.map(np.copy, acting.memory)
        self.obs = copied(envs.obs)
        self.actions = [[(taken, len(taken)) for taken in lane] for lane in envs.actions]

    def rewind(self, envs: VectorEnv, acting: Acting) -> None:
        """Put the records back; the environments themselves are past use."""
        envs.episodes[:], acting.memory = self.episodes, self.memory
        write(envs.obs, (slice(None),), self.obs)
        envs.actions[:] = [[taken[:length] for taken, length in lane] for lane in self.actions]
