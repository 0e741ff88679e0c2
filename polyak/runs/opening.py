"""How a session begins: with fresh learners, at a run's checkpoint, or with what another run has learned."""

from __future__ import annotations

import dataclasses

from polyak.errors import UsageError, option
from polyak.runs.settings import left_over, whole_steps
from polyak.training.plan import Plan
from polyak.types import Tree


@dataclasses.dataclass(frozen=True)
class Opening:
    """How a session begins, and what is told of it."""

    resumed: bool = False
    messages: tuple[str, ...] = ()
    state: Tree = None  # of the learners of another run


def lengthened(plan: Plan, steps: object, taken: int) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan of a run that goes on to `steps` steps in all, and what is told of that.

    Raises UsageError where the run has taken as many already, or is to end after episodes.
    """
    steps = whole_steps(steps)
    if plan.max_episodes is not None:
        raise UsageError(f"the run ends after {plan.max_episodes:,} episodes: more steps would not extend it")
    unit = plan.unit
    whole = steps // unit * unit
    if whole <= taken:
        raise UsageError(
            f"the run has already taken {taken:,} steps: {option('steps')} is the total, and must be at least"
            f" {taken + unit:,}"
        )
    messages = [left_over(type(plan), steps, whole, unit)] if whole < steps else []
    messages.append(
        f"continues from step {taken:,} to {whole:,} instead of {plan.env_steps:,}: schedules, such as annealed"
        " learning rates, now follow the new length"
    )
    return dataclasses.replace(plan, env_steps=whole), tuple(messages)
