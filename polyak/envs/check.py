"""Find out what would go wrong or surprise in an environment before anything is trained on it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from gymnasium import spaces

from polyak.envs import functional
from polyak.envs.findings import surprises
from polyak.envs.gymnasium import VectorEnv
from polyak.envs.leftovers import Company, GlobalRandom
from polyak.envs.make import EnvSource
from polyak.envs.observations import Reader, is_image
from polyak.envs.spaces import AnySpace
from polyak.envs.stdout import capturing
from polyak.envs.trial import Effort, Trial
from polyak.envs.witness import Notes, Watched
from polyak.errors import RunError, UsageError, option
from polyak.types import EnvSpec, in_words


@dataclass(frozen=True)
class Finding:
    """One sentence and its severity: training would be refused, would fail, or would work but may surprise."""

    kind: Literal["refused", "fails", "warning"]
    sentence: str


@dataclass(frozen=True)
class Facts:
    """How polyak sees an environment. Pairs are minimum and maximum; `returns` are those of random actions."""

    spec: EnvSpec
    observation: str
    action: str
    limit: int | None
    episodes: int
    truncates: bool  # whether any played episode was truncated
    lengths: tuple[int, int]
    returns: tuple[float, float]
    rewards: tuple[float, float] | None
    steps_per_second: float | None
    compiled: bool


def check(source: EnvSource, effort: Effort) -> tuple[Facts | None, list[Finding]]:
    """Try an environment; return its facts, or None if it cannot be made, and all findings.

    Its output is not shown.
    """
    examination = Examination(Watched(source.maker, source.kwargs), effort)
    with capturing(), contextlib.suppress(UsageError):
        examination.source.found  # noqa: B018 (imports the module: threads that it starts are not blamed on a copy)
    before = Company.now()
    with capturing(), np.errstate(over="ignore"):  # output of imports is harmless
        first = examination.make()
    if first is None:
        return None, examination.findings
    with capturing() as printed, np.errstate(over="ignore"):
        trial = examination.examine(first)
        left = before.joined()
        compiled = examination.compiled(first)
    if printed.text.strip():
        line = printed.text.strip().splitlines()[0]
        examination.warn(
            f"it prints to standard output ({line[:60]!r}), which slows training down and garbles the progress line:"
            " remove the print, or use the logging module"
        )
    if left:
        examination.warn(
            f"after close() it leaves behind {', '.join(left)}, and every copy adds more: stop in close() what the"
            " environment has started"
        )
    return facts_of(trial, examination.source.notes, compiled), examination.findings


class Examination:
    """The examination of one environment, which collects `findings`."""

    def __init__(self, source: Watched, effort: Effort):
        self.source, self.effort = source, effort
        self.findings: list[Finding] = []

    def warn(self, sentence: str) -> None:
        """Add a warning."""
        self.findings.append(Finding("warning", sentence))

    def make(self) -> VectorEnv | None:
        """Make a copy and reset it."""
        with self._finding():
            return VectorEnv(self.source, [self.effort.seed], 1)
        return None

    def examine(self, first: VectorEnv) -> Trial:
        """Play in one copy, repeat an episode in a second one, and close both; return what was played."""
        trial, shared, different = Trial(first, self.effort), GlobalRandom(), None
        with contextlib.ExitStack() as copies:
            copies.callback(first.close)
            with self._finding():
                trial.play()
            failed = bool(self.findings)
            with self._finding():
                second = self._second(copies)
                copies.callback(second.close)
                different = None if failed else trial.difference(second)
        self._tell_randomness(different, shared.used())
        whole = [] if failed else trial.episodes
        for sentence in surprises(first.copies[0][0].observation_space, whole, self.source.notes):
            self.warn(sentence)
        return trial

    def _second(self, copies: contextlib.ExitStack) -> VectorEnv:
        """Make a second copy while the first is open, or after closing it (with `copies`) if only one can be open."""
        try:
            return VectorEnv(self.source, [self.effort.seed], 1)
        except UsageError as error:
            refused = error
        copies.close()
        try:
            second = VectorEnv(self.source, [self.effort.seed], 1)
        except UsageError:
            raise refused from None
        self.warn(
            f"only one copy can be open at a time ({refused}): train one seed with"
            f" {option('plan.evaluation_envs', 0)} and {option('plan.envs', 1)}, which evaluates in the training copy"
        )
        return second

    def _tell_randomness(self, different: str | None, used: list[str]) -> None:
        shared = f"the global generator of {' and '.join(used)}"
        if different:
            unseeded = "its random numbers ignore the seed, or it keeps state between episodes"
            cause = f"it draws from {shared}" if used else unseeded
            self.warn(
                f"{different} ({cause}): runs cannot be repeated, and a resumed run has to begin new episodes; call"
                " super().reset(seed=seed) in reset() and draw only from self.np_random"
            )
        elif used:
            self.warn(
                f"it seeds or draws from {shared}, which all copies and other code share: draw from self.np_random"
                " instead"
            )

    def compiled(self, first: VectorEnv) -> bool:
        """Return whether the device loop accepts the environment."""
        # only a registered id or a FuncEnv can be compiled; anything else would only be made once more in vain
        if not (isinstance(self.source.found, str) or _unwrapped(first).__name__ == "FunctionalJaxEnv"):
            return False
        try:
            return functional.find(EnvSource(self.source.maker, self.source.kwargs)) is not None
        except UsageError as error:
            self.warn(f"{option('backend', 'device')} refuses it: {error}")
            return False

    @contextlib.contextmanager
    def _finding(self) -> Iterator[None]:
        """Turn an error that would stop training into a finding."""
        try:
            yield
        except UsageError as error:
            self.findings.append(Finding("refused", str(error)))
        except RunError as error:
            self.findings.append(Finding("fails", str(error)))


def _unwrapped(envs: VectorEnv) -> type:
    return type(envs.copies[0][0].env.unwrapped)


def facts_of(trial: Trial, notes: Notes, compiled: bool) -> Facts:
    """Summarize what was played."""
    environment, played = trial.envs.copies[0][0], trial.episodes
    lengths, returns = ([measure(one.rewards) for one in played] for measure in (len, sum))
    rewards = [reward for one in played for reward in one.rewards]
    return Facts(
        spec=trial.spec,
        observation=observation_in_words(environment.observation_space),
        action=action_in_words(environment.action_space),
        limit=environment.limit,
        episodes=len(played),
        truncates=any(one.truncated for one in played),
        lengths=(int(min(lengths)), int(max(lengths))),
        returns=(float(min(returns)), float(max(returns))),
        rewards=(min(rewards), max(rewards)) if rewards else None,
        steps_per_second=notes.steps / notes.seconds if notes.steps and notes.seconds else None,
        compiled=compiled,
    )


def observation_in_words(space: AnySpace) -> str:
    """Describe observations as they are stored."""
    words = in_words(Reader(space).observation)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return f"{words} (one-hot, of {space})"
    if isinstance(space, spaces.Tuple):
        return f"{words} ({', '.join(f'{spaces.flatdim(part):,}' for part in space.spaces)})"
    unlike = isinstance(space, spaces.Box) and len(space.shape) != 1 and not is_image(space)
    return f"{words} (an array of shape {space.shape})" if unlike else words


def action_in_words(space: AnySpace) -> str:
    """Describe actions in the environment's own units."""
    if isinstance(space, spaces.Discrete):
        return f"one of {space.n:,}"
    if not isinstance(space, spaces.Box):
        return f"several choices, {space}"
    size, low, high = int(np.prod(space.shape)), space.low.reshape(-1), space.high.reshape(-1)
    each = "each " * (size > 1)
    alike = (low == low[0]).all() and (high == high[0]).all()
    bounds = f"{each}from {low[0]:g} to {high[0]:g}" if alike else f"each within its own bounds, from {low} to {high}"
    return f"{size} number{'s' * (size > 1)}, {' '.join(bounds.split())}"
