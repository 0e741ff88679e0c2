"""Environments in worker processes, for those that cost more than sending a step to another process and back.

Each worker holds its share of the environments, each in a `VectorEnv` of its own, so that episodes, their seeds and
their errors are what they are without workers, to the bit. Numbers go through memory that the processes share; a pipe
to each worker carries what to do, and brings back which episodes ended.
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

START = multiprocessing.get_context("spawn")  # a fork of a process where JAX's threads run may wait forever
PATIENCE = 5.0  # seconds for the workers to end by themselves
HURRY = 0.5  # the same, where one is still busy with a step: Ctrl-C was pressed twice


class Workers:
    """The environments of all lanes, `num_envs` for each seed, stepped by worker processes, as a `VectorEnv`.

    Raises UsageError where the environment cannot be made, or cannot be sent to another process; RunError where a
    worker ends while it starts.
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
        self.busy = set(range(workers))  # which workers owe an answer
        # at exit too, and before multiprocessing waits for its children, which would wait for us
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
            theirs.close()  # ours of it, so that the pipe ends where the worker does
        self.processes.append(process)

    def step(self, actions: np.ndarray, lanes: Sequence[int]) -> list[Episode]:
        """Step all environments of the given lanes with actions `[lane, env, ...]`; return the episodes that ended.

        Raises RunError as `VectorEnv.step` does, and where a worker was killed.
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
        """Bring every environment to where it was, as `VectorEnv.restore` does."""
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
        """Let all workers step at once, each its environments of these lanes."""
        asked, every = [], len(lanes) == self.lanes
        for worker, share in enumerate(self.shares):
            which = None if every else np.flatnonzero(np.isin(share // self.num_envs, lanes))
            if which is None or len(which):
                self._send(worker, ("step", (which,)))
                asked.append(worker)
        return self._replies(asked)

    def _replies(self, workers: Sequence[int]) -> list[Any]:
        """Wait for what these workers answer. Raises what the first of them raised that failed."""
        replies = [self._reply(worker) for worker in workers]
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies

    def _send(self, worker: int, message: object) -> None:
        self.busy.add(worker)
        with contextlib.suppress(OSError):  # of a worker that is gone, as it turns out when its reply is awaited
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
    """Raise UsageError for more workers than environments, and for an environment that cannot be sent to them."""
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
    """Let processes that are started here import nothing from the current folder, where `python -c` looks first."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = before or SAFE_PATH_OF_WORKERS
    try:
        yield
    finally:
        if not before:
            del os.environ[SAFE_PATH]


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """Let processes that are started here hear no Ctrl-C until they can deal with it; this one hears it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(pipes: list[Connection], processes: list[SpawnProcess], busy: set[int]) -> None:
    """End the workers: each does when its pipe ends, or is killed."""
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
