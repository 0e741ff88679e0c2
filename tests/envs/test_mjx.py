"""Tasks of MuJoCo Playground as FuncEnvs. `make mjx` installs what most of this needs, and runs it."""

import importlib.util
from collections.abc import Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.algorithms import ddpg
from polyak.envs import functional, mjx
from polyak.errors import UsageError
from polyak.training.device import DeviceLoop
from polyak.training.job import Job
from polyak.training.plans import ReplayPlan
from tests.fixtures.agents import small

INSTALLED = importlib.util.find_spec("mujoco_playground") is not None
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Playground imports
needs_playground = pytest.mark.skipif(not INSTALLED, reason="MuJoCo Playground is not installed: make mjx")
NAME = "polyak.envs.mjx:CartpoleBalance"


@pytest.fixture(autouse=True)
def _as_playground_is_written() -> Iterator[None]:
    with jax.numpy_rank_promotion("allow"):
        yield


@cache
def world() -> Any:
    return functional.find(NAME)


@needs_playground
def test_a_task_steps_as_playground_steps_it() -> None:
    task, key = world().env.task, jax.random.key(3)
    theirs, reset, step = jax.jit(task.reset)(key), jax.jit(world().start), jax.jit(world().step)
    now, move = reset(key), jax.jit(task.step)
    np.testing.assert_array_equal(now.obs, theirs.obs)
    for t in range(5):
        action = jnp.full(1, 0.3 * t - 0.5)
        now, outcome = step(now, action, jax.random.key(t))
        theirs = move(theirs, action)
        np.testing.assert_allclose(outcome.next_obs, theirs.obs, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(outcome.reward, theirs.reward, rtol=1e-6)
        assert not outcome.ended
    assert now.length == 5


@needs_playground
def test_a_task_has_playgrounds_time_limit_and_sizes() -> None:
    assert world().limit == 1000
    assert (world().spec.obs.shape[0], world().spec.action.width) == (5, 1)


@needs_playground
def test_a_task_is_trained_on_the_device() -> None:
    plan = ReplayPlan(env_steps=24, envs=2, warmup=8, rollout_length=4, batch=4, evaluations=1)
    loop = DeviceLoop(Job(ddpg, small(ddpg.Config()), plan, world(), (0,)))
    while not loop.counts.done:
        loop.advance()
    assert np.isfinite(jax.tree.leaves(loop.policy)[0]).all()
    assert loop.step == 16


@needs_playground
def test_an_unknown_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'CartpoleBalance'"):
        functional.find("polyak.envs.mjx:CartpoleBlance")


@pytest.mark.skipif(INSTALLED, reason="MuJoCo Playground is installed")
def test_without_playground_it_says_what_to_install() -> None:
    with pytest.raises(UsageError, match="CartpoleBalance needs a package that is missing: pip install"):
        functional.find(NAME)


def test_only_names_of_tasks_are_attributes() -> None:
    assert mjx.CartpoleBalance is mjx.CartpoleBalance
    assert mjx.CartpoleBalance.__qualname__ == "CartpoleBalance"
    assert not hasattr(mjx, "cartpole_balance")
