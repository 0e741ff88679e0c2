"""What a caller asks for, checked before anything is written: seeds, environments."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, cast

from polyak import algorithms
from polyak.envs import functional
from polyak.envs.functional import CompiledEnv
from polyak.envs.gymnasium import Environment, VectorEnv
from polyak.envs.make import EnvSource
from polyak.envs.workers import Workers
from polyak.errors import UsageError, nearest, option
from polyak.runs import sizes
from polyak.runs.record import RunRecord
from polyak.training import schedule
from polyak.training.evaluate import Evaluator, InTraining
from polyak.training.job import Job
from polyak.training.plan import Plan
from polyak.types import Algorithm, Json


def lanes_of(seeds: int | Sequence[int]) -> list[int]:
    """List the seeds: a number counts from 0. Raises UsageError for none, repeated or impossible ones."""
    try:
        if isinstance(seeds, bool):
            raise TypeError
        lanes = [operator.index(seed) for seed in seeds] if isinstance(seeds, Iterable) else list(range(seeds))
    except TypeError:
        raise UsageError(f"seeds = {seeds!r} must be a whole number, or a list of them") from None
    if not lanes:
        raise UsageError("seeds is too small: it must be at least 1")
    if len(set(lanes)) < len(lanes) or min(lanes) < 0 or max(lanes) >= 2**32:
        raise UsageError(f"seeds {lanes} must be different numbers from 0 to 2³² - 1")
    return lanes


def json_kwargs(given: dict[str, Json] | None) -> dict[str, Json]:
    """Return keyword arguments for the environment as a file holds them. Raises UsageError where it cannot."""
    if not (given is None or (isinstance(given, dict) and all(isinstance(key, str) for key in given))):
        raise UsageError(f"env_kwargs = {given!r} must be a dictionary of keyword arguments")
    try:
        kwargs: dict[str, Json] = json.loads(json.dumps(given or {}, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            "env_kwargs may hold only JSON values: numbers, text, True, False, None, lists and dictionaries"
            f" ({error}): give a callable that makes the environment with anything else"
        ) from error
    return kwargs


AnyEnvs: TypeAlias = VectorEnv | Workers | CompiledEnv
BACKENDS = ("auto", "host", "device")


def first_of(
    name: str, module: Algorithm, source: EnvSource, plan: Plan, backend: str = "host"
) -> Environment | CompiledEnv:
    """Make one environment, which is closed, or its functional form for the device loop: to see what it is like.

    Raises UsageError where the algorithm cannot take its actions, or the backend not the environment.
    """
    compiled = None if backend == "host" else compiled_for(source, plan, backend)
    first = compiled or Environment(source)
    first.close()
    if not isinstance(first.spec.action, module.acts_on):
        kind = type(first.spec.action)
        others = [other for other, found in algorithms.REGISTRY.items() if kind in found.acts_on]
        remedy = f"use {', '.join(others)}" if others else "choose one with Box actions, such as Pendulum-v1"
        raise UsageError(
            f"{name} does not take {kind.__name__} actions, which {source.name} has ({first.action_space}): {remedy}"
        )
    return first


def make_envs(first: Environment | CompiledEnv, source: EnvSource, lanes: list[int], plan: Plan) -> AnyEnvs:
    """Make every environment of the run, where `first_of` is not all that the device loop needs."""
    if plan.evaluation_envs == 0 and (len(lanes) > 1 or isinstance(first, CompiledEnv)):
        raise UsageError(
            f"evaluation_envs = 0 evaluates in the training environment: it needs one seed, not {len(lanes)}, and"
            f" {option('backend', 'host')}"
        )
    if isinstance(first, CompiledEnv):
        return first
    return Workers(source, lanes, plan.envs, plan.workers) if plan.workers else VectorEnv(source, lanes, plan.envs)


def compiled_for(source: EnvSource, plan: Plan, backend: str) -> CompiledEnv | None:
    """Return the functional form of an environment; with "auto" None where it has none, or the plan needs the host."""
    if backend not in BACKENDS:
        raise UsageError(f"backend = {backend!r} is unknown: {nearest(str(backend), BACKENDS)}")
    found = functional.find(source)
    if found is None and backend == "device":
        raise UsageError(
            f"{source.name} cannot be compiled: the device loop takes FuncEnvs written in JAX, and"
            f" {', '.join(functional.TWINS)} with no arguments other than max_episode_steps; use"
            f" {option('backend', 'host')}"
        )
    if found is None or (backend == "auto" and not schedule.fits(plan, found.limit)):
        return None
    schedule.validate(plan, found.limit)
    return found


def heading(record: RunRecord, job: Job[AnyEnvs]) -> str:
    """Say in a line what is trained where, and what it takes."""
    count, spread, workers = len(job.seeds), record.devices, job.plan.workers
    given = ", ".join(f"{key} = {value!r}" for key, value in record.env_kwargs.items())
    stepped = f"in {workers} worker process{'es' * (workers > 1)}" if workers else "in Python"
    words = [
        f"{record.algorithm} on {record.env}{given and f' ({given})'}: {count} seed{'s' * (count > 1)}",
        f"{spread} device{'s' * (spread > 1)} ({record.device})",
        f"environments {'compiled' if isinstance(job.envs, CompiledEnv) else stepped}",
    ]
    if job.algorithm.learns_from == "replay":
        replay = sizes.replay_bytes(job.task, job.config, count)
        words.append(f"replay buffer{'s' * (count > 1)} {sizes.size(replay)}")
    return ", ".join(words)


def scorer_of(source: EnvSource, job: Job[AnyEnvs], stop: Callable[[], None]) -> Evaluator:
    """Return what plays evaluation episodes on the host, in copies of the environment or in the one that trains."""
    if job.plan.evaluation_envs == 0 and isinstance(job.envs, VectorEnv):
        return InTraining(cast(Job[VectorEnv], job), job.envs.copies[0][0], stop)
    return Evaluator(job.algorithm, job.config, lambda: Environment(source), job.plan, stop)


FEW_UPDATES = 100  # with fewer than this, nothing is learned


def warnings_of(source: EnvSource, plan: Plan, limit: int | None) -> Iterator[str]:
    """Say what will surprise the user later; `limit` is the environment's time limit, None where it has none."""
    if not source.can_be_found:
        yield (
            f"{source.name} cannot be found by this name later: resume, evaluate and watch need the environment given"
            " from Python, unless a module has it at its top level"
        )
    fewest = plan.fewest_updates(limit)
    if fewest is not None and fewest < FEW_UPDATES:
        yield (
            f"updates follow each episode, and with episodes of up to {limit:,} steps there may be only"
            f" {fewest:,} of them: train longer, or count updates by step ({option('plan.updates_per')})"
        )
    if limit is None and not plan.evaluation_steps:
        yield (
            f"{source.name} has no time limit: evaluation episodes are cut after"
            f" {plan.evaluation_limit(None):,} steps; {option('plan.evaluation_steps')} changes that"
        )
