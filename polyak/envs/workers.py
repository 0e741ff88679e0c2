"""Environments in worker processes, for those that cost more than sending a step to another process and back.

Each worker holds its share of the environments, every one in a `Worlds` of its own, so that episodes, their seeds and
their errors are what they are without workers, to the bit. Numbers go through memory that the processes share; a pipe
to each worker carries what to do, and brings back which episodes ended.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from multiprocessing.sharedctypes import RawArray
from multiprocessing.util import Finalize
from typing import Any

import numpy as np

from polyak.envs.gymnasium import Environment, Worlds
from polyak.envs.make import Maker, Source, closed_on_error, name_of
from polyak.errors import RunError, UsageError
from polyak.lazy import jax
from polyak.types import Box, Discrete, EnvSpec, Episode

START = multiprocessing.get_context("spawn")  # a fork of a process where JAX's threads run may wait forever
PATIENCE = 5.0  # seconds for the workers to end by themselves


class Workers:
    """The environments of all lanes, `envs` for each seed, stepped by worker processes. It is used as `Worlds` is.

    Raises UsageError where the environment cannot be made, or cannot be sent to another process; RunError where a
    worker ends while it starts.
    """

    def __init__(self, env: Maker, seeds: Sequence[int], envs: int, workers: int):
        count = len(seeds) * envs
        refuse(env, workers, count)
        env = Source.of(env)
        one = Environment(env)
        one.close()
        self.spec, self.action_space, self.observation_space = one.spec, one.action_space, one.observation_space
        self.lanes, self.envs = len(seeds), envs
        arrays = self.spec, count, *Table.blocks(self.spec, count)
        table, shape = Table(*arrays), (self.lanes, envs)
        self.obs, self.next_obs = (part.reshape(*shape, -1) for part in (table.obs, table.next_obs))
        self.reward, self.terminated, self.truncated = (part.reshape(shape) for part in table.rest)
        self.given = table.actions.reshape(*shape, *table.actions.shape[1:])
        self.episodes = np.zeros(shape, np.int64)
        self.actions: list[list[list[np.ndarray]]] = [[[] for _ in range(envs)] for _ in seeds]
        self.shares = np.array_split(np.arange(count), workers)  # the environments of each worker, by number
        self.pipes, self.processes = list[Connection](), list[Any]()
        # at exit too, and before multiprocessing waits for its children, which would wait for us
        self.close = Finalize(self, _end, args=(self.pipes, self.processes), exitpriority=10)
        named = [(seed, e) for seed in seeds for e in range(envs)]
        try:
            for share in self.shares:
                self._begin(env, [named[i] for i in share], share, arrays)
            self._replies(range(workers))
        except BaseException as error:
            self.close()
            if not isinstance(error, UsageError):
                raise
            raise UsageError(f"in a worker process: {error}; register ids in a module, named as module:Id") from error

    def _begin(self, env: Maker, named: list[tuple[int, int]], share: np.ndarray, table: tuple[Any, ...]) -> None:
        """Start a worker."""
        ours, theirs = START.Pipe()
        process = START.Process(target=_work, args=(theirs, env, named, share, table), daemon=True)
        self.pipes.append(ours)
        self.processes.append(process)
        with _deaf():
            process.start()
        theirs.close()  # ours of it, so that the pipe ends where the worker does

    def step(self, actions: np.ndarray, lanes: Sequence[int]) -> list[Episode]:
        """Step all environments of the given lanes with actions `[lane, env, ...]`; return the episodes that ended.

        Raises RunError as `Worlds.step` does, and where a worker was killed.
        """
        self.given[:] = actions
        found = list[Any]()
        for taken in self._step(lanes):
            found += taken
        for lane in lanes:
            for e in range(self.envs):
                self.actions[lane][e].append(actions[lane, e])
        ended = [Episode(*divmod(int(i), self.envs), total, length) for i, total, length in found]
        for episode in ended:
            self.episodes[episode.lane, episode.env] += 1
            self.actions[episode.lane][episode.env] = []
        return ended

    def restore(
        self, episodes: np.ndarray, actions: list[list[list[np.ndarray]]], obs: np.ndarray
    ) -> list[tuple[int, int]]:
        """Bring every environment to where it was, as `Worlds.restore` does."""
        self.episodes[:] = episodes
        self.actions = [[list(taken) for taken in lane] for lane in actions]
        flat, seen = [taken for lane in actions for taken in lane], obs.reshape(len(episodes.flat), -1)
        for pipe, share in zip(self.pipes, self.shares, strict=True):
            _send(pipe, ("restore", ([int(episodes.flat[i]) for i in share], [flat[i] for i in share], seen[share])))
        elsewhere = [divmod(int(i), self.envs) for some in self._replies(range(len(self.pipes))) for i in some]
        for lane, e in elsewhere:
            self.episodes[lane, e] += 1
            self.actions[lane][e] = []
        return elsewhere

    def _step(self, lanes: Sequence[int]) -> list[Any]:
        """Let all workers step at once, each its environments of these lanes."""
        asked, every = [], len(lanes) == self.lanes
        for worker, (pipe, share) in enumerate(zip(self.pipes, self.shares, strict=True)):
            which = None if every else np.flatnonzero(np.isin(share // self.envs, lanes))
            if which is None or len(which):
                _send(pipe, ("step", (which,)))
                asked.append(worker)
        return self._replies(asked)

    def _replies(self, workers: Sequence[int]) -> list[Any]:
        """Wait for what these workers answer. Raises what the first of them raised that failed."""
        replies = [self._reply(worker) for worker in workers]
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies

    def _reply(self, worker: int) -> Any:
        try:
            return self.pipes[worker].recv()
        except (EOFError, OSError):
            process = self.processes[worker]
            process.join(PATIENCE)
            return RunError(
                f"worker {worker}, a process that steps environments, ended with exit code {process.exitcode}: what it"
                ' printed says why; a script must train under `if __name__ == "__main__":` to have workers'
            )


def refuse(env: Maker, workers: int, count: int) -> None:
    """Raise UsageError for more workers than environments, and for an environment that cannot be sent to them."""
    if workers > count:
        raise UsageError(f"workers = {workers} is more than the environments there are, {count}: use {count} or less")
    try:
        ForkingPickler.dumps(env)  # as starting the process does
    except Exception as error:
        raise UsageError(
            f"{name_of(env)} cannot be sent to worker processes ({type(error).__name__}: {error}): give an id, or a"
            " function or class at the top of a module; or use workers = 0"
        ) from error


def _send(pipe: Connection, message: Any) -> None:
    with contextlib.suppress(OSError):  # of a worker that is gone, as it turns out when its reply is awaited
        pipe.send(message)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that are started here ignore Ctrl-C from the first moment."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


def _end(pipes: list[Connection], processes: list[Any]) -> None:
    """End the workers: each does when its pipe ends, or is killed."""
    try:
        for pipe in pipes:
            pipe.close()
        until = time.monotonic() + PATIENCE
        for process in processes:
            process.join(max(until - time.monotonic(), 0.0))
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()


class Table:
    """Arrays over all environments in shared memory: what was observed, and the actions."""

    def __init__(self, spec: EnvSpec, count: int, numbers: Any, actions: Any):
        rows, size = np.frombuffer(numbers, np.float32), spec.obs_size
        self.obs, self.next_obs = rows[: 2 * count * size].reshape(2, count, size)
        self.rest = rows[2 * count * size :].reshape(3, count)  # reward, terminated, truncated
        kind = spec.action
        shape = (count,) if isinstance(kind, Discrete) else (count, spec.action_size)
        flat = np.frombuffer(actions, np.float32 if isinstance(kind, Box) else np.int64)
        self.actions = flat[: count * spec.action_size].reshape(shape)

    @staticmethod
    def blocks(spec: EnvSpec, count: int) -> tuple[Any, Any]:
        """Return the memory of so many environments' arrays; an action's number has up to 8 bytes."""
        return RawArray("f", count * (2 * spec.obs_size + 3)), RawArray("d", count * spec.action_size)


def _work(pipe: Connection, env: Maker, named: list[tuple[int, int]], share: Any, table: tuple[Any, ...]) -> None:
    """Do what a worker does, until its pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the process that asks hears them, and ends the pipe
        signal.signal(number, signal.SIG_IGN)
    jax.config.update("jax_platforms", "cpu")  # an environment that uses JAX shall not take the learner's GPU
    worlds = _answer(pipe, lambda: _Share(env, named, share, Table(*table)), tell=False)
    if worlds is None:
        return
    with contextlib.closing(worlds), contextlib.suppress(EOFError, OSError):
        while True:
            what, given = pipe.recv()
            _answer(pipe, partial(worlds.restore if what == "restore" else worlds.step, *given))


def _answer(pipe: Connection, do: Callable[[], Any], tell: bool = True) -> Any:
    """Do something and send what it returns (None without `tell`), or why it failed, with the trace of that."""
    try:
        done = do()
        pipe.send(done if tell else None)
    except (UsageError, RunError, KeyboardInterrupt) as error:  # the last is an environment's own: signals are ignored
        error.add_note("".join(traceback.format_exception(error)))
        pipe.send(error)
        return None
    return done


class _Share:
    """The environments of one worker, number `share[i]` of all being its i-th."""

    def __init__(self, env: Maker, named: list[tuple[int, int]], share: Any, table: Table):
        self.share, self.table = share, table
        self.worlds: list[Worlds] = []
        with closed_on_error(self):
            for seed, e in named:
                self.worlds.append(Worlds(env, [seed], 1, first=e))
            for i in range(len(share)):
                self._show(i)

    def step(self, which: Any) -> list[tuple[int, float, int]]:
        """Step some environments (None: all); return number, total and length of the episodes that ended."""
        ended = []
        with np.errstate(over="ignore"):  # as in the host loop
            for i in range(len(self.share)) if which is None else which:
                action = np.array(self.table.actions[self.share[i]])[None, None]  # kept, when the table has others
                for episode in self.worlds[i].step(action, [0]):
                    ended.append((self.share[i], episode.total, episode.length))
                self._show(i)
        return ended

    def restore(self, episodes: list[int], actions: list[list[np.ndarray]], obs: np.ndarray) -> list[int]:
        """Bring every environment to where it was; return the numbers of those that began a new episode instead."""
        elsewhere = []
        for i, (episode, taken) in enumerate(zip(episodes, actions, strict=True)):
            if self.worlds[i].restore(np.array([[episode]]), [[taken]], obs[i, None, None]):
                elsewhere.append(int(self.share[i]))
            self._show(i)
        return elsewhere

    def close(self) -> None:
        """Release the environments."""
        for world in self.worlds:
            world.close()

    def _show(self, i: int) -> None:
        world, at = self.worlds[i], self.share[i]
        self.table.obs[at], self.table.next_obs[at] = world.obs[0, 0], world.next_obs[0, 0]
        self.table.rest[:, at] = world.reward[0, 0], world.terminated[0, 0], world.truncated[0, 0]
