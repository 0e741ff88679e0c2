"""How a run spends its time: environment steps, updates, replay, evaluations; what every kind of plan has."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from polyak.errors import UsageError
from polyak.fields import check, number

NO_LIMIT = 2**31 - 1  # episodes
LEAST_LIMIT = 1_000  # steps of an evaluation episode, where neither the user nor the environment sets a limit


@dataclass(frozen=True)
class Plan:
    """What every plan has, whatever is learned from: steps, environments, evaluations. All counts are for each seed.

    Loops ask a plan only for what is declared here. A plan for datasets, which counts updates instead of steps, will be
    another subclass, once there is a loop that learns from datasets.
    """

    env_steps: int = number(default=100_000, least=1)
    """Environment steps to train for, all environments of a seed together."""
    envs: int = number(default=1, least=1)
    """Environments of each seed."""
    workers: int = number(default=0, least=0)
    """Processes that step the environments, for environments that are slow; 0: this process does."""
    rollout_length: int = number(default=128, least=1)
    """Steps that each environment takes between two rounds of updates."""
    evaluations: int = number(default=10, least=0)
    """Evaluations over the run, denser at its start, besides one before it; they choose each seed's best policy."""
    evaluation_episodes: int = number(default=10, least=1)
    """Episodes of each of those evaluations, without exploration."""
    evaluation_envs: int = number(default=16, least=0)
    """Copies of the environment for evaluation, at most; 0: evaluate in the training environment, whose unfinished
    episode is then truncated."""
    evaluation_steps: int = number(default=0, least=0)
    """Steps after which an evaluation episode is cut; 0: at the environment's time limit or, if it has none, such that
    all evaluations together take no more steps than training, but not before step 1000."""
    score_episodes: int = number(default=20, least=1)
    """Fresh episodes that score the final and the best policies at the end."""
    checkpoint_seconds: float = number(default=60.0, above=0)
    """Seconds between checkpoints."""

    def __post_init__(self) -> None:
        """Refuse combinations that contradict each other, with the fix."""
        check(self)
        if self.env_steps % self.envs:
            raise UsageError(
                f"env_steps = {self.env_steps} is not a multiple of envs = {self.envs}: use"
                f" {rounded_up(self.env_steps, self.unit)}"
            )
        if self.evaluation_envs == 0 and (self.envs > 1 or self.workers):
            raise UsageError(
                f"evaluation_envs = 0 evaluates in the training environment: it needs envs = 1, not {self.envs},"
                f" and workers = 0, not {self.workers}"
            )

    @property
    def unit(self) -> int:
        """Environment steps that a run is a multiple of."""
        return self.envs

    @property
    def learning_starts(self) -> int:
        """Environment steps before the first update."""
        return 0

    @property
    def starts_uniformly(self) -> bool:
        """Whether actions are uniformly random until learning starts."""
        return False

    @property
    def by_episode(self) -> bool:
        """Whether rollouts end where episodes do, each followed by updates; else all lanes' rollouts are alike."""
        return False

    @property
    def overlaps(self) -> bool:
        """Whether the next rollout is collected while the last one is learned from."""
        return False

    @property
    def max_episodes(self) -> int | None:
        """Training episodes after which a seed stops, if that is before its last step."""
        return None

    @property
    def most_updates(self) -> int:
        """Largest number of updates in one iteration: the length of the compiled scan."""
        return 1

    def updates_due(self, env_steps: int, done: int) -> int:
        """Return the updates due after `env_steps` steps of which `done` updates have been made."""
        return 1 if env_steps else 0

    def fewest_updates(self, time_limit: int | None) -> int | None:
        """Return the updates that a seed makes if all its episodes are as long as they can be; None: not limited so."""
        return None

    def room(self, env_steps: int | None = None) -> int:
        """Return how many transitions the replay buffer has room for, in a run of so many steps or this one."""
        return 0

    def finished(self, env_steps: np.ndarray, episodes: np.ndarray) -> np.ndarray:
        """Return which lanes `[lane]` have taken all their steps, or finished all their episodes."""
        return (env_steps >= self.env_steps) | (episodes >= (self.max_episodes or np.inf))

    def progress(self, env_steps: np.ndarray, episodes: np.ndarray) -> np.ndarray:
        """Return the share of the run that each lane `[lane]` has behind it: of its steps or its episodes."""
        return np.maximum(env_steps / self.env_steps, episodes / (self.max_episodes or np.inf))

    def episodes_left(self, episodes: np.ndarray, warming: bool) -> np.ndarray:
        """Return how many episodes end each lane's (`[lane]`) next rollout, if it is not full before."""
        if self.by_episode and not warming:
            return np.ones(len(episodes), np.int32)
        return np.minimum((self.max_episodes or NO_LIMIT) - episodes, NO_LIMIT).astype(np.int32)

    def evaluations_due(self, env_steps: np.ndarray, episodes: np.ndarray) -> np.ndarray:
        """Return how many evaluations each lane `[lane]` should have had by now, that before any step included."""
        if not self.evaluations:
            return np.zeros(np.shape(env_steps), np.int64)
        marks = _marks(self.evaluations, self.learning_starts / self.env_steps)
        return 1 + np.searchsorted(marks, self.progress(env_steps, episodes), side="right")

    def evaluation_limit(self, time_limit: int | None) -> int:
        """Return the steps after which evaluation episodes are cut in an environment with this time limit."""
        if self.evaluation_steps or time_limit is not None:
            return self.evaluation_steps or time_limit or 0
        evaluations = self.evaluations + (self.evaluations > 0)  # and one before any step
        episodes = evaluations * self.evaluation_episodes + 2 * self.score_episodes  # of a best and a final policy
        return max(self.env_steps // episodes, LEAST_LIMIT)

    @property
    def log_interval(self) -> int:
        """Environment steps between two rows of the log."""
        return max(self.env_steps // 200, 1)


def rounded_up(count: int, unit: int) -> int:
    """Return the next multiple of a unit."""
    return -(-count // unit) * unit


@lru_cache(maxsize=16)
def _marks(evaluations: int, warmup: float) -> np.ndarray:
    """Return the shares of the run after which to evaluate `[evaluation]`; `warmup` is the share without learning.

    The first is 3 % of the rest where there are ten, so that the rise of a fast run shows; the last is the whole.
    """
    marks = warmup + (1 - warmup) * (np.arange(1, evaluations + 1) / evaluations) ** 1.5
    marks[-1] = 1.0
    return marks
