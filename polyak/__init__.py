"""Deep reinforcement learning around deterministic policy gradients: train, evaluate and keep agents.

import polyak
run = polyak.train("ddpg", "Pendulum-v1", steps=20_000, seeds=5)
action = run.policy(obs)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyak.errors import RunError, UsageError
    from polyak.runs.audience import Progress
    from polyak.runs.check import check_env
    from polyak.runs.plot import plot
    from polyak.runs.policy import Policy
    from polyak.runs.resume import resume
    from polyak.runs.run import Run, load
    from polyak.runs.train import train
    from polyak.training.plans import ReplayPlan, RolloutPlan

__version__ = "0.1.0"
__all__ = [
    "Policy",
    "Progress",
    "ReplayPlan",
    "RolloutPlan",
    "Run",
    "RunError",
    "UsageError",
    "check_env",
    "load",
    "plot",
    "resume",
    "train",
]

_WHERE = {
    "Policy": "polyak.runs.policy",
    "Progress": "polyak.runs.audience",
    "ReplayPlan": "polyak.training.plans",
    "RolloutPlan": "polyak.training.plans",
    "Run": "polyak.runs.run",
    "RunError": "polyak.errors",
    "UsageError": "polyak.errors",
    "check_env": "polyak.runs.check",
    "load": "polyak.runs.run",
    "plot": "polyak.runs.plot",
    "resume": "polyak.runs.resume",
    "train": "polyak.runs.train",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `polyak --help` does not wait for JAX."""
    import importlib

    if name not in _WHERE:
        raise AttributeError(f"module 'polyak' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
