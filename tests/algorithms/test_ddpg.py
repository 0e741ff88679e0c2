"""One update of DDPG against the equations, written out step by step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.algorithms import ddpg
from polyak.numerics import optimize
from polyak.tree import polyak_average, replace
from polyak.types import Transition
from tests.fixtures.agents import agent
from tests.fixtures.compare import assert_close, assert_identical, differs
from tests.fixtures.equations import folded
from tests.fixtures.learns import GAMMA, Learns, q

LEARNS = Learns(
    config={
        "gamma": GAMMA,
        "tau": 0.1,
        "critic_learning_rate": 3e-3,
        "noise_sigma": 0.2,
        "actor_layers": (64, 64),  # with 16 units, or half the steps, some seeds do not arrive
        "critic_joint_layers": (64, 64),
    },
    plan={"env_steps": 1_600, "warmup": 200, "rollout_length": 100, "batch": 64},
    value=q,
)


PLAIN, EVERYTHING = agent("ddpg", "plain"), agent("ddpg", "everything")
BOTH = pytest.mark.parametrize("case", [PLAIN, EVERYTHING], ids=["plain", "everything"])


def apart(case: Any) -> tuple[Any, Transition]:
    """Return a state whose targets differ from its networks, and a batch."""
    state = case.learned(5)
    # with final layers as large as the others: else every action is almost 0, whatever is seen
    strange = ddpg.init(replace(case.config, final_init=None), case.spec, jax.random.key(99))
    target = replace(state.target, actor=strange.policy.actor, critic=strange.critic)
    return replace(state, target=target), case.data(7)


def target_values(config: Any, state: Any, batch: Transition) -> jax.Array:
    """y = r + γ^k·(1 - terminated)·Q'(s', μ'(s')), k n-step, statistics running, observations normalized."""
    next_obs = state.policy.normalizer(batch.next_obs)
    action = state.target.actor(next_obs, state.target.actor_statistics)
    q = state.target.critic(next_obs, action, state.target.critic_statistics)
    n_steps = 1 if batch.n_steps is None else batch.n_steps
    return config.reward_scale * batch.reward + config.gamma**n_steps * (1 - batch.terminated) * q


@pytest.mark.parametrize("given", [lambda batch: batch, folded], ids=["plain", "with n-step and weights"])
def test_the_critic_descends_the_squared_error_to_the_target(given: Any) -> None:
    state, batch = apart(PLAIN)
    batch = given(batch)
    y = target_values(PLAIN.config, state, batch)
    weight = jnp.ones_like(y) if batch.weight is None else batch.weight

    def loss(critic: Any) -> jax.Array:
        return (weight * (critic(batch.obs, batch.action) - y) ** 2).mean()

    after, metrics = PLAIN.update(state, batch)
    q = state.critic(batch.obs, batch.action)
    np.testing.assert_allclose(metrics["critic_loss"], loss(state.critic), rtol=1e-5)
    np.testing.assert_allclose(metrics["q"], q.mean(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["td_error"], jnp.abs(q - y), rtol=1e-4, atol=1e-5)  # whatever its weight
    steps, _ = ddpg.critic_optimizer(PLAIN.config).update(jax.grad(loss)(state.critic), state.critic_opt_state)
    assert_close(after.critic, jax.tree.map(jnp.add, state.critic, steps))


def test_the_actor_climbs_the_value_of_the_critic_just_improved() -> None:
    state, batch = apart(PLAIN)
    after, metrics = PLAIN.update(state, batch)

    def loss(actor: Any) -> jax.Array:
        return -after.critic(batch.obs, actor(batch.obs)).mean()

    np.testing.assert_allclose(metrics["actor_loss"], loss(state.policy.actor), rtol=1e-4, atol=1e-6)
    steps, _ = optimize.of(PLAIN.config, PLAIN.config.actor_learning_rate).update(
        jax.grad(loss)(state.policy.actor), state.actor_opt_state
    )
    assert_close(after.policy.actor, jax.tree.map(jnp.add, state.policy.actor, steps))


def test_with_every_option_the_critic_loss_is_that_of_the_equations() -> None:
    state, batch = apart(EVERYTHING)
    error, _ = state.critic.train(state.policy.normalizer(batch.obs), batch.action, state.critic_statistics)
    size = jnp.abs(error - target_values(EVERYTHING.config, state, batch))
    huber = jnp.where(size < 1, size**2 / 2, size - 0.5)
    _, metrics = EVERYTHING.update(state, batch)
    np.testing.assert_allclose(metrics["critic_loss"], huber.mean(), rtol=1e-4)


@BOTH
def test_the_targets_follow_the_improved_networks(case: Any) -> None:
    state, batch = apart(case)
    after, _ = case.update(state, batch)
    assert_close(after.target.actor, polyak_average(state.target.actor, after.policy.actor, case.config.tau))
    assert_close(after.target.critic, polyak_average(state.target.critic, after.critic, case.config.tau))


@BOTH
def test_a_fresh_target_is_the_network_itself(case: Any) -> None:
    state = case.init()
    assert_identical((state.target.actor, state.target.critic), (state.policy.actor, state.critic))


def test_the_targets_copy_the_batch_norm_statistics_whole() -> None:
    state, batch = apart(EVERYTHING)
    after, _ = EVERYTHING.update(state, batch)
    assert_identical(after.target.actor_statistics, after.policy.statistics)
    assert_identical(after.target.critic_statistics, after.critic_statistics)
    assert differs(after.policy.statistics, state.policy.statistics)
    assert differs(after.critic_statistics, state.critic_statistics)


def test_the_critic_statistics_come_from_the_actions_taken_not_from_the_actor() -> None:
    state, batch = apart(EVERYTHING)
    _, statistics = state.critic.train(state.policy.normalizer(batch.obs), batch.action, state.critic_statistics)
    after, _ = EVERYTHING.update(state, batch)
    assert_close(after.critic_statistics, statistics)


def test_the_normalizer_takes_in_each_batch_after_it_was_used() -> None:
    state, batch = apart(EVERYTHING)
    after, _ = EVERYTHING.update(state, batch)
    assert_close(after.policy.normalizer, state.policy.normalizer.advance(batch.obs))


def test_rewards_are_scaled() -> None:
    state, batch = apart(PLAIN)
    one, _ = PLAIN.jitted(replace(PLAIN.config, reward_scale=3.0), state, batch, jax.random.key(0), 0)
    other, _ = PLAIN.update(state, replace(batch, reward=3.0 * batch.reward))
    assert_close(one, other)


def test_exploring_adds_noise_of_the_deviation_asked_for() -> None:
    policy, obs = PLAIN.init().policy, np.zeros((5000, 3), np.float32)
    noisy, memory = ddpg.act(PLAIN.config, policy, (), obs, jax.random.key(0), True)
    still, _ = ddpg.act(PLAIN.config, policy, (), obs, jax.random.key(0), False)
    np.testing.assert_allclose((noisy - still).std(), 0.1, rtol=0.03)
    assert memory == ()
