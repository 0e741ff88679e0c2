"""Episodes without exploration, in environments of their own: how good a policy really is."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np

from polyak import tree
from polyak.errors import RunError, UsageError, describe, option
from polyak.training.acting import Behavior, make_acting
from polyak.training.job import Job
from polyak.training.numpy_trial import Verdict
from polyak.training.plan import Plan
from polyak.training.protocols import Acting, Environment, VectorEnv
from polyak.types import Algorithm, Array, EnvSpec, Obs, Tree

Numbers = TypeVar("Numbers", bound="Array | float")


@dataclass(frozen=True)
class Scores:
    """Returns (not discounted, not scaled) and lengths of each lane's episodes, `[lane, episode]`.

    `cut` says which episodes had not ended when they were cut, so that their returns are incomplete.
    """

    returns: np.ndarray
    lengths: np.ndarray
    cut: np.ndarray


class Evaluator:
    """Plays episodes in environments of its own, which it keeps from one evaluation to the next."""

    def __init__(
        self,
        algorithm: Algorithm,
        config: Tree,
        make: Callable[[], Environment],
        plan: Plan | None = None,
        stop: Callable[[], None] = lambda: None,
    ):
        """Prepare to play in what `make` makes; `stop` is called between steps, to give up by raising."""
        self.algorithm, self.config, self.make, self.stop = algorithm, config, make, stop
        self.plan = plan or Plan()
        self.verdict: Verdict | None = None  # whether the algorithm acts in NumPy, once that is known
        self.environments: list[Environment] = []
        self.actings: dict[tuple[int, bool], Acting] = {}

    def play(self, policies: Tree, seeds: Sequence[Sequence[int]], explore: bool = False) -> Scores:
        """Play one episode per seed in `seeds[lane]` with that lane's policy (a NumPy tree with a leading lane axis).

        Raises RunError where an environment fails.
        """
        count = min(len(seeds[0]), max(self.plan.evaluation_envs, 1))
        self._open(count)
        environments = self.environments[:count]
        most = self.plan.evaluation_limit(environments[0].limit)
        results = []
        for lane, lane_seeds in enumerate(seeds):
            policy = tree.take(policies, slice(lane, lane + 1))
            acting = self._acting(count, explore, policy)
            acting.restart([lane_seeds[0]])
            acting.set_policy(policy)
            acting.seed([0])
            with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, which is refused
                results.append(_play(acting, environments, list(lane_seeds), most, self.stop))
        return Scores(*(np.array(part) for part in zip(*results, strict=True)))

    def _open(self, count: int) -> None:
        """Make as many environments as are missing; one by one, so that those made are closed if the next fails."""
        try:
            while len(self.environments) < count:
                self.environments.append(self.make())
        except UsageError as error:
            made = len(self.environments)
            raise RunError(
                f"environment {made + 1} of {count} for evaluation could not be made: {error}; if no more can be"
                f" open at once, train with {option('plan.evaluation_envs', made)}"
            ) from error

    def _acting(self, count: int, explore: bool, policy: Tree) -> Acting:
        if (count, explore) not in self.actings:  # kept, because it may have been compiled
            behavior = Behavior(self.algorithm, self.config, self.environments[0].spec, count, explore)
            self.actings[count, explore] = acting = make_acting(behavior, [0], policy, self.verdict)
            self.verdict = acting.verdict
        return self.actings[count, explore]

    def refuse_unlike(self, spec: EnvSpec) -> None:
        """Raise UsageError if the environments are not of the kind that a policy was made for."""
        self.environments = self.environments or [self.make()]
        found = self.environments[0].spec
        if found != spec:
            raise UsageError(f"the policy was made for {spec}, but the environment has {found}")

    def close(self) -> None:
        """Release the environments."""
        with contextlib.ExitStack() as stack:  # also those after one that is interrupted
            while self.environments:
                stack.callback(self.environments.pop().close)


class InTraining(Evaluator):
    """Plays episodes in the only environment that there is, the one that trains, between two episodes of training."""

    def __init__(self, job: Job[VectorEnv], environment: Environment, stop: Callable[[], None]):
        """Prepare to play in `environment`, the only one of the job's; `stop` is that of Evaluator."""
        super().__init__(job.algorithm, job.config, lambda: environment, job.plan, stop)
        self.envs = job.envs

    def play(self, policies: Tree, seeds: Sequence[Sequence[int]], explore: bool = False) -> Scores:
        """Play as an Evaluator does, then begin the training episode whose turn it is."""
        scores = super().play(policies, seeds, explore)
        self.envs.restore(self.envs.episodes.copy(), [[[]]], self.envs.obs)
        return scores

    def close(self) -> None:
        """Leave the environment to training."""
        self.environments.clear()


Played: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]


def _play(
    acting: Acting, environments: Sequence[Environment], seeds: list[int], most: int, stop: Callable[[], None]
) -> Played:
    """Play the episodes side by side: an environment that ends its episode takes the next one waiting.

    Return their returns, their lengths, and which of them were cut after `most` steps.
    """
    returns, lengths, cut = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64), np.zeros(len(seeds), bool)
    obs = environments[0].spec.zeros(1, len(environments))
    playing = dict(enumerate(range(len(environments))))  # environment → episode
    waiting = iter(range(len(environments), len(seeds)))
    for e, environment in enumerate(environments):
        _reset(environment, seeds[e], obs, e)
    while playing:
        stop()
        actions = environments[0].scale(acting(obs)[0])
        for e, episode in tuple(playing.items()):
            lengths[episode] += 1
            with _blaming(seeds[episode], lengths[episode]):
                reward, ended = _step(environments[e], actions[e], obs, e)
            returns[episode] += reward
            cut[episode] = not ended and lengths[episode] >= most
            if not ended and not cut[episode]:
                continue
            acting.reset_memory(0, e)
            following = next(waiting, None)
            if following is None:
                del playing[e]
            else:
                playing[e] = following
                _reset(environments[e], seeds[following], obs, e)
    return returns, lengths, cut


def _reset(environment: Environment, seed: int, obs: Obs, e: int) -> None:
    """Begin an episode in environment `e`, whose first observation becomes its row of `obs`."""
    with _blaming(seed, 0):
        _observe(obs, e, environment.reset(seed))


def _step(environment: Environment, action: np.ndarray, obs: Obs, e: int) -> tuple[float, bool]:
    """Take a step in environment `e`; return the reward, and whether the episode ended."""
    seen, reward, terminated, truncated = environment.step(action)
    _observe(obs, e, seen)
    return _finite(reward, "a reward"), bool(terminated or truncated)


def _observe(obs: Obs, e: int, seen: Obs) -> None:
    tree.write(obs, (0, e), seen)
    for name, leaf in tree.named_leaves(obs).items():
        _finite(leaf[0, e], f"an observation{name and f' (part {name!r})'}")


def _finite(value: Numbers, what: str) -> Numbers:
    if not np.isfinite(value).all():
        raise ValueError(f"it returned {what} that is not finite")
    return value


@contextlib.contextmanager
def _blaming(seed: int, step: int) -> Iterator[None]:
    """Say where it was that the environment failed; what goes wrong in here is not the algorithm's fault."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # one that exits ends the run, not the process
        where = f"at step {step} of the evaluation episode with seed {seed}"
        raise RunError(f"the environment failed {where}: {describe(error)}") from error
