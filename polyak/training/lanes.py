"""The learners of all lanes on their devices: what both loops begin with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from polyak.keys import key
from polyak.training import devices
from polyak.training.learn import Learner, refuse, start
from polyak.training.plan import Plan
from polyak.types import Algorithm, EnvSpec


@dataclass
class Lanes:
    """One learner for each seed, spread over devices. All that has a lane has a leading lane axis."""

    sharding: NamedSharding
    config: Any
    keys: jax.Array  # of learning
    learner: Learner

    @classmethod
    def begin(
        cls, algorithm: Algorithm, config: Any, plan: Plan, spec: EnvSpec, seeds: Sequence[int], most: int | None
    ) -> "Lanes":
        """Make fresh learners on at most `most` devices. Raises UsageError for settings that do not fit together."""
        refuse(algorithm, config, plan)
        sharding = devices.spread(len(seeds), most)
        placed = jax.device_put(jax.tree.map(np.float32, config), devices.everywhere(sharding))
        keys = jax.vmap(lambda seed: jax.random.split(key(seed)))(np.asarray(seeds, np.uint32))
        init_keys, learn_keys = (jax.device_put(keys[:, i], sharding) for i in (0, 1))
        program = devices.program(partial(start, algorithm, plan, spec), sharding, lanes=(False, True))
        return cls(sharding, placed, learn_keys, program(placed, init_keys))
