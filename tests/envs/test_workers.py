"""Environments in worker processes: what they would be in this one, and no worker outlives its run."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import polyak
from polyak.envs import worker
from polyak.envs.gymnasium import VectorEnv
from polyak.envs.workers import START, Workers
from polyak.errors import RunError, UsageError
from polyak.training.host import HostLoop
from polyak.training.job import Job
from polyak.training.plans import ReplayPlan
from tests.fixtures import toys
from tests.fixtures.compare import assert_identical
from tests.fixtures.walk import Breaking, Walk

SEEDS, ENVS = (3, 8), 2


def fail(obs: Any, reward: float) -> Any:
    raise ArithmeticError("the motor is stuck")


def spin(obs: Any, reward: float) -> Any:
    while True:
        pass


def vanish(obs: Any, reward: float) -> Any:
    os._exit(7)


@pytest.fixture(scope="module")
def three() -> Iterator[Workers]:  # for four environments
    with closing(Workers(Walk, SEEDS, ENVS, workers=3)) as workers:
        yield workers


def arrays(envs: Any) -> dict[str, Any]:
    names = ("obs", "next_obs", "reward", "terminated", "truncated", "episodes")
    numbers = {name: np.array(getattr(envs, name)) for name in names}
    return {**numbers, "actions": [[list(taken) for taken in lane] for lane in envs.actions]}


def steps(envs: Any, count: int, lanes: Any = (0, 1), seed: int = 0) -> list[Any]:
    """Step with random actions; return what all arrays were after each step, and the episodes that ended."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(count):
        ended = envs.step(rng.uniform(-1, 1, (len(SEEDS), ENVS, 1)).astype(np.float32), lanes)
        seen.append((arrays(envs), [vars(episode) for episode in ended]))
    return seen


def push(workers: Workers, count: int) -> None:
    for _ in range(count):
        workers.step(np.zeros((workers.lanes, workers.num_envs, 1), np.float32), range(workers.lanes))


def test_workers_step_restore_and_skip_lanes_as_one_process_does(three: Workers) -> None:
    plain = VectorEnv(Walk, SEEDS, ENVS)
    assert_identical(arrays(three), arrays(plain))
    assert_identical(steps(three, 25), steps(plain, 25))
    at = plain.episodes.copy(), [[list(taken) for taken in lane] for lane in plain.actions], plain.obs.copy()
    assert_identical(steps(three, 6, lanes=[1], seed=1), steps(plain, 6, lanes=[1], seed=1))
    onward = steps(plain, 9, seed=2)
    assert three.restore(*at) == []
    steps(three, 6, lanes=[1], seed=1)
    assert_identical(steps(three, 9, seed=2), onward)


def test_workers_begin_a_new_episode_where_the_old_one_does_not_repeat(three: Workers) -> None:
    episodes, actions = np.zeros((2, 2), np.int64), [[[np.float32([0.1])] for _ in range(ENVS)] for _ in SEEDS]
    plain = VectorEnv(Walk, SEEDS, ENVS)
    plain.step(np.full((2, ENVS, 1), 0.1, np.float32), [0, 1])
    seen = plain.obs.copy()
    seen[1, 0] += 1
    assert three.restore(episodes, actions, seen) == plain.restore(episodes, actions, seen) == [(1, 0)]
    assert_identical(arrays(three), arrays(plain))
    assert_identical(steps(three, 9), steps(plain, 9))


def test_a_run_with_workers_is_bit_for_bit_the_run_without() -> None:
    plan = ReplayPlan(env_steps=60, envs=ENVS, warmup=20, rollout_length=4, batch=4)
    plain = toys.finish(HostLoop(Job(toys.linear, toys.Config(), plan, VectorEnv(Walk, SEEDS, ENVS), SEEDS)))
    with closing(Workers(Walk, SEEDS, ENVS, workers=2)) as workers:
        loop = HostLoop(Job(toys.linear, toys.Config(), plan, workers, SEEDS))
        while loop.counts.env_steps.min() < 36:
            loop.advance()
        moment = jax.tree.map(np.array, loop.snapshot())
        assert_identical(toys.finish(loop).policy, plain.policy)
        loop.restore(moment)
        assert_identical(toys.finish(loop).policy, plain.policy)


def test_an_error_names_step_seed_and_environment_as_without_workers() -> None:
    with closing(Workers(partial(Breaking, 4, fail), (5,), 2, workers=2)) as workers:
        push(workers, 3)
        with pytest.raises(RunError, match=r"at step 4 of episode 0 of seed 5, environment 0: Arith.*motor is stuck"):
            push(workers, 1)


@pytest.mark.parametrize(
    ("actions", "shape", "dtype"), [(None, (1,), np.float32), (3, (), np.int64)], ids=["box", "discrete"]
)
def test_actions_of_every_kind_arrive_as_they_were_given(actions: Any, shape: Any, dtype: Any) -> None:
    env, rng = partial(Walk, 9, actions), np.random.default_rng(1)
    plain = VectorEnv(env, (4,), 3)
    with closing(Workers(env, (4,), 3, workers=2)) as workers:
        for _ in range(8):
            numbers = rng.uniform(-1, 1, (1, 3, *shape)) if actions is None else rng.integers(0, actions, (1, 3))
            for envs in (plain, workers):
                envs.step(numbers.astype(dtype), [0])
            assert_identical(arrays(workers), arrays(plain))


def test_the_trace_of_an_error_comes_with_it() -> None:
    with closing(Workers(partial(Breaking, 1, fail), (5,), 1, workers=1)) as workers:
        with pytest.raises(RunError) as raised:
            push(workers, 1)
        assert "in fail" in "".join(raised.value.__notes__)
        nowhere = np.zeros((1, 1, 2), np.float32)
        workers.restore(workers.episodes, [[[np.zeros(1, np.float32)]]], nowhere)  # the worker is still there
        push(workers, 1)


def only_here() -> Walk:
    """Make an environment, but in the process that says so."""
    if os.environ.get("POLYAK_TEST_HERE") != str(os.getpid()):
        raise ArithmeticError("not in this process")
    return Walk()


def test_a_worker_that_cannot_start_ends_all_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYAK_TEST_HERE", str(os.getpid()))
    before = len(multiprocessing.active_children())
    with pytest.raises(UsageError, match=r"in a worker process: .*not in this process.*named as module:Id"):
        Workers(only_here, (5,), 2, workers=2)
    assert len(multiprocessing.active_children()) == before


FORGETFUL = """
import sys
import numpy as np
from functools import partial
from polyak.envs.workers import START, Workers
from tests.envs.test_workers import spin
from tests.fixtures.walk import Breaking
if __name__ == "__main__":
    workers = Workers(partial(Breaking, 1, spin), (0,), 2, 2)
    print(*(process.pid for process in workers.processes), flush=True)
    if sys.argv[1] == "wait":
        sys.stdin.read()
    if sys.argv[1] == "step":
        workers.step(np.zeros((1, 2, 1), np.float32), [0])
"""


@pytest.mark.parametrize(
    "end", [*(pytest.param(end, marks=pytest.mark.slow) for end in ("exit", "kill")), "kill in a step"]
)
def test_no_worker_outlives_a_process_that_never_closes_them(end: str, tmp_path: Path) -> None:
    (tmp_path / "forgetful.py").write_text(FORGETFUL)
    words = [sys.executable, str(tmp_path / "forgetful.py"), {"kill": "wait", "exit": "exit"}.get(end, "step")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        pids = [int(word) for word in process.stdout.readline().split()]  # type: ignore[union-attr]
        if end != "exit":
            time.sleep(0.2)
            process.kill()
        process.wait(30)
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert len(pids) == 2


@pytest.mark.slow
def test_a_run_is_trained_with_workers_and_resumed_without(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"config": {"actor_layers": (8,), "critic_joint_layers": (8,)}, "seeds": 2}
    plan = {
        "warmup": 20,
        "rollout_length": 16,
        "batch": 4,
        "evaluations": 1,
        "evaluation_episodes": 1,
        "score_episodes": 1,
    }
    plain = polyak.train("ddpg", Walk, steps=120, plan=plan, out=tmp_path / "plain", **settings)
    with_workers = {**plan, "workers": 2}
    run = polyak.train("ddpg", Walk, steps=120, plan=with_workers, out=tmp_path / "workers", **settings)
    assert_identical(run.saved.tree("final"), plain.saved.tree("final"))
    path = run.folder / "run.json"
    path.write_text(path.read_text().replace('"finished"', '"interrupted"'))
    assert polyak.resume(run.folder, env=Walk, workers=0).record.plan["workers"] == 0


def test_a_worker_that_dies_is_an_error_with_its_exit_code() -> None:
    with closing(Workers(partial(Breaking, 2, vanish), (5,), 1, workers=1)) as workers:
        push(workers, 1)
        with pytest.raises(RunError, match=r"worker 0.* exit code 7"):
            push(workers, 1)


def test_signals_do_not_end_a_worker_but_closing_does() -> None:
    with closing(Workers(Walk, (1,), 2, workers=2)) as workers:
        process = workers.processes[0]  # the pipe of the first must not be open in the second
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(process.pid, number)
        time.sleep(0.05)
        push(workers, 1)
        began = time.monotonic()
    assert process.exitcode == 0
    assert time.monotonic() - began < 4


def test_where_linux_does_not_a_thread_ends_a_worker_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr("polyak.envs.worker.os._exit", lambda code: ended.set())
    ours, theirs = multiprocessing.Pipe()
    watch = threading.Thread(target=worker._end_after, args=(theirs.fileno(),), daemon=True)
    watch.start()
    assert not ended.wait(0.05)
    ours.close()
    assert ended.wait(5)
    watch.join()


class Helped(Walk):
    """Has a helper process, which it ends with SIGTERM as soon as it is closed: a fork in workers, else a program."""

    def __init__(self) -> None:
        super().__init__()
        self.forked = multiprocessing.parent_process() is not None
        if self.forked:
            self.helper: Any = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            self.helper.start()
        else:
            self.helper = subprocess.Popen(["sleep", "60"])
        self.program = subprocess.Popen(["sleep", "60"])

    def close(self) -> None:
        self.helper.terminate()
        if self.forked:
            self.helper.join()
        else:
            self.helper.wait()
        self.program.terminate()
        self.program.wait()


def test_helper_processes_of_environments_end_when_they_are_told_to() -> None:
    with closing(Workers(Helped, (5,), 1, workers=1)) as workers:
        push(workers, 1)
        process = workers.processes[0]
    assert process.exitcode == 0  # not killed for want of an end


def test_workers_that_are_interrupted_in_a_step_are_not_waited_for() -> None:
    workers = Workers(partial(Breaking, 1, spin), (5,), 1, workers=1)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        push(workers, 1)
    began = time.monotonic()
    workers.close()
    assert time.monotonic() - began < 2
    assert workers.processes[0].exitcode == -signal.SIGKILL


class Told(Walk):
    """Says what programs that it starts are told about Python's path."""

    def reset(self, **given: Any) -> Any:
        assert os.environ.get("PYTHONSAFEPATH") == self.expected
        return super().reset(**given)

    expected: str | None = None


class ToldByUser(Told):
    expected = "1"


@pytest.mark.parametrize("env", [Told, ToldByUser])
def test_workers_import_nothing_from_the_current_folder(
    env: type[Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    if env.expected:
        monkeypatch.setenv("PYTHONSAFEPATH", env.expected)
    for name in ("multiprocessing", "signal", "selectors"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    monkeypatch.chdir(tmp_path)
    with closing(Workers(env, (3,), 1, workers=1)):
        assert os.environ.get("PYTHONSAFEPATH") == env.expected


def test_a_process_that_cannot_be_started_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(process: Any) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(START.Process, "start", fail)
    with pytest.raises(RunError, match=r"cannot start worker 1 of 2 \(Resource temp.*\): use fewer workers"):
        Workers(Walk, (5,), 2, workers=2)


def test_no_press_is_lost_while_a_worker_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def press(process: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise OSError

    monkeypatch.setattr(START.Process, "start", press)
    with pytest.raises(KeyboardInterrupt):
        Workers(Walk, (5,), 1, workers=1)


@pytest.mark.parametrize(
    ("env", "workers", "words"),
    [
        (Walk, 3, "workers = 3 is more than the number of environments, 2: use 2 or fewer"),
        (lambda: Walk(), 1, "cannot be sent to worker processes .*lambda.* top of a module; or use workers = 0"),
        ("Nowhere-v1", 1, "unknown environment 'Nowhere-v1'"),
    ],
    ids=["too many", "lambda", "unknown"],
)
def test_is_refused_before_anything_starts(env: Any, workers: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Workers(env, (0,), 2, workers)
