"""The classic tasks in JAX beside Gymnasium's own, step by step over random trajectories."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.envs.classic import TWINS
from polyak.envs.functional import Functional, find
from polyak.tree import replace

EPISODES, STEPS = 4, 500


def put(env: Any, state: np.ndarray) -> None:
    """Start Gymnasium's environment from a state."""
    env.reset(seed=0)
    kept = env.unwrapped.state
    env.unwrapped.state = np.array(state, np.asarray(kept).dtype)


@pytest.fixture(scope="module", params=sorted(TWINS))
def name(request: Any) -> Any:
    return request.param


@pytest.fixture(scope="module")
def world(name: str) -> Functional:
    found = find(name)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def step(world: Functional) -> Any:
    return jax.jit(world.step)


def test_has_the_spaces_of_its_twin(name: str, world: Functional) -> None:
    env = gymnasium.make(name)
    assert world.observation_space == env.observation_space
    assert world.action_space == env.action_space


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("episode", range(EPISODES))
def test_steps_as_its_twin_does(name: str, world: Functional, step: Any, episode: int) -> None:
    """Observations, rewards and ends agree along whole episodes of random actions, those held for a while too."""
    env, rng = gymnasium.make(name), np.random.default_rng(episode)
    now = jax.jit(world.start)(jax.random.key(episode))
    put(env, now.state)
    held = 1 + 15 * (episode % 2)  # held actions reach the walls and limits that single ones do not
    for t in range(STEPS):
        if t % held == 0:
            action = rng.uniform(-1, 1, 1).astype(np.float32) if hasattr(env.action_space, "low") else None
            action = np.int64(rng.integers(env.action_space.n)) if action is None else action
        before = now
        now, outcome = step(now, jnp.asarray(action), jax.random.key(t))
        units = env.action_space.high * action if hasattr(env.action_space, "low") else action
        obs, reward, terminated, truncated, _ = env.step(units)
        np.testing.assert_allclose(outcome.next_obs, obs, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(outcome.reward, reward, rtol=1e-4, atol=1e-4)
        assert (bool(outcome.terminated), bool(outcome.truncated)) == (terminated, truncated)
        if terminated or truncated:
            assert outcome.length == before.length + 1
            return
        now = replace(now, state=jnp.asarray(env.unwrapped.state, jnp.float32))  # rounding must not add up


def test_starts_as_its_twin_does(name: str, world: Functional) -> None:
    """Mean and extent of many first observations agree."""
    ours = np.asarray(jax.jit(jax.vmap(world.start))(jax.random.split(jax.random.key(0), 2_000)).obs)
    env = gymnasium.make(name)
    theirs = np.array([env.reset(seed=seed)[0] for seed in range(2_000)])
    spread = theirs.std(0) + 1e-6
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.1 * spread.max())
    np.testing.assert_allclose(ours.std(0), theirs.std(0), atol=0.1 * spread.max())
    np.testing.assert_allclose(ours.min(0), theirs.min(0), atol=0.1 * spread.max())
    np.testing.assert_allclose(ours.max(0), theirs.max(0), atol=0.1 * spread.max())
