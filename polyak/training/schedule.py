"""What each iteration of a segment of the device loop does, planned on the host by the plan's own arithmetic."""

from typing import NamedTuple

import numpy as np

from polyak.errors import UsageError
from polyak.training.plan import Plan
from polyak.tree import pytree
from polyak.types import Array

MOST_UPDATES = 1_024  # in a segment, so that an interrupt is heard within seconds


@pytree
class Schedule:
    """What each iteration of a segment does, `[iteration]`; all lanes share it."""

    steps: Array  # of every environment
    owed: Array  # updates afterwards
    updates: Array  # made before
    progress: Array  # share of the run's environment steps taken before
    uniform: Array  # whether actions are drawn uniformly
    to_end: Array  # whether it stops where the episode does


class Row(NamedTuple):
    """One iteration of a schedule, as the host plans it."""

    steps: int
    owed: int
    updates: int
    progress: float
    uniform: bool
    to_end: bool


def segment(plan: Plan, env_steps: np.ndarray, updates: int) -> tuple[list[Row], np.ndarray]:
    """Plan the iterations of the next segment; say too how many steps each lane has room for (`[lane]`).

    `env_steps` (`[lane]`) and `updates` were made before. A segment goes up to the next row of the log, or evaluation.
    """
    if plan.updates_per == "episode":
        return _one_episode(plan, env_steps, updates)
    rows, taken, most = list[Row](), int(env_steps[0]), most_iterations(plan)
    mark = _mark(plan, taken)
    while taken < plan.env_steps and len(rows) < most and _mark(plan, taken) == mark:
        warming = taken < plan.warmup
        until = plan.warmup if warming else plan.env_steps
        steps = min(plan.chunk, (until - taken) // plan.envs)
        owed = plan.updates_due(taken + steps * plan.envs, updates)
        uniform = warming and plan.warmup_actions == "uniform"
        rows.append(Row(steps, owed, updates, taken / plan.env_steps, uniform, False))
        taken, updates = taken + steps * plan.envs, updates + owed
    return rows, np.full(len(env_steps), plan.chunk, np.int32)


def _one_episode(plan: Plan, env_steps: np.ndarray, updates: int) -> tuple[list[Row], np.ndarray]:
    """Plan one iteration: an episode in every lane that is not done, or a chunk of the warm-up."""
    warming = bool(env_steps.max() < plan.warmup)
    room = ((plan.warmup if warming else plan.env_steps) - env_steps).clip(0)
    progress = env_steps[room > 0].min() / plan.env_steps  # of the slowest lane, so that it never falls
    uniform, owed = warming and plan.warmup_actions == "uniform", 0 if warming else int(plan.updates)
    return [Row(plan.chunk, owed, updates, float(progress), uniform, not warming)], room.astype(np.int32)


def table(rows: list[Row], most: int) -> Schedule:
    """Turn rows into columns, filled up to the length that the program has."""
    columns = zip(*rows, *[Row(0, 0, 0, 0.0, False, False)] * (most - len(rows)), strict=True)
    kinds = (np.int32, np.int32, np.int32, np.float32, bool, bool)
    return Schedule(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))


def refuse(plan: Plan, limit: int | None) -> None:
    """Raise UsageError for plans that only the host loop can follow in an environment with this time limit."""
    if plan.updates_per == "episode" and (limit is None or limit > plan.chunk):
        raise UsageError(
            "updates per episode on the device need a chunk that holds a whole episode, of"
            f" {'any length' if limit is None else f'up to {limit} steps'}, not chunk = {plan.chunk}:"
            " use --backend host"
        )


def most_iterations(plan: Plan) -> int:
    """Return the most iterations of a segment: those between two rows of the log, within reason."""
    if plan.updates_per == "episode":
        return 1
    wanted = -(-plan.log_interval // (plan.chunk * plan.envs))
    return max(1, min(wanted, MOST_UPDATES // max(plan.most_updates, 1)))


def _mark(plan: Plan, env_steps: int) -> tuple[int, int]:
    """Return a pair that changes where a row of the log, or an evaluation, is due."""
    return env_steps // plan.log_interval, plan.evaluations * env_steps // plan.env_steps
