"""Environments in worker processes, for those that cost more than sending a step to another process and back.

Each worker holds its share of the environments, every one in a `Worlds` of its own, so that episodes, their seeds and
their errors are what they are without workers, to the bit. Numbers go through memory that the processes share; a pipe
to each worker carries what to do, and brings back which episodes ended.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from multiprocessing.sharedctypes import RawArray
from typing import Any

import numpy as np

from polyak.envs.gymnasium import Environment, Worlds
from polyak.envs.make import Maker, name_of
from polyak.errors import RunError, UsageError
from polyak.types import Box, Discrete, EnvSpec, Episode

START = multiprocessing.get_context("spawn")  # a fork of a process where JAX's threads run may wait forever
PATIENCE = 5.0  # seconds for a worker to end by itself


class Workers:
    """The environments of all lanes, `envs` for each seed, stepped by worker processes. It is used as `Worlds` is.

    Raises UsageError where the environment cannot be made, or cannot be sent to another process.
    """

    def __init__(self, env: Maker, seeds: Sequence[int], envs: int, workers: int):
        count = len(seeds) * envs
        refuse(env, workers, count)
        first = Environment(env)
        first.close()
        self.spec, self.action_space, self.observation_space = first.spec, first.action_space, first.observation_space
        self.lanes, self.envs = len(seeds), envs
        blocks = RawArray("f", count * (2 * self.spec.obs_size + 3)), RawArray("d", count * self.spec.action_size)
        table = Table(self.spec, *blocks)
        shape = (self.lanes, envs)
        self.obs, self.next_obs = (part.reshape(*shape, -1) for part in (table.obs, table.next_obs))
        self.reward, self.terminated, self.truncated = (part.reshape(shape) for part in table.rest)
        self.given = table.actions.reshape(*shape, *table.actions.shape[1:])
        self.episodes = np.zeros(shape, np.int64)
        self.actions: list[list[list[np.ndarray]]] = [[[] for _ in range(envs)] for _ in seeds]
        self.mine = np.array_split(np.arange(count), workers)  # of each worker
        named = [(seed, e) for seed in seeds for e in range(envs)]
        self.pipes, self.processes = list[Connection](), list[Any]()
        for mine in self.mine:
            ours, theirs = START.Pipe()
            given = (theirs, env, [named[i] for i in mine], mine, self.spec, blocks)
            self.processes.append(START.Process(target=_work, args=given, daemon=True))
            self.pipes.append(ours)
            self.processes[-1].start()
            theirs.close()  # ours of it, so that the pipe ends where the worker does
        try:
            self._replies(range(workers))
        except BaseException:
            self.close()
            raise

    def step(self, actions: np.ndarray, lanes: Sequence[int]) -> list[Episode]:
        """Step all environments of the given lanes with actions `[lane, env, ...]`; return the episodes that ended.

        Raises RunError as `Worlds.step` does, and where a worker was killed.
        """
        self.given[:] = actions
        found = list[Any]()
        for taken in self._ask("step", None if len(lanes) == self.lanes else lanes):
            found += taken
        for lane in lanes:
            for e in range(self.envs):
                self.actions[lane][e].append(actions[lane, e])
        ended = [Episode(*divmod(int(i), self.envs), total, length) for i, total, length in found]
        for episode in ended:
            self.episodes[episode.lane, episode.env] += 1
            self.actions[episode.lane][episode.env] = []
        return ended

    def restore(self, episodes: np.ndarray, actions: list[list[list[np.ndarray]]]) -> None:
        """Bring every environment to where it was, as `Worlds.restore` does."""
        self.episodes[:] = episodes
        self.actions = [[list(taken) for taken in lane] for lane in actions]
        flat = [taken for lane in actions for taken in lane]
        for pipe, mine in zip(self.pipes, self.mine, strict=True):
            _send(pipe, ("restore", ([int(episodes.flat[i]) for i in mine], [flat[i] for i in mine])))
        self._replies(range(len(self.pipes)))

    def close(self) -> None:
        """End the workers."""
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()

    def _ask(self, what: str, lanes: Sequence[int] | None) -> list[Any]:
        """Let all workers do the same at once, each with its environments of some lanes (None: all)."""
        asked = []
        for worker, (pipe, mine) in enumerate(zip(self.pipes, self.mine, strict=True)):
            which = None if lanes is None else np.flatnonzero(np.isin(mine // self.envs, lanes))
            if which is None or len(which):
                _send(pipe, (what, (which,)))
                asked.append(worker)
        return self._replies(asked)

    def _replies(self, workers: Sequence[int]) -> list[Any]:
        """Wait for what these workers answer. Raises what the first of them raised that failed."""
        replies = [self._reply(worker) for worker in workers]
        for reply in replies:
            if isinstance(reply, Exception):
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


class Table:
    """Arrays over all environments in shared memory: observations and the rest, and actions."""

    def __init__(self, spec: EnvSpec, numbers: Any, actions: Any):
        rows = np.frombuffer(numbers, np.float32)
        count, size = len(rows) // (2 * spec.obs_size + 3), spec.obs_size
        self.obs, self.next_obs = rows[: 2 * count * size].reshape(2, count, size)
        self.rest = rows[2 * count * size :].reshape(3, count)  # reward, terminated, truncated
        kind = spec.action
        shape = (count,) if isinstance(kind, Discrete) else (count, spec.action_size)
        flat = np.frombuffer(actions, np.float32 if isinstance(kind, Box) else np.int64)
        self.actions = flat[: count * spec.action_size].reshape(shape)


def _work(pipe: Connection, env: Maker, named: list[tuple[int, int]], mine: Any, spec: EnvSpec, blocks: Any) -> None:
    """Do what a worker does, until its pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the process that asks hears them, and ends the pipe
        signal.signal(number, signal.SIG_IGN)
    share = None
    with contextlib.suppress(EOFError, OSError):
        try:
            share = _Share(env, named, mine, Table(spec, *blocks))
            pipe.send(None)
            while True:
                what, given = pipe.recv()
                pipe.send(getattr(share, what)(*given))
        except (UsageError, RunError) as error:
            pipe.send(error)
        finally:
            if share is not None:
                share.close()


class _Share:
    """The environments of one worker, number `mine[i]` of all being its i-th."""

    def __init__(self, env: Maker, named: list[tuple[int, int]], mine: Any, table: Table):
        self.mine, self.table = mine, table
        self.worlds = [Worlds(env, [seed], 1, first=e) for seed, e in named]
        for i in range(len(mine)):
            self._show(i)

    def step(self, which: Any) -> list[tuple[int, float, int]]:
        """Step some environments (None: all); return number, total and length of the episodes that ended."""
        ended = []
        for i in range(len(self.mine)) if which is None else which:
            action = np.array(self.table.actions[self.mine[i]])[None, None]  # kept, when the table has others
            for episode in self.worlds[i].step(action, [0]):
                ended.append((self.mine[i], episode.total, episode.length))
            self._show(i)
        return ended

    def restore(self, episodes: list[int], actions: list[list[np.ndarray]]) -> None:
        """Bring every environment to where it was."""
        for i, (episode, taken) in enumerate(zip(episodes, actions, strict=True)):
            self.worlds[i].restore(np.array([[episode]]), [[taken]])
            self._show(i)

    def close(self) -> None:
        """Release the environments."""
        for world in self.worlds:
            world.close()

    def _show(self, i: int) -> None:
        world, at = self.worlds[i], self.mine[i]
        self.table.obs[at], self.table.next_obs[at] = world.obs[0, 0], world.next_obs[0, 0]
        self.table.rest[:, at] = world.reward[0, 0], world.terminated[0, 0], world.truncated[0, 0]
