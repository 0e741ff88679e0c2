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
    num_updates: int  # updates afterwards
    updates: int  # made before
    uniform: bool  # whether actions are drawn uniformly


@tree.pytree
class Schedule:
    """The iterations of a segment as arrays `[iteration]`, for the program."""

    steps: Array
    num_updates: Array
    updates: Array
    uniform: Array


@tree.pytree
class Share:
    """What each lane may do in each iteration of a segment; every field has a leading lane axis."""

    steps: Array  # [] most steps of every environment; 0: the lane is finished
    episodes: Array  # [] episodes after which it stops; only with updates per episode
    progress: Array  # [iteration] share of its run behind it when the iteration begins


def segment(plan: Plan, env_steps: np.ndarray, episodes: np.ndarray, updates: int) -> tuple[list[Iteration], Share]:
    """Plan the iterations of the next segment, and each lane's share in them.

    `env_steps`, `episodes` (both `[lane]`) and `updates` were made before. A segment ends where a row of the log, or an
    evaluation, is due.
    """
    if plan.by_episode:
        return _one_episode(plan, env_steps, episodes, updates)
    lanes, rows, shares = len(env_steps), list[Iteration](), list[float]()
    taken, most = int(env_steps[0]), most_iterations(plan)
    mark = _mark(plan, taken)
    while taken < plan.env_steps and len(rows) < most and _mark(plan, taken) == mark:
        warming = taken < plan.learning_starts
        until = plan.learning_starts if warming else plan.env_steps
        steps = min(plan.rollout_length, (until - taken) // plan.envs)
        num_updates = plan.updates_due(taken + steps * plan.envs, updates)
        uniform = warming and plan.starts_uniformly
        rows.append(Iteration(steps, num_updates, updates, uniform))
        shares.append(taken / plan.env_steps)
        taken, updates = taken + steps * plan.envs, updates + num_updates
    lengths, progress = np.full(lanes, plan.rollout_length, np.int32), np.tile(_filled(shares, most), (lanes, 1))
    return rows, Share(lengths, plan.episodes_left(episodes, warming=False), progress)


def _one_episode(
    plan: Plan, env_steps: np.ndarray, episodes: np.ndarray, updates: int
) -> tuple[list[Iteration], Share]:
    """Plan one iteration: an episode in every lane that is not finished, or a rollout of the warm-up."""
    warming = bool(env_steps.max() < plan.learning_starts)
    room = ((plan.learning_starts if warming else plan.env_steps) - env_steps).clip(0)
    room = np.where(plan.finished(env_steps, episodes), 0, room)
    uniform, num_updates = warming and plan.starts_uniformly, 0 if warming else plan.most_updates
    progress = plan.progress(env_steps, episodes).astype(np.float32)[:, None]
    share = Share(room.astype(np.int32), plan.episodes_left(episodes, warming), progress)
    return [Iteration(plan.rollout_length, num_updates, updates, uniform)], share


def _filled(values: list[float], length: int) -> np.ndarray:
    return np.pad(np.asarray(values, np.float32), (0, length - len(values)))


def table(rows: list[Iteration], most: int) -> Schedule:
    """Join iterations, filled up with empty ones to the length that the program has."""
    columns = [np.zeros(most, dtype) for dtype in DTYPES]
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        column[: len(rows)] = values
    return Schedule(*columns)


DTYPES = (np.int32, np.int32, np.int32, np.bool_)


def fits(plan: Plan, limit: int | None) -> bool:
    """Say whether the device loop can follow a plan in an environment with this time limit."""
    return not plan.workers and (not plan.by_episode or (limit is not None and limit <= plan.rollout_length))


def validate(plan: Plan, limit: int | None) -> None:
    """Raise UsageError for plans that only the host loop can follow in an environment with this time limit."""
    if plan.workers:
        raise UsageError(
            f"workers = {plan.workers} step environments in Python, which the device loop does not: use workers = 0, or"
            f" {option('backend', 'host')}"
        )
    if not fits(plan, limit):
        raise UsageError(
            "updates per episode on the device need a rollout that holds a whole episode, of"
            f" {'any length' if limit is None else f'up to {limit} steps'}, not rollout_length = {plan.rollout_length}:"
            f" use {option('backend', 'host')}"
        )


def most_iterations(plan: Plan) -> int:
    """Return the most iterations of a segment: those between two rows of the log, within reason."""
    if plan.by_episode:
        return 1
    steps = plan.rollout_length * plan.envs
    wanted = -(-plan.log_interval // steps)
    return max(1, min(wanted, MOST_UPDATES // max(plan.most_updates, 1), MOST_STEPS // steps))


def _mark(plan: Plan, env_steps: int) -> tuple[int, int]:
    """Return a pair that changes where a row of the log, or an evaluation, is due."""
    return env_steps // plan.log_interval, int(plan.evaluations_due(np.asarray(env_steps), np.zeros(())))
