"""How a session begins: with fresh learners, at a run's checkpoint, or with what another run has learned."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from polyak.errors import UsageError, option
from polyak.runs.settings import is_count, left_over
from polyak.training.plan import Plan


@dataclasses.dataclass(frozen=True)
class Opening:
    """How a session begins, and what is told of it."""

    resumed: bool = False
    messages: tuple[str, ...] = ()
    state: Any = None  # of the learners of another run


def lengthened(plan: Plan, learns_from: str, steps: Any, taken: int) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan of a run that goes on to `steps` steps in all, and what is told of that.

    Raises UsageError where the run has taken as many already, or is to end after episodes.
    """
    if not is_count(steps, least=1):
        raise UsageError(f"steps = {steps!r} must be a whole number, at least 1")
    if plan.episodes is not None:
        raise UsageError(f"the run ends after {plan.episodes:,} episodes: steps do not make it longer")
    unit = plan.envs * (plan.rollout_length if learns_from == "rollout" else 1)
    whole = int(steps) // unit * unit
    if whole <= taken:
        raise UsageError(
            f"the run has taken {taken:,} steps: {option('steps', steps)} must be at least {taken + unit:,}, as it"
            " counts those before too"
        )
    messages = [left_over(learns_from, int(steps), whole, unit)] if whole < steps else []
    messages.append(
        f"goes on from step {taken:,} to {whole:,}, planned were {plan.env_steps:,}: whatever changes in the course of"
        " the run, such as annealed rates, now follows the new length"
    )
    return dataclasses.replace(plan, env_steps=whole), tuple(messages)


def steps_taken(checkpoint: dict[str, Any]) -> int:
    """Return the most environment steps that a seed has taken at a checkpoint."""
    return int(np.max(checkpoint["env_steps"]))
