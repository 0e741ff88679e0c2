"""A few episodes with random actions, played as in training, one of which is repeated in another copy."""

import time
from dataclasses import dataclass, field

import numpy as np

from polyak.envs.gymnasium import VectorEnv
from polyak.envs.observations import refuse_nonfinite
from polyak.errors import RunError
from polyak.fields import check, number
from polyak.numerics.draws import LaneGenerators, uniform_actions
from polyak.tree import copied, same, take
from polyak.types import EnvSpec, Obs


@dataclass(frozen=True)
class Effort:
    """How long to try an environment."""

    episodes: int = number(default=3, least=1)
    """Minimum number of episodes to play with random actions."""
    steps: int = number(default=1_000, least=1)
    """Minimum number of steps to play in total; an episode is cut after as many."""
    seconds: float = number(default=10.0, above=0.0)
    """Maximum seconds to play; repeating an episode may take as long again."""
    seed: int = number(default=0, least=0, most=2**32 - 1)
    """Seed of the episodes and the actions."""

    def __post_init__(self) -> None:
        """Check the limits."""
        check(self)


@dataclass
class Played:
    """One episode; `obs` has one more row than there were steps."""

    number: int
    obs: list[Obs]
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False
    truncated: bool = False

    @property
    def ended(self) -> bool:
        """Whether the environment ended the episode."""
        return self.terminated or self.truncated


class Trial:
    """Episodes played in a `VectorEnv` of one environment."""

    def __init__(self, envs: VectorEnv, effort: Effort):
        self.envs, self.effort = envs, effort
        self.spec: EnvSpec = envs.spec
        self.episodes: list[Played] = []
        self.draws = LaneGenerators([effort.seed], [0])

    def play(self) -> None:
        """Play the episodes. Raises RunError if the environment fails or returns values that are not finite."""
        until = time.monotonic() + self.effort.seconds
        while not self.episodes or (self._too_few() and time.monotonic() < until):
            played = Played(int(self.envs.episodes[0, 0]), [copied(take(self.envs.obs, (0, 0)))])
            self.episodes.append(played)
            self._play(played, until)

    def _too_few(self) -> bool:
        steps = sum(len(played.rewards) for played in self.episodes)
        return len(self.episodes) < self.effort.episodes or steps < self.effort.steps

    def _play(self, played: Played, until: float) -> None:
        _refuse_nonfinite(played)
        while not played.ended:
            if len(played.rewards) >= self.effort.steps or (played.rewards and time.monotonic() > until):
                self.envs.restore(self.envs.episodes + 1, [[[]]], self.envs.obs)  # cut the episode
                return
            action = uniform_actions(self.draws, self.spec.action, (1, 1))
            _step(self.envs, played, action.astype(np.float32) if action.dtype.kind == "f" else action)
            _refuse_nonfinite(played)

    def difference(self, copy: VectorEnv) -> str | None:
        """Repeat the last episode in another copy; describe the first difference, or return None.

        Raises RunError if the environment fails.
        """
        before, until = self.episodes[-1], time.monotonic() + self.effort.seconds
        copy.restore(np.array([[before.number]]), [[[]]], copy.obs)
        again = Played(before.number, [copied(take(copy.obs, (0, 0)))])
        if not same(again.obs[0], before.obs[0]):
            return "two resets with the same seed gave different observations"
        for i, action in enumerate(before.actions):
            _step(copy, again, action)
            last = i + 1 == len(before.actions)
            told = {
                "observation": not same(again.obs[-1], before.obs[i + 1]),
                "reward": again.rewards[i] != before.rewards[i],
                "end": again.ended != (last and before.ended),
            }
            for what, differs in told.items():
                if differs:
                    return f"the same seed and the same actions gave another {what} at step {i + 1}"
            if time.monotonic() > until:
                break
        return None


def _step(envs: VectorEnv, played: Played, action: np.ndarray) -> None:
    """Take a step with an action `[1, 1, ...]` and record its outcome."""
    envs.step(action, [0])
    played.actions.append(action)
    played.obs.append(copied(take(envs.next_obs, (0, 0))))
    played.rewards.append(float(envs.reward[0, 0]))
    played.terminated, played.truncated = bool(envs.terminated[0, 0]), bool(envs.truncated[0, 0])


def _refuse_nonfinite(played: Played) -> None:
    where = f"at step {len(played.rewards)} of episode {played.number}"
    try:
        refuse_nonfinite(take(played.obs[-1], None))
    except ValueError as error:
        raise RunError(f"the environment returned an observation that is not finite {where}: {error}") from error
    if played.rewards and not np.isfinite(played.rewards[-1]):
        raise RunError(f"the environment returned a reward that is not finite {where}")
