"""One worker process: a share of the environments, stepped on request of the training process."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.sharedctypes import RawArray
from types import FrameType
from typing import TypeAlias, TypeVar

import numpy as np

from polyak.envs.forks import SIGNALS, restore_in_forks
from polyak.envs.gymnasium import VectorEnv
from polyak.envs.make import EnvSource, closed_on_error
from polyak.errors import RunError, UsageError
from polyak.lazy import jax
from polyak.tree import map_leaves, take, write
from polyak.types import ArraySpec, Box, EnvSpec, Obs, Tree

T = TypeVar("T")
Memory: TypeAlias = "ctypes.Array[ctypes.c_byte]"


class Table:
    """Arrays `[environment, ...]` in shared memory: observations, rewards, ends and actions."""

    def __init__(self, spec: EnvSpec, count: int, memory: Memory):
        """View the memory, which `block` allocates, as arrays."""
        begin = 0

        def laid(array: ArraySpec) -> np.ndarray:
            nonlocal begin
            flat = np.frombuffer(memoryview(memory), array.dtype, count * array.size, begin)
            begin += _room(array, count)
            return flat.reshape(count, *array.shape)

        self.columns = map_leaves(laid, _shared(spec))
        self.obs, self.next_obs = self.columns["obs"], self.columns["next_obs"]
        self.reward, self.terminated, self.truncated, self.actions = (
            self.columns[name] for name in ("reward", "terminated", "truncated", "action")
        )

    @staticmethod
    def block(spec: EnvSpec, count: int) -> Memory:
        """Allocate the memory for the arrays of `count` environments."""
        rooms = list[int]()
        map_leaves(lambda array: rooms.append(_room(array, count)), _shared(spec))
        return RawArray("b", sum(rooms))


def _shared(spec: EnvSpec) -> dict[str, Tree]:
    """Describe the shared arrays of one environment: a step, whose action has the type that acting returns."""
    step = spec.transition()
    action = ArraySpec(spec.action.array.shape, "float32" if isinstance(spec.action, Box) else "int64")
    return {"obs": step.obs, "next_obs": step.next_obs, "action": action} | {
        name: ArraySpec(()) for name in ("reward", "terminated", "truncated")
    }


def _room(array: ArraySpec, count: int) -> int:
    """Return the bytes of an array, padded to where the next one may begin."""
    return -(-count * array.nbytes // 8) * 8


SAFE_PATH, SAFE_PATH_OF_WORKERS = "PYTHONSAFEPATH", "polyak"  # an environment variable; any value counts as set


def work(
    pipe: Connection,
    source: EnvSource,
    named: list[tuple[int, int]],
    share: np.ndarray,
    table: tuple[EnvSpec, int, Memory],
) -> None:
    """Serve requests until the pipe ends."""
    if os.environ.get(SAFE_PATH) == SAFE_PATH_OF_WORKERS:
        del os.environ[SAFE_PATH]  # must not affect programs that an environment starts
    _end_with_parent()
    _leave_signals_to_parent()
    jax.config.update("jax_platforms", "cpu")  # an environment that uses JAX must not take the learner's GPU
    envs = _answer(pipe, lambda: _Share(source, named, share, Table(*table)), tell=False)
    if envs is None:
        return
    with contextlib.closing(envs), contextlib.suppress(EOFError, OSError):
        while True:
            what, given = pipe.recv()
            _answer(pipe, partial(envs.restore if what == "restore" else envs.step, *given))


def _leave_signals_to_parent() -> None:
    """Ignore Ctrl-C and requests to terminate: the training process handles them, and closes the pipe.

    Programs that an environment starts handle signals as usual: an `exec` resets a handler (but not SIG_IGN), and forks
    restore the defaults.
    """
    for number in SIGNALS:
        signal.signal(number, _do_nothing)
    restore_in_forks(_hear_signals_as_usual)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def _hear_signals_as_usual() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def _end_with_parent() -> None:
    """Let this process be killed when its parent ends, whatever it is doing."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform != "linux" or ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()
    elif os.getppid() != parent.pid:  # it has ended already
        os._exit(1)


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _answer(pipe: Connection, do: Callable[[], T], tell: bool = True) -> T | None:
    """Call `do` and send what it returns (None without `tell`), or its error with the traceback as a note."""
    try:
        done = do()
        pipe.send(done if tell else None)
    except (
        UsageError,
        RunError,
        KeyboardInterrupt,
    ) as error:  # KeyboardInterrupt from an environment: signals do nothing
        error.add_note("".join(traceback.format_exception(error)))
        pipe.send(error)
        return None
    return done


class _Share:
    """The environments of one worker; its i-th is number `share[i]` of all."""

    def __init__(self, source: EnvSource, named: list[tuple[int, int]], share: np.ndarray, table: Table):
        self.share, self.table = share, table
        self.envs: list[VectorEnv] = []
        with closed_on_error(self):
            for seed, e in named:
                self.envs.append(VectorEnv(source, [seed], 1, first=e))
            for i in range(len(share)):
                self._show(i)

    def step(self, which: np.ndarray | None) -> list[tuple[int, float, int]]:
        """Step some environments (None: all); return number, return and length of the episodes that ended."""
        ended = []
        with np.errstate(over="ignore"):  # as in the host loop
            for i in range(len(self.share)) if which is None else which:
                action = np.array(self.table.actions[self.share[i]])[
                    None, None
                ]  # a copy, because the table will be overwritten
                for episode in self.envs[i].step(action, [0]):
                    ended.append((self.share[i], episode.total, episode.length))
                self._show(i)
        return ended

    def restore(self, episodes: list[int], actions: list[list[np.ndarray]], obs: Obs) -> list[int]:
        """Restore every environment; return the numbers of those that began a new episode instead."""
        elsewhere = []
        for i, (episode, taken) in enumerate(zip(episodes, actions, strict=True)):
            if self.envs[i].restore(np.array([[episode]]), [[taken]], take(obs, (i, None, None))):
                elsewhere.append(int(self.share[i]))
            self._show(i)
        return elsewhere

    def close(self) -> None:
        """Release the environments."""
        for env in self.envs:
            env.close()

    def _show(self, i: int) -> None:
        env, at = self.envs[i], self.share[i]
        table, one = self.table, (0, 0)
        write(table.obs, at, take(env.obs, one))
        write(table.next_obs, at, take(env.next_obs, one))
        table.reward[at], table.terminated[at], table.truncated[at] = (
            env.reward[one],
            env.terminated[one],
            env.truncated[one],
        )
