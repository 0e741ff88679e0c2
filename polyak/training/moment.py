"""What a rollout changes on the host, remembered before it, so that one that fails can be undone."""

from __future__ import annotations

import numpy as np

from polyak.lazy import jax
from polyak.training.acting import Acting
from polyak.training.worlds import Worlds


class Moment:
    """Where the environments and the acting memory were before a rollout, to go back there if it fails."""

    def __init__(self, worlds: Worlds, acting: Acting):
        self.episodes, self.memory = worlds.episodes.copy(), jax.tree.map(np.copy, acting.memory)
        self.obs = worlds.obs.copy()
        self.actions = [[(taken, len(taken)) for taken in lane] for lane in worlds.actions]

    def rewind(self, worlds: Worlds, acting: Acting) -> None:
        """Put the records back; the environments themselves are past use."""
        worlds.episodes[:], worlds.obs[:], acting.memory = self.episodes, self.obs, self.memory
        worlds.actions[:] = [[taken[:length] for taken, length in lane] for lane in self.actions]
