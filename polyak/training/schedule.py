"""What each iteration of a segment of the device loop does, planned on the host by the plan's own arithmetic."""

from typing import NamedTuple

import numpy as np

from polyak import tree
from polyak.errors import UsageError, option
from polyak.training.plan import Plan
from polyak.types import Array

MOST_UPDATES, MOST_STEPS = 1_024, 16_384  # in a segment of each seed, so that an interrupt is heard within seconds


class Iteration(NamedTuple):
    """What one iteration does; all lanes share it."""

    steps: int  # of every environment
    owed: int  # updates afterwards
    updates: int  # made before
    progress: float  # share of the run's environment steps taken before
    uniform: bool  # whether actions are drawn uniformly
    to_end: bool  # whether it stops where the episode does


@tree.pytree
class Schedule:
    """The iterations of a segment as arrays `[iteration]`, for the program."""

    steps: Array
    owed: Array
    updates: Array
    progress: Array
    uniform: Array
    to_end: Array


def segment(plan: Plan, env_steps: np.ndarray, updates: int) -> tuple[list[Iteration], np.ndarray]:
    """Plan the iterations of the next segment; say too how many steps each lane has room for (`[lane]`).

    `env_steps` (`[lane]`) and `updates` were made before. A segment goes up to the next row of the log, or evaluation.
    """
    if plan.updates_per == "episode":
        return _one_episode(plan, env_steps, updates)
    rows, taken, most = list[Iteration](), int(env_steps[0]), most_iterations(plan)
    mark = _mark(plan, taken)
    while taken < plan.env_steps and len(rows) < most and _mark(plan, taken) == mark:
        warming = taken < plan.warmup
        until = plan.warmup if warming else plan.env_steps
        steps = min(plan.chunk, (until - taken) // plan.envs)
        owed = plan.updates_due(taken + steps * plan.envs, updates)
        uniform = warming and plan.warmup_actions == "uniform"
        rows.append(Iteration(steps, owed, updates, taken / plan.env_steps, uniform, False))
        taken, updates = taken + steps * plan.envs, updates + owed
    return rows, np.full(len(env_steps), plan.chunk, np.int32)


def _one_episode(plan: Plan, env_steps: np.ndarray, updates: int) -> tuple[list[Iteration], np.ndarray]:
    """Plan one iteration: an episode in every lane that is not done, or a chunk of the warm-up."""
    warming = bool(env_steps.max() < plan.warmup)
    room = ((plan.warmup if warming else plan.env_steps) - env_steps).clip(0)
    progress = float(env_steps[room > 0].min()) / plan.env_steps  # of the slowest lane, so that it never falls
    uniform, owed = warming and plan.warmup_actions == "uniform", 0 if warming else int(plan.updates)
    return [Iteration(plan.chunk, owed, updates, progress, uniform, not warming)], room.astype(np.int32)


def table(rows: list[Iteration], most: int) -> Schedule:
    """Join iterations, filled up with empty ones to the length that the program has."""
    columns = [np.zeros(most, kind) for kind in KINDS]
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        column[: len(rows)] = values
    return Schedule(*columns)


KINDS = (np.int32, np.int32, np.int32, np.float32, np.bool_, np.bool_)


def fits(plan: Plan, limit: int | None) -> bool:
    """Say whether the device loop can follow a plan in an environment with this time limit."""
    return not plan.workers and (plan.updates_per != "episode" or (limit is not None and limit <= plan.chunk))


def refuse(plan: Plan, limit: int | None) -> None:
    """Raise UsageError for plans that only the host loop can follow in an environment with this time limit."""
    if plan.workers:
        raise UsageError(
            f"workers = {plan.workers} step environments in Python, which the device loop does not: use workers = 0, or"
            f" {option('backend', 'host')}"
        )
    if not fits(plan, limit):
        raise UsageError(
            "updates per episode on the device need a chunk that holds a whole episode, of"
            f" {'any length' if limit is None else f'up to {limit} steps'}, not chunk = {plan.chunk}:"
            f" use {option('backend', 'host')}"
        )


def most_iterations(plan: Plan) -> int:
    """Return the most iterations of a segment: those between two rows of the log, within reason."""
    if plan.updates_per == "episode":
        return 1
    steps = plan.chunk * plan.envs
    wanted = -(-plan.log_interval // steps)
    return max(1, min(wanted, MOST_UPDATES // max(plan.most_updates, 1), MOST_STEPS // steps))


def _mark(plan: Plan, env_steps: int) -> tuple[int, int]:
    """Return a pair that changes where a row of the log, or an evaluation, is due."""
    return env_steps // plan.log_interval, plan.evaluations * env_steps // plan.env_steps
