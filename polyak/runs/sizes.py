"""Whether what is asked for fits into memory: networks, replay buffers, rollouts."""

from __future__ import annotations

import math
from decimal import Decimal

from polyak.errors import UsageError
from polyak.lazy import jax
from polyak.numerics.precision import in_32_bits
from polyak.training import devices
from polyak.training.learn import Task, sampling_of
from polyak.training.plans import ReplayPlan
from polyak.types import Tree


def refuse_unfit(task: Task, config: Tree, lanes: int) -> None:
    """Raise UsageError where an algorithm cannot start with its settings on these environments, in this memory."""
    with in_32_bits():
        state = jax.eval_shape(lambda key: task.algorithm.init(config, task.spec, key), jax.random.key(0))
    needed = lanes * sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    memory = devices.memory(lanes)
    if needed > memory:
        raise UsageError(
            f"the networks would take {size(needed)} of {size(memory)} of memory: use narrower layers, or fewer seeds"
        )


def replay_bytes(task: Task, config: Tree, lanes: int) -> int:
    """Return the size of all lanes' replay buffers, with their priorities where replay is prioritized."""
    return task.plan.room() * _row_bytes(task, config, lanes)


def _row_bytes(task: Task, config: Tree, lanes: int) -> int:
    prioritized = sampling_of(task.algorithm, config).priority_alpha is not None
    return (task.spec.transition_bytes + 4 * prioritized) * lanes


def refuse_too_large(task: Task, config: Tree, lanes: int) -> None:
    """Raise UsageError if replay buffer and minibatches, or rollouts, cannot fit into memory; suggest what can."""
    if task.algorithm.learns_from != "replay":
        _refuse_large_rollout(task, config, lanes)
        return
    assert isinstance(task.plan, ReplayPlan)
    memory, plan = devices.memory(lanes), task.plan
    most, drawn = int(memory * 0.8), plan.most_updates * plan.batch * task.spec.transition_bytes * lanes
    row = _row_bytes(task, config, lanes)
    if drawn + max(plan.batch, plan.rollout_length * plan.envs) * row > most:  # no capacity would do
        raise UsageError(
            f"the minibatches of one iteration, which are drawn at once, would take {size(drawn)} of {size(memory)} of"
            f" memory: lower updates = {plan.updates:g}, batch = {plan.batch}, or rollout_length ="
            f" {plan.rollout_length}"
        )
    replay = replay_bytes(task, config, lanes)
    if replay > most - drawn:
        raise UsageError(
            f"the replay buffer would take {size(replay)} ({lanes} × {replay // row:,} transitions) of"
            f" {size(memory)} of memory: use a capacity of {(most - drawn) // row:,} or less"
        )


def _refuse_large_rollout(task: Task, config: Tree, lanes: int) -> None:
    """Count the rollout on the host, on the device, and the minibatches of all epochs, which are gathered at once."""
    memory, plan, copies = devices.memory(lanes), task.plan, 2 + getattr(config, "epochs", 1)
    step = task.spec.transition_bytes * plan.envs * lanes * copies  # bytes
    if step * plan.rollout_length > memory * 0.8:
        fits = max(int(memory * 0.8) // step, 1)
        raise UsageError(
            f"the rollout of rollout_length × envs = {plan.rollout_length} × {plan.envs} transitions of {lanes}"
            f" seed{'s' * (lanes > 1)} would take {size(step * plan.rollout_length)} of {size(memory)} of memory during"
            " the update: use a rollout_length"
            f" of {fits:,} or less"
        )


def size(count: int) -> str:
    """Write a number of bytes in words."""
    amount = Decimal(count) / 1024  # a float cannot hold every size that is refused
    for unit in ("KiB", "MiB"):
        if amount < 1000:
            return f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} GiB" if amount < 10**6 else f"{amount:.1e} GiB"
