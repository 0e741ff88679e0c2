"""Remember what a rollout changes on the host, so that a failed rollout can be undone."""

from __future__ import annotations

import numpy as np

from polyak.lazy import jax
from polyak.training.protocols import Acting, VectorEnv
from polyak.tree import copied, write


class Moment:
    """The records of the environments and the acting memory before a rollout, to restore if it fails."""

    def __init__(self, envs: VectorEnv, acting: Acting):
        self.episodes, self.memory = envs.episodes.copy(), jax.tree.map(np.copy, acting.memory)
        self.obs = copied(envs.obs)
        self.actions = [[(taken, len(taken)) for taken in lane] for lane in envs.actions]

    def rewind(self, envs: VectorEnv, acting: Acting) -> None:
        """Restore the records; the environments themselves can no longer be used."""
        envs.episodes[:], acting.memory = self.episodes, self.memory
        write(envs.obs, (slice(None),), self.obs)
        envs.actions[:] = [[taken[:length] for taken, length in lane] for lane in self.actions]
