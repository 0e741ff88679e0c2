"""Environments in worker processes: what they would be in this one, and no worker outlives its run."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from polyak.envs.gymnasium import Worlds
from polyak.envs.workers import Workers
from polyak.errors import RunError, UsageError
from polyak.training.host import Training
from polyak.training.plan import Plan
from tests import toys
from tests.compare import assert_identical
from tests.walk import Breaking, Walk

SEEDS, ENVS = (3, 8), 2


def fail(obs: Any, reward: float) -> Any:
    raise ArithmeticError("the motor is stuck")


def vanish(obs: Any, reward: float) -> Any:
    os._exit(7)


@pytest.fixture(scope="module")
def three() -> Iterator[Workers]:  # for four environments
    with closing(Workers(Walk, SEEDS, ENVS, workers=3)) as workers:
        yield workers


def arrays(worlds: Any) -> dict[str, Any]:
    names = ("obs", "next_obs", "reward", "terminated", "truncated", "episodes")
    numbers = {name: np.array(getattr(worlds, name)) for name in names}
    return {**numbers, "actions": [[list(taken) for taken in lane] for lane in worlds.actions]}


def steps(worlds: Any, count: int, lanes: Any = (0, 1), seed: int = 0) -> list[Any]:
    """Step with random actions; return what all arrays were after each step, and the episodes that ended."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(count):
        ended = worlds.step(rng.uniform(-1, 1, (len(SEEDS), ENVS, 1)).astype(np.float32), lanes)
        seen.append((arrays(worlds), [vars(episode) for episode in ended]))
    return seen


def push(workers: Workers, count: int) -> None:
    for _ in range(count):
        workers.step(np.zeros((workers.lanes, workers.envs, 1), np.float32), range(workers.lanes))


def test_workers_step_restore_and_skip_lanes_as_one_process_does(three: Workers) -> None:
    plain = Worlds(Walk, SEEDS, ENVS)
    assert_identical(arrays(three), arrays(plain))
    assert_identical(steps(three, 25), steps(plain, 25))
    at = plain.episodes.copy(), [[list(taken) for taken in lane] for lane in plain.actions]
    assert_identical(steps(three, 6, lanes=[1], seed=1), steps(plain, 6, lanes=[1], seed=1))
    onward = steps(plain, 9, seed=2)
    three.restore(*at)
    steps(three, 6, lanes=[1], seed=1)
    assert_identical(steps(three, 9, seed=2), onward)


def test_a_run_with_workers_is_bit_for_bit_the_run_without() -> None:
    plan = Plan(env_steps=60, envs=ENVS, warmup=20, chunk=4, batch=4)
    plain = toys.finish(Training(toys.linear, toys.Config(), plan, Worlds(Walk, SEEDS, ENVS), SEEDS))
    with closing(Workers(Walk, SEEDS, ENVS, workers=2)) as workers:
        training = Training(toys.linear, toys.Config(), plan, workers, SEEDS)
        while training.env_steps.min() < 36:
            training.advance()
        moment = jax.tree.map(np.array, training.snapshot())
        assert_identical(toys.finish(training).policy, plain.policy)
        training.restore(moment)
        assert_identical(toys.finish(training).policy, plain.policy)


def test_an_error_names_step_seed_and_environment_as_without_workers() -> None:
    with closing(Workers(partial(Breaking, 4, fail), (5,), 2, workers=2)) as workers:
        push(workers, 3)
        with pytest.raises(RunError, match=r"at step 4 of episode 0 of seed 5, environment 0: Arith.*motor is stuck"):
            push(workers, 1)


def test_a_worker_that_dies_is_an_error_with_its_exit_code() -> None:
    with closing(Workers(partial(Breaking, 2, vanish), (5,), 1, workers=1)) as workers:
        push(workers, 1)
        with pytest.raises(RunError, match=r"worker 0.* exit code 7"):
            push(workers, 1)


def test_signals_do_not_end_a_worker_but_closing_does(three: Workers) -> None:
    with closing(Workers(Walk, (1,), 1, workers=1)) as workers:
        (process,) = workers.processes
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(process.pid, number)
        time.sleep(0.05)
        push(workers, 1)
        began = time.monotonic()
    assert process.exitcode == 0
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("env", "workers", "words"),
    [
        (Walk, 3, "workers = 3 is more than the environments there are, 2: use 2 or less"),
        (lambda: Walk(), 1, "cannot be sent to worker processes .*lambda.* top of a module; or use workers = 0"),
        ("Nowhere-v1", 1, "unknown environment 'Nowhere-v1'"),
    ],
    ids=["too many", "lambda", "unknown"],
)
def test_is_refused_before_anything_starts(env: Any, workers: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Workers(env, (0,), 2, workers)
