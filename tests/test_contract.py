"""What every registered algorithm must do (`polyak.types.Algorithm`); see agents.py for how one gets in here."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.numerics.draws import LaneGenerators
from polyak.training.acting import Behavior, make_acting
from polyak.training.numpy_trial import try_in_numpy
from polyak.training.protocols import Acting
from polyak.tree import from_named_leaves, named_leaves, replace, take
from polyak.types import Box, Discrete, Sampling, init_memory
from tests.fixtures.agents import QUICKLY, Agent, clock, every_agent, label
from tests.fixtures.compare import assert_close, assert_identical, differs, stack

LANES, ENVS = 3, 5
DRAWN = {"gamma": 0.51, "n_step": 7, "priority_alpha": 0.33, "priority_beta": 0.22}  # no default, no two alike

pytestmark = pytest.mark.parametrize("agent", every_agent(), ids=label)


def test_update_keeps_structure_shapes_and_types(agent: Agent) -> None:
    state = agent.init()
    assert avals(agent.update(state, agent.data())[0]) == avals(state)


def test_metrics_are_scalars_or_have_one_number_for_each_sample(agent: Agent) -> None:
    data = agent.data()
    _, metrics = agent.update(agent.init(), data)
    assert metrics
    assert all(metric.shape in ((), data.reward.shape) for metric in metrics.values())


@pytest.mark.slow
def test_compiled_update_equals_plain(agent: Agent) -> None:
    if not agent.fullest:
        pytest.skip("operation by operation takes long: once for each algorithm, with most of its switches on")
    state, data, key = agent.learned(3), agent.data(3), jax.random.key(0)
    with jax.disable_jit():
        plain = agent.algorithm.update(agent.config, state, data, key, clock(3))
    assert_close(agent.update(state, data, step=3), plain)


@pytest.mark.thorough
def test_lane_of_a_vmap_equals_solo(agent: Agent) -> None:
    states = [agent.learned(2, seed) for seed in range(LANES)]
    data = [agent.data(seed) for seed in range(LANES)]
    keys = jax.random.split(jax.random.key(0), LANES)
    in_lanes = jax.jit(jax.vmap(agent.algorithm.update, in_axes=(None, 0, 0, 0, None)), compiler_options=QUICKLY)
    together = in_lanes(agent.config, stack(states), stack(data), keys, clock(2))
    for lane in range(LANES):
        alone = agent.jitted(agent.config, states[lane], data[lane], keys[lane], clock(2))
        assert_close(take(together, lane), alone)


@pytest.mark.thorough
def test_changing_numbers_in_the_config_does_not_compile_anew(agent: Agent) -> None:
    traces = []

    def update(*arguments: Any) -> Any:
        traces.append(1)
        return agent.algorithm.update(*arguments)

    compiled = jax.jit(update, compiler_options=QUICKLY)
    numbers, structure = jax.tree.flatten(agent.config)
    for i in range(len(numbers) + 1):
        changed = jax.tree.unflatten(structure, [n * 0.5 if i == j else n for j, n in enumerate(numbers)])
        compiled(changed, agent.init(), agent.data(), jax.random.key(0), clock(0))
    assert len(traces) == 1


def test_same_key_same_result(agent: Agent) -> None:
    assert_identical(agent.init(7), agent.init(7))
    assert_identical(agent.update(agent.init(), agent.data(), seed=5), agent.update(agent.init(), agent.data(), seed=5))


def test_different_keys_make_different_agents(agent: Agent) -> None:
    assert differs(agent.init(0).policy, agent.init(1).policy)


def test_minibatches_are_drawn_as_the_config_says(agent: Agent) -> None:
    assert DRAWN.keys() == {field.name for field in dataclasses.fields(Sampling)}
    asked = {name: value for name, value in DRAWN.items() if hasattr(agent.config, name)}
    if hasattr(agent.algorithm, "sampling"):
        assert agent.algorithm.sampling(replace(agent.config, **asked)) == Sampling(**asked)
    else:
        assert asked.keys() <= {"gamma"}  # the rest would be asked for in vain


@pytest.mark.thorough
def test_finite_after_100_updates(agent: Agent) -> None:
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(agent.learned(100)))


def test_after_termination_the_next_observation_does_not_matter(agent: Agent) -> None:
    if agent.normalizes_jointly:
        pytest.skip("s' is part of the batch that normalizes s")
    ended = {"terminated": 1.0, "truncated": 0.0}
    one, other = (agent.update(agent.learned(2), agent.data(2, **ended, next_obs=n))[0] for n in (-2.0, 2.0))
    assert_identical(one, other)


def test_after_truncation_the_next_observation_matters(agent: Agent) -> None:
    cut = {"terminated": 0.0, "truncated": 1.0}
    one, other = (agent.update(agent.learned(2), agent.data(2, **cut, next_obs=n))[0] for n in (-2.0, 2.0))
    assert differs(one, other)


def test_actions_without_exploring_are_deterministic(agent: Agent) -> None:
    one, other = (act(agent, agent.learned(2), explore=False, seed=seed)[0] for seed in (0, 1))
    assert_identical(one, other)


def test_exploring_varies_with_the_key_and_keeps_the_shape_of_memory(agent: Agent) -> None:
    (one, memory), (other, _) = (act(agent, agent.learned(2), explore=True, seed=seed) for seed in (0, 1))
    assert differs(one, other)
    assert avals(memory) == avals(memories(agent, (ENVS,)))


@pytest.mark.parametrize("explore", [False, True])
def test_actions_are_in_range(agent: Agent, explore: bool) -> None:
    loud = jax.tree.map(lambda leaf: 100 * leaf, agent.learned(2).policy)  # saturates whatever can saturate
    for policy in (agent.init().policy, loud):
        actions, _ = agent.algorithm.act(
            agent.config, policy, memories(agent, (ENVS,)), observations(agent, (ENVS,)), jax.random.key(0), explore
        )
        assert_in_range(agent, actions)


def test_acting_in_numpy_equals_acting_in_jax(agent: Agent) -> None:
    states = [agent.learned(2, seed) for seed in range(LANES)]
    policies = stack([jax.tree.map(np.asarray, state.policy) for state in states])
    assert try_in_numpy(agent.algorithm, agent.config, agent.spec, policies).in_numpy
    draws = LaneGenerators(range(LANES), [0] * LANES)
    memory, obs = memories(agent, (LANES, ENVS)), observations(agent, (LANES, ENVS))
    together, _ = agent.algorithm.act(agent.config, policies, memory, obs, draws, False)
    assert isinstance(together, np.ndarray)
    for lane, state in enumerate(states):
        alone, _ = agent.algorithm.act(
            agent.config, state.policy, take(memory, lane), obs[lane], jax.random.key(0), False
        )
        np.testing.assert_allclose(together[lane], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("envs", [1, ENVS])  # a single row is multiplied in another way than several
def test_a_lane_explores_alone_as_among_others_to_the_bit(agent: Agent, envs: int) -> None:
    policies = stack([jax.tree.map(np.asarray, agent.learned(2, seed).policy) for seed in range(LANES)])
    obs, seeds = observations(agent, (LANES, envs)), range(5, 5 + LANES)
    all_together = acting(agent, policies, seeds, envs)
    together = [all_together(obs), all_together(obs)]
    for lane, seed in enumerate(seeds):
        alone = acting(agent, jax.tree.map(lambda leaf, lane=lane: leaf[lane, None], policies), [seed], envs)
        for actions in together:
            np.testing.assert_array_equal(alone(obs[lane, None])[0], actions[lane])


def acting(agent: Agent, policies: Any, seeds: Any, envs: int) -> Acting:
    made = make_acting(Behavior(agent.algorithm, agent.config, agent.spec, envs, explore=True), seeds, policies)
    assert made.verdict.in_numpy
    return made


def test_saved_and_loaded_learns_on_identically(agent: Agent) -> None:
    state = agent.learned(3)
    stored = {name: np.array(leaf) for name, leaf in named_leaves(state).items()}
    loaded = from_named_leaves(agent.init(9), stored, lambda name, like, leaf: jnp.asarray(leaf, like.dtype))
    assert_identical(agent.update(loaded, agent.data(3), step=3), agent.update(state, agent.data(3), step=3))


def act(agent: Agent, state: Any, explore: bool, seed: int) -> tuple[Any, Any]:
    memory, obs = memories(agent, (ENVS,)), observations(agent, (ENVS,))
    return agent.algorithm.act(agent.config, state.policy, memory, obs, jax.random.key(seed), explore)


def memories(agent: Agent, shape: tuple[int, ...]) -> Any:
    fresh = init_memory(agent.algorithm, agent.config, agent.spec)
    return jax.tree.map(lambda leaf: np.tile(leaf, (*shape, *[1] * np.ndim(leaf))), fresh)


def observations(agent: Agent, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((*shape, agent.spec.obs.shape[0]), np.float32)


def assert_in_range(agent: Agent, actions: Any) -> None:
    kind = agent.spec.action
    if isinstance(kind, Box):
        assert actions.shape == (ENVS, kind.size)
        assert (np.abs(actions) <= 1).all()
    else:
        sizes = kind.n if isinstance(kind, Discrete) else np.array(kind.sizes)
        assert actions.shape == (ENVS, *np.shape(sizes))
        assert np.issubdtype(actions.dtype, np.integer)
        assert ((np.asarray(actions) >= 0) & (np.asarray(actions) < sizes)).all()


def avals(tree: Any) -> Any:
    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]
