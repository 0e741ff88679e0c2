"""Environments in worker processes, for those whose steps cost more than a message to another process and back.

Each worker holds a share of the environments, each in its own `VectorEnv`, so that episodes, their seeds and their
errors are the same as without workers, bit for bit. Numbers are in memory that the processes share; a pipe to each
worker carries commands, and returns the episodes that ended.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from multiprocessing.util import Finalize
from typing import Any

import numpy as np

from polyak.envs.forks import SIGNALS
from polyak.envs.gymnasium import Environment
from polyak.envs.make import EnvSource, Maker
from polyak.envs.worker import SAFE_PATH, SAFE_PATH_OF_WORKERS, Memory, Table, work
from polyak.errors import RunError, UsageError, reason
from polyak.tree import map_leaves, take
from polyak.types import EnvSpec, Episode, Obs

START = multiprocessing.get_context("spawn")  # a fork of a process with JAX threads may hang
PATIENCE = 5.0  # seconds for the workers to end by themselves
HURRY = 0.5  # the same if one is still busy with a step, because Ctrl-C was pressed twice


class Workers:
    """The environments of all lanes, `num_envs` for each seed, stepped by worker processes, as a `VectorEnv`.

    Raises UsageError if the environment cannot be made or cannot be sent to another process; RunError if a worker ends
    while it starts.
    """

    def __init__(self, env: Maker, seeds: Sequence[int], num_envs: int, workers: int):
        count, source = len(seeds) * num_envs, EnvSource.of(env)
        validate(source, workers, count)
        one = Environment(source)
        one.close()
        self.spec, self.action_space, self.observation_space = one.spec, one.action_space, one.observation_space
        self.limit = one.limit
        self.lanes, self.num_envs = len(seeds), num_envs
        arrays = self.spec, count, Table.block(self.spec, count)
        table, shape = Table(*arrays), (self.lanes, num_envs)
        by_lane = map_leaves(lambda column: column.reshape(*shape, *column.shape[1:]), table.columns)
        self.obs, self.next_obs = by_lane["obs"], by_lane["next_obs"]
        self.reward, self.terminated, self.truncated = (by_lane[name] for name in ("reward", "terminated", "truncated"))
        self.given = by_lane["action"]
        self.episodes = np.zeros(shape, np.int64)
        self.actions: list[list[list[np.ndarray]]] = [[[] for _ in range(num_envs)] for _ in seeds]
        self.shares = np.array_split(np.arange(count), workers)  # the environments of each worker, by number
        self.pipes, self.processes = list[Connection](), list[SpawnProcess]()
        self.busy = set(range(workers))  # workers that have not answered yet
        # also at exit, before multiprocessing waits for its children, which wait for us
        self.close = Finalize(self, _end, args=(self.pipes, self.processes, self.busy), exitpriority=10)
        named = [(seed, e) for seed in seeds for e in range(num_envs)]
        try:
            for share in self.shares:
                self._begin(source, [named[i] for i in share], share, arrays)
            self._replies(range(workers))
        except BaseException as error:
            self.close()
            if not isinstance(error, UsageError):
                raise
            raise UsageError(f"in a worker process: {error}; register ids in a module, named as module:Id") from error

    def _begin(
        self, source: EnvSource, named: list[tuple[int, int]], share: np.ndarray, table: tuple[EnvSpec, int, Memory]
    ) -> None:
        """Start a worker."""
        ours, theirs = START.Pipe()
        process = START.Process(target=work, args=(theirs, source, named, share, table))
        self.pipes.append(ours)
        try:
            with _safe_path(), _blocked():
                process.start()
        except OSError as error:
            count, asked = len(self.processes), len(self.shares)
            raise RunError(
                f"cannot start worker {count + 1} of {asked} ({reason(error)}): use fewer workers"
            ) from error
        finally:
            theirs.close()  # close our copy, so that the pipe ends with the worker
        self.processes.append(process)

    def step(self, actions: np.ndarray, lanes: Sequence[int]) -> list[Episode]:
        """Step all environments of the given lanes with actions `[lane, env, ...]`; return the episodes that ended.

        Raises RunError as `VectorEnv.step` does, and if a worker was killed.
        """
        self.given[:] = actions
        found = list[tuple[int, float, int]]()
        for taken in self._step(lanes):
            found += taken
        for lane in lanes:
            for e in range(self.num_envs):
                self.actions[lane][e].append(actions[lane, e])
        ended = [Episode(*divmod(int(i), self.num_envs), total, length) for i, total, length in found]
        for episode in ended:
            self.episodes[episode.lane, episode.env] += 1
            self.actions[episode.lane][episode.env] = []
        return ended

    def restore(self, episodes: np.ndarray, actions: list[list[list[np.ndarray]]], obs: Obs) -> list[tuple[int, int]]:
        """Restore every environment, as `VectorEnv.restore` does."""
        self.episodes[:] = episodes
        self.actions = [[list(taken) for taken in lane] for lane in actions]
        flat = [taken for lane in actions for taken in lane]
        seen = map_leaves(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), obs)
        for worker, share in enumerate(self.shares):
            which = [int(episodes.flat[i]) for i in share], [flat[i] for i in share], take(seen, share)
            self._send(worker, ("restore", which))
        elsewhere = [divmod(int(i), self.num_envs) for some in self._replies(range(len(self.pipes))) for i in some]
        for lane, e in elsewhere:
            self.episodes[lane, e] += 1
            self.actions[lane][e] = []
        return elsewhere

    def _step(self, lanes: Sequence[int]) -> list[list[tuple[int, float, int]]]:
        """Let all workers step their environments of these lanes in parallel."""
        asked, every = [], len(lanes) == self.lanes
        for worker, share in enumerate(self.shares):
            which = None if every else np.flatnonzero(np.isin(share // self.num_envs, lanes))
            if which is None or len(which):
                self._send(worker, ("step", (which,)))
                asked.append(worker)
        return self._replies(asked)

    def _replies(self, workers: Sequence[int]) -> list[Any]:
        """Wait for the answers of these workers. Raises the error of the first that failed."""
        replies = [self._reply(worker) for worker in workers]
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies

    def _send(self, worker: int, message: object) -> None:
        self.busy.add(worker)
        with contextlib.suppress(OSError):  # the worker is gone, which `_reply` reports
            self.pipes[worker].send(message)

    def _reply(self, worker: int) -> Any:
        try:
            answer = self.pipes[worker].recv()
            self.busy.discard(worker)
            return answer
        except (EOFError, OSError):
            self.busy.discard(worker)
            process = self.processes[worker]
            process.join(PATIENCE)
            return RunError(
                f"worker {worker}, a process that steps environments, ended with exit code {process.exitcode}: its"
                ' output says why; scripts that use workers must call train() under `if __name__ == "__main__":`'
            )


def validate(source: EnvSource, workers: int, count: int) -> None:
    """Raise UsageError for more workers than environments, or an environment that cannot be sent to them."""
    if workers > count:
        raise UsageError(f"workers = {workers} is more than the number of environments, {count}: use {count} or fewer")
    try:
        ForkingPickler.dumps(source)  # as starting the process does
    except Exception as error:
        raise UsageError(
            f"{source.name} cannot be sent to worker processes ({type(error).__name__}: {error}): give an id, or a"
            " function or class at the top of a module; or use workers = 0"
        ) from error


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Keep processes started in this context from importing from the current folder, where `python -c` looks first."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = before or SAFE_PATH_OF_WORKERS
    try:
        yield
    finally:
        if not before:
            del os.environ[SAFE_PATH]


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """Block Ctrl-C in processes started in this context until they can handle it; here it is handled afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it later would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(pipes: list[Connection], processes: list[SpawnProcess], busy: set[int]) -> None:
    """End the workers by closing their pipes, and kill those that do not end."""
    try:
        for pipe in pipes:
            pipe.close()
        until = time.monotonic() + (HURRY if busy else PATIENCE)
        for process in processes:
            process.join(max(until - time.monotonic(), 0.0))
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
