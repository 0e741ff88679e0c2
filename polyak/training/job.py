"""What is trained, in one piece: what loops, evaluators and sessions are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from polyak.training.learn import Task
from polyak.training.plan import Plan
from polyak.training.protocols import CompiledEnv, VectorEnv
from polyak.types import Algorithm, Tree

Envs_co = TypeVar("Envs_co", bound=VectorEnv | CompiledEnv, covariant=True)


@dataclass(frozen=True, eq=False)
class Job(Generic[Envs_co]):
    """An algorithm with its settings, to be trained by a plan in environments, once for each seed."""

    algorithm: Algorithm
    config: Tree
    plan: Plan
    envs: Envs_co
    seeds: Sequence[int]

    @property
    def task(self) -> Task:
        """Return what a compiled program is made for."""
        return Task(self.algorithm, self.plan, self.envs.spec)
