"""What is not finite in a rollout is refused before it is learned from."""

from collections.abc import Sequence

import numpy as np

from polyak.errors import RunError
from polyak.training.learn import Rollout
from polyak.training.protocols import VectorEnv
from polyak.tree import named_leaves

WORDS = {"obs": "an observation", "next_obs": "an observation", "reward": "a reward"}


def refuse_nonfinite(rollout: Rollout, envs: VectorEnv, seeds: Sequence[int], env_steps: np.ndarray) -> None:
    """Raise RunError where a rollout holds what is not finite, naming it; `env_steps[lane]` were taken before it."""
    steps = {name: leaf for name, leaf in named_leaves(rollout.steps).items() if not np.isfinite(leaf).all()}
    if not steps:
        return
    places = {name: tuple(np.argwhere(~np.isfinite(leaf))[0][:3]) for name, leaf in steps.items()}
    name = min(places, key=lambda name: places[name])  # the first in time; of one step the observation acted on
    lane, t, e = places[name]
    ends = (rollout.steps.terminated + rollout.steps.truncated)[lane, t : rollout.count[lane], e] > 0
    where = (
        f"at environment step {env_steps[lane] + t * envs.reward.shape[1] + e + 1} of seed {seeds[lane]},"
        f" in episode {envs.episodes[lane, e] - ends.sum()} of environment {e}"
    )
    if name == "action":
        raise RunError(
            f"the policy chose an action that is not finite {where}: learning diverged, lower the learning rate"
        )
    what, _, part = name.partition(".")
    raise RunError(f"the environment returned {WORDS[what]}{part and f' (part {part!r})'} that is not finite {where}")
