"""What an environment's wrappers reveal: its time limit, and running statistics, which are rejected."""

from collections.abc import Iterator

import gymnasium
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, TimeLimit

from polyak.errors import UsageError, option

# wrapper → the settings that replace it, with their values
OURS: dict[type, tuple[tuple[str, bool | None], ...]] = {
    NormalizeObservation: (("config.normalize_observations", True),),
    NormalizeReward: (("config.reward_scale", None), ("config.normalize_rewards", True)),
}


def chain(env: object) -> Iterator[object]:
    """Yield an environment's wrappers from the outermost inward, then the environment itself."""
    yield env
    while isinstance(env, gymnasium.Wrapper):
        env = env.env
        yield env


def time_limit(env: object) -> int | None:
    """Return the number of steps after which episodes are truncated; None if no limit is declared."""
    limits = [layer._max_episode_steps for layer in chain(env) if isinstance(layer, TimeLimit)]
    declared = getattr(getattr(env, "spec", None), "max_episode_steps", None)
    return min(limits, default=declared)


def settings_for(wrapper: type) -> str:
    """Write the settings that replace a wrapper as the user would."""
    return " or, if the algorithm has it, ".join(option(*setting) for setting in OURS[wrapper])


def refuse_statistics(name: str, env: object) -> None:
    """Raise UsageError for a wrapper with running statistics, which would differ between the copies of a run."""
    for layer in chain(env):
        for wrapper in OURS:
            if isinstance(layer, wrapper) and getattr(layer, "update_running_mean", True):  # unless it is frozen
                raise UsageError(
                    f"{name} uses {wrapper.__name__}, and every copy of the environment would keep its own statistics:"
                    " policies would be evaluated on another scale than they were trained on; remove the wrapper and"
                    f" set {settings_for(wrapper)}"
                )
