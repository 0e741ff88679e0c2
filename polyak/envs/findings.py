"""Warnings about played episodes that will not stop training: each a sentence that contains the fix."""

import warnings
from collections.abc import Iterator

import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import NormalizeObservation, NormalizeReward

from polyak.envs.observations import Part, Reader
from polyak.envs.spaces import AnySpace
from polyak.envs.trial import Played
from polyak.envs.witness import Notes
from polyak.envs.wrappers import settings_for
from polyak.errors import option
from polyak.tree import same
from polyak.types import Obs

HAIR = 1e-6  # relative tolerance of bounds: float32 cannot represent every bound
FAR = 1_000.0  # networks learn poorly from larger numbers, and from scales that differ by a larger factor
SLOW = 0.005  # seconds
OFTEN = 100_000  # steps, the length of a default run


def surprises(space: AnySpace, episodes: list[Played], notes: Notes) -> Iterator[str]:
    """Yield warnings about these episodes of an environment with this observation space."""
    yield from notes.surprises.values()
    if not episodes:
        return
    seen = [obs for played in episodes for obs in played.obs]
    vectors = [part for part in Reader(space).parts if part.array.is_vector]
    rows = np.concatenate(
        [np.array([_part_of(obs, part) for obs in seen], np.float64) for part in vectors] or [np.zeros((len(seen), 0))],
        -1,
    )
    yield from _outside(vectors, rows)
    yield from _scales(rows)
    if all(same(obs, seen[0]) for obs in seen):
        yield (
            f"all {len(seen):,} observations were the same, so a policy cannot distinguish states: check that reset()"
            " and step() return the current state"
        )
    yield from _rewards(episodes)
    if all(played.ended and len(played.rewards) == 1 for played in episodes):
        yield (
            "every episode ended at its first step, so no action has later consequences: if this is not intended, check"
            " what step() returns as terminated and truncated"
        )
    yield from _speed(notes)


def _part_of(obs: Obs, part: Part) -> np.ndarray:
    found: np.ndarray = obs[part.name] if part.path else obs
    return found


def _outside(vectors: list[Part], rows: np.ndarray) -> Iterator[str]:
    with warnings.catch_warnings():  # Gymnasium warns when it converts float64 bounds
        warnings.simplefilter("ignore")
        flat = [spaces.flatten_space(part.space) for part in vectors]
    low, high = (np.array([x for box in flat for x in getattr(box, end)], np.float64) for end in ("low", "high"))
    outside = (rows < low - HAIR * np.maximum(abs(low), 1)) | (rows > high + HAIR * np.maximum(abs(high), 1))
    if outside.any():
        row, i = np.argwhere(outside)[0]
        yield (
            f"observations leave their space: number {i + 1} was {rows[row, i]:g}, outside its bounds"
            f" [{low[i]:g}, {high[i]:g}]; polyak does not clip observations, but other libraries and wrappers rely on"
            " the bounds: widen them in observation_space"
        )


def _scales(rows: np.ndarray) -> Iterator[str]:
    numbers = [i for i in range(rows.shape[1]) if not np.isin(rows[:, i], (0, 1)).all()]  # the others may be indices
    spread = {i: rows[:, i].std() for i in numbers if np.ptp(rows[:, i]) > 0}
    ours = f"set {settings_for(NormalizeObservation)}, or scale the numbers in the environment"
    if spread and max(spread.values()) > FAR * min(spread.values()):
        most, least = max(spread, key=spread.__getitem__), min(spread, key=spread.__getitem__)
        yield (
            f"the numbers of an observation differ widely in scale: the standard deviation of number {most + 1} is"
            f" {spread[most]:.2g}, that of number {least + 1} only {spread[least]:.2g}; {ours}"
        )
    elif abs(rows).max(initial=0) > FAR:
        i = int(abs(rows).max(axis=0).argmax())
        yield f"number {i + 1} of the observation is as large as {abs(rows[:, i]).max():,.4g}; {ours}"


def _rewards(episodes: list[Played]) -> Iterator[str]:
    rewards = np.concatenate([played.rewards for played in episodes])
    same = (rewards == rewards[0]).all()
    if same and (rewards[0] == 0 or not any(played.terminated for played in episodes)):
        yield (
            f"each of {len(rewards):,} random steps was rewarded with {rewards[0]:g}, so random actions do not show"
            " what is better: if the return does not improve in training, reward progress toward the goal"
        )
    if abs(rewards).max() > FAR:
        yield (
            f"rewards are as large as {abs(rewards).max():,.4g}, but networks learn best from rewards near 1: set"
            f" {settings_for(NormalizeReward)}"
        )


def _speed(notes: Notes) -> Iterator[str]:
    each = notes.seconds / max(notes.steps, 1)
    if each > SLOW:
        yield (
            f"a step takes {1000 * each:,.0f} ms including resets, so {OFTEN:,} steps take {_duration(each * OFTEN)} in"
            f" the environment alone: {option('plan.workers')} steps several seeds or environments in parallel"
            " processes"
        )


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} hours" if seconds > 5400 else f"{seconds / 60:,.0f} minutes"
