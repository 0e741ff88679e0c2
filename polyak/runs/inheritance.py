"""What one run has learned as the beginning of another: all of its learners' state, without replay and counts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from polyak import tree
from polyak.errors import UsageError
from polyak.lazy import jax
from polyak.runs import arrays, checkpoint, files
from polyak.runs.arrays import Free
from polyak.training.learn import Task
from polyak.tree import named_leaves
from polyak.types import Tree

if TYPE_CHECKING:
    from polyak.runs.run import Run

STATE = "loop.learner.state"


def inherited(donor: Run, task: Task, config: Tree, lanes: int) -> tuple[Tree, str]:
    """Return the newest state of a run's learners for so many lanes, each array `[lane, ...]`, and what is told of it.

    Where the run has as many seeds, each goes on from its own counterpart; else all from the seed that did best in the
    run's evaluations. Raises UsageError where the run's networks are not those of `config` on these spaces.
    """
    saved, seeds = donor.saved, donor.record.seeds
    if saved.spec != task.spec:
        raise UsageError(f"{donor.folder} was trained on different spaces: {saved.spec}, not {task.spec}")
    theirs = files.settings_from_json(task.algorithm.Config, donor.record.config, donor.folder / "run.json")
    shapes, wanted = (_shapes(task, each, len(seeds)) for each in (theirs, config))
    if named_leaves(shapes) != named_leaves(wanted):
        raise UsageError(
            f"the networks and optimizer states of {donor.folder} do not fit these settings: keep the settings of that"
            " run"
        )
    folder = donor.place / "checkpoint"
    kept = checkpoint.read(folder, checkpoint.settings_of(donor.record))
    template = {"loop": {"learner": {"state": shapes}}}
    saved_arrays = arrays.load_arrays(folder, kept.files.get("arrays"), template, Free({}, only=STATE))
    state = saved_arrays["loop"]["learner"]["state"]
    best_seed, source = saved.record.best_seed, "each seed's counterpart"
    if lanes != len(seeds):
        state, source = tree.take(state, np.full(lanes, seeds.index(best_seed))), f"its seed {best_seed}"
    steps = kept.steps_taken
    return state, (
        f"starts from what {donor.folder} had learned after {steps:,} steps, {source}: networks, targets, optimizers"
        " and statistics, without its replay and its counts"
    )


def _shapes(task: Task, config: Tree, lanes: int) -> Tree:
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), lanes))
    return jax.eval_shape(jax.vmap(partial(task.algorithm.init, config, task.spec)), keys)
