"""What is not finite in a rollout is refused before it is learned from."""

from collections.abc import Sequence

import numpy as np

from polyak.errors import RunError
from polyak.training.learn import Rollout
from polyak.training.protocols import VectorEnv
from polyak.types import unpack


def refuse_nonfinite(rollout: Rollout, envs: VectorEnv, seeds: Sequence[int], env_steps: np.ndarray) -> None:
    """Raise RunError where a rollout holds what is not finite, naming it; `env_steps[lane]` were taken before it."""
    if np.isfinite(rollout.rows).all():
        return
    spec, num_envs = envs.spec, envs.obs.shape[1]
    lane, t, e, column = np.argwhere(~np.isfinite(rollout.rows))[0]
    parts = unpack(spec, rollout.rows)
    ends = (parts.terminated + parts.truncated)[lane, t : rollout.count[lane], e] > 0
    where = (
        f"at environment step {env_steps[lane] + t * num_envs + e + 1} of seed {seeds[lane]},"
        f" in episode {envs.episodes[lane, e] - ends.sum()} of environment {e}"
    )
    from_action = column - spec.obs_size
    if 0 <= from_action < spec.action_size:
        raise RunError(f"the policy chose an action that is not finite {where}: learning diverged, learn slower")
    what = "a reward" if from_action == spec.action_size else "an observation"
    raise RunError(f"the environment returned {what} that is not finite {where}")
