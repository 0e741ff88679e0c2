"""The classic tasks in JAX beside Gymnasium's own, step by step over random trajectories."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.envs.classic import TWINS
from polyak.envs.functional import CompiledEnv, find
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
def world(name: str) -> CompiledEnv:
    found = find(name)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def step(world: CompiledEnv) -> Any:
    return jax.jit(world.step)


def test_has_the_spaces_of_its_twin(name: str, world: CompiledEnv) -> None:
    env = gymnasium.make(name)
    assert world.observation_space == env.observation_space
    assert world.action_space == env.action_space


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("episode", range(EPISODES))
def test_steps_as_its_twin_does(name: str, world: CompiledEnv, step: Any, episode: int) -> None:
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


def test_starts_as_its_twin_does(name: str, world: CompiledEnv) -> None:
    """Mean and extent of many first observations agree."""
    ours = np.asarray(jax.jit(jax.vmap(world.start))(jax.random.split(jax.random.key(0), 2_000)).obs)
    env = gymnasium.make(name)
    theirs = np.array([env.reset(seed=seed)[0] for seed in range(2_000)])
    spread = theirs.std(0) + 1e-6
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.1 * spread.max())
    np.testing.assert_allclose(ours.std(0), theirs.std(0), atol=0.1 * spread.max())
    np.testing.assert_allclose(ours.min(0), theirs.min(0), atol=0.1 * spread.max())
    np.testing.assert_allclose(ours.max(0), theirs.max(0), atol=0.1 * spread.max())


# state, action, whether the task ends there: goals, falls, walls and limits, which random actions seldom reach
EDGES: dict[str, list[tuple[list[float], float, bool]]] = {
    "Acrobot-v1": [([3.1, 0.05, 0.0, 0.0], 1, True), ([1.0, 0.0, 12.5, 28.0], 2, False)],
    "CartPole-v1": [([2.39, 3.0, 0.0, 0.0], 1, True), ([0.0, 0.0, -0.208, -2.0], 0, True)],
    "MountainCar-v0": [([0.49, 0.06], 2, True), ([-1.19, -0.06], 0, False), ([0.59, -0.01], 0, False)],
    "MountainCarContinuous-v0": [([0.44, 0.06], 1.0, True), ([-1.19, -0.06], -0.5, False), ([0.5, -0.01], -1, False)],
    "Pendulum-v1": [([3.0, 8.0], 1.0, False), ([-3.1, -8.0], -1.0, False)],
}
CASES = [(name, *case) for name, cases in EDGES.items() for case in cases]


def both_step(name: str, state: list[float], action: float, taken: int) -> tuple[Any, Any]:
    """Put both into a state in which so many steps of the episode were taken; return what a step there brings."""
    env, world = gymnasium.make(name), find(name)
    assert world is not None
    now = world.start(jax.random.key(0))
    put(env, np.array(state))
    env._elapsed_steps = taken
    now = replace(now, state=jnp.array(state, jnp.float32), length=jnp.full_like(now.length, taken))
    chosen = np.float32([action]) if hasattr(env.action_space, "low") else np.int64(action)
    _, outcome = world.step(now, jnp.asarray(chosen), jax.random.key(0))
    return outcome, env.step(env.action_space.high * chosen if hasattr(env.action_space, "low") else chosen)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("name", "state", "action", "ends"), CASES, ids=lambda value: str(value))
def test_ends_and_walls_are_those_of_its_twin(name: str, state: list[float], action: float, ends: bool) -> None:
    outcome, (obs, reward, terminated, truncated, _) = both_step(name, state, action, taken=0)
    np.testing.assert_allclose(outcome.next_obs, obs, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(outcome.reward, reward, rtol=1e-4, atol=1e-4)
    assert (bool(outcome.terminated), bool(outcome.truncated)) == (terminated, truncated) == (ends, False)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", EDGES)
def test_the_time_limit_is_that_of_its_twin(name: str) -> None:
    limit = gymnasium.make(name).spec.max_episode_steps  # type: ignore[union-attr]
    assert limit is not None
    inside = [0.1] * (4 if name in ("Acrobot-v1", "CartPole-v1") else 2)
    for taken in (limit - 2, limit - 1):
        outcome, (_, _, terminated, truncated, _) = both_step(name, inside, 0, taken)
        assert (
            (bool(outcome.terminated), bool(outcome.truncated))
            == (terminated, truncated)
            == (False, taken + 1 == limit)
        )
