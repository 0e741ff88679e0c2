"""What the wrappers of an environment say about it: its time limit, and statistics that no copy may keep for itself."""

from collections.abc import Iterator

import gymnasium
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, TimeLimit

from polyak.errors import UsageError, option

OURS: dict[
    type, tuple[tuple[str, bool | None], ...]
] = {  # what to set in place of a wrapper: settings and their values
    NormalizeObservation: (("config.normalize_observations", True),),
    NormalizeReward: (("config.reward_scale", None), ("config.normalize_rewards", True)),
}


def chain(env: object) -> Iterator[object]:
    """Go through an environment's wrappers, from the outermost to the environment itself."""
    yield env
    while isinstance(env, gymnasium.Wrapper):
        env = env.env
        yield env


def time_limit(env: object) -> int | None:
    """Return the number of steps after which an environment is truncated; None where no limit is declared."""
    limits = [layer._max_episode_steps for layer in chain(env) if isinstance(layer, TimeLimit)]
    declared = getattr(getattr(env, "spec", None), "max_episode_steps", None)
    return min(limits, default=declared)


def refuse_statistics(name: str, env: object) -> None:
    """Raise UsageError for a wrapper whose running statistics would differ between the copies of a run."""
    for layer in chain(env):
        for wrapper, ours in OURS.items():
            if isinstance(layer, wrapper) and getattr(layer, "update_running_mean", True):  # not where it is frozen
                settings = " or, if the algorithm has it, ".join(option(*setting) for setting in ours)
                raise UsageError(
                    f"{name} uses {wrapper.__name__}, and every copy of the environment would keep its own statistics:"
                    " policies would be evaluated on another scale than they were trained on; remove the wrapper and"
                    f" set {settings}"
                )
