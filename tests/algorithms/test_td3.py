"""One update of TD3 against the equations, written out step by step; and TD3 against DDPG, where the two are one."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.algorithms import ddpg, td3
from polyak.numerics import optimize
from polyak.tree import polyak_average, replace
from polyak.types import Transition
from tests.fixtures.agents import SPECS, Agent, Box, agent, small
from tests.fixtures.compare import assert_close, assert_identical, differs
from tests.fixtures.equations import folded, huber, stepped
from tests.fixtures.learns import OFF_POLICY, SMALL, Learns, first_q

LEARNS = Learns(
    config={**SMALL, "tau": 0.1, "critic_learning_rate": 3e-3, "noise_sigma": 0.2, "smoothing_sigma": 0.05},
    plan={**OFF_POLICY, "env_steps": 2_400},
    value=first_q,
)


PLAIN, EVERYTHING = agent("td3", "plain"), agent("td3", "everything")  # with a delay of 1 and of 2
BOTH = pytest.mark.parametrize("case", [PLAIN, EVERYTHING], ids=["plain", "everything"])
KEY = jax.random.key(0)  # of all updates here


def apart(case: Agent) -> tuple[Any, Transition]:
    """Return a state whose targets differ from its networks, and a batch."""
    # with final layers as large as the others: else every action is almost 0, whatever is seen
    strange = td3.init(replace(case.config, final_init=None), case.spec, jax.random.key(99))
    return replace(case.learned(5), target=strange.target), case.data(7)


def smoothed(config: Any, state: Any, batch: Transition) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the noise before it is clipped, the action before it is clipped, and a' of equation 14."""
    noise = config.smoothing_sigma * jax.random.normal(KEY, batch.action.shape)
    action = state.target.actor(state.policy.normalizer(batch.next_obs)) + jnp.clip(
        noise, -config.smoothing_clip, config.smoothing_clip
    )
    return noise, action, jnp.clip(action, -1, 1)


def target_values(config: Any, state: Any, batch: Transition) -> jax.Array:
    """y = r + γ^k·(1 - terminated)·minᵢ Q'ᵢ(s', a') (equation 15), k the steps that a sample reaches ahead."""
    action = smoothed(config, state, batch)[2]
    q = jnp.stack([critic(state.policy.normalizer(batch.next_obs), action) for critic in state.target.critics])
    n_steps = 1 if batch.n_steps is None else batch.n_steps
    return config.reward_scale * batch.reward + config.gamma**n_steps * (1 - batch.terminated) * q.min(0)


@partial(jax.jit, static_argnums=(0, 1))
def critics_after(case: Agent, of_error: Any, state: Any, batch: Transition) -> tuple[jax.Array, Any, jax.Array]:
    """Return the loss, summed over the critics; the critics after a step down it; the first one's error."""
    y, obs = target_values(case.config, state, batch), state.policy.normalizer(batch.obs)
    weight = jnp.ones_like(y) if batch.weight is None else batch.weight

    def loss(critics: Any) -> Any:
        return sum((weight * of_error(critic(obs, batch.action) - y)).mean() for critic in critics)

    critics = stepped(
        optimize.of(case.config, case.config.critic_learning_rate), loss, state.critics, state.critic_opt_state
    )
    return loss(state.critics), critics, state.critics[0](obs, batch.action) - y


@pytest.mark.parametrize(
    ("case", "of_error", "given"),
    [(PLAIN, jnp.square, folded), (EVERYTHING, huber, lambda batch: batch)],
    ids=["plain, with n-step and weights", "everything"],
)
def test_the_critics_descend_the_sum_of_their_errors_to_the_least_target(case: Agent, of_error: Any, given: Any):
    state, batch = apart(case)
    assert len(state.critics) == case.config.num_critics
    loss, critics, error = critics_after(case, of_error, state, given(batch))
    after, metrics = case.update(state, given(batch))
    np.testing.assert_allclose(metrics["critic_loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(metrics["td_error"], jnp.abs(error), rtol=1e-4, atol=1e-5)  # whatever its weight
    assert_close(after.critics, critics)


def test_the_noise_is_clipped_and_then_the_action() -> None:
    loud = replace(PLAIN.config, smoothing_sigma=2.0, smoothing_clip=1.2)
    state, batch = apart(PLAIN)
    noise, before, action = smoothed(loud, state, batch)
    assert 0.2 < (jnp.abs(noise) > 1.2).mean() < 0.8
    assert 0.2 < (jnp.abs(before) > 1).mean() < 0.8
    assert jnp.abs(action).max() == 1
    error = state.critics[0](batch.obs, batch.action) - target_values(loud, state, batch)
    _, metrics = PLAIN.jitted(loud, state, batch, KEY, 0)
    np.testing.assert_allclose(metrics["td_error"], jnp.abs(error), rtol=1e-4, atol=1e-5)


@BOTH
def test_the_actor_climbs_the_first_critic_just_improved(case: Agent) -> None:
    state, batch = apart(case)
    after, _ = case.update(state, batch, step=1)
    obs = state.policy.normalizer(batch.obs)

    def loss(actor: Any) -> jax.Array:
        return -after.critics[0](obs, actor(obs)).mean()

    actor = stepped(
        optimize.of(case.config, case.config.actor_learning_rate), loss, state.policy.actor, state.actor_opt_state
    )
    assert_close(after.policy.actor, actor)


@BOTH
def test_the_targets_follow_the_improved_networks(case: Agent) -> None:
    state, batch = apart(case)
    after, _ = case.update(state, batch, step=1)
    assert_close(after.target.actor, polyak_average(state.target.actor, after.policy.actor, case.config.tau))
    assert_close(after.target.critics, polyak_average(state.target.critics, after.critics, case.config.tau))


@BOTH
def test_a_fresh_target_is_the_network_itself_and_no_two_critics_are_alike(case: Agent) -> None:
    state = case.init()
    assert_identical((state.target.actor, state.target.critics), (state.policy.actor, state.critics))
    assert differs(*state.critics[:2])


def test_actor_and_targets_move_at_every_kth_update_only() -> None:
    assert EVERYTHING.config.policy_delay == 2
    state, moved = EVERYTHING.learned(2), []
    for step in range(2, 8):
        after, _ = EVERYTHING.update(state, EVERYTHING.data(step), step=step)
        slow = [(s.policy.actor, s.target.actor, s.target.critics, s.actor_opt_state) for s in (state, after)]
        moved.append(differs(*slow))
        if not moved[-1]:
            assert_identical(*slow)
        assert differs(after.critics, state.critics)
        assert differs(after.policy.normalizer, state.policy.normalizer)
        state = after
    assert moved == [False, True] * 3


def test_the_normalizer_takes_in_each_batch_after_it_was_used() -> None:
    state, batch = apart(EVERYTHING)
    after, _ = EVERYTHING.update(state, batch)
    assert_close(after.policy.normalizer, state.policy.normalizer.advance(batch.obs))


SHARED: dict[str, dict[str, Any]] = {
    "plain": {"final_init": 3e-3},
    "everything": {
        "final_init": None,
        "critic_state_layers": (16,),
        "critic_action_layers": (8,),
        "bound": "clip",
        "loss": "huber",
        "weight_decay": 0.01,
        "gradient_norm": 0.5,
        "normalize_observations": True,
    },
}


@pytest.mark.parametrize(
    ("shared", "given"),
    [(SHARED["plain"], folded), (SHARED["everything"], lambda batch: batch)],
    ids=["plain, with n-step and weights", "everything"],
)
def test_with_one_critic_without_smoothing_or_delay_it_is_ddpg_to_the_bit(shared: dict[str, Any], given: Any) -> None:
    alone: dict[str, Any] = {"num_critics": 1, "smoothing_sigma": 0.0, "policy_delay": 1}
    one = Agent("td3", "as ddpg", SPECS[Box], small(td3.Config(**shared, **alone)))
    other = Agent("ddpg", "as td3", SPECS[Box], small(ddpg.Config(**shared)))
    ours, theirs = one.init(), other.init()
    for step in range(8):
        assert_identical((ours.policy.actor, ours.critics[0]), (theirs.policy.actor, theirs.critic))
        assert_identical((ours.target.actor, ours.target.critics[0]), (theirs.target.actor, theirs.target.critic))
        assert_identical(ours.policy.normalizer, theirs.policy.normalizer)
        batch = given(one.data(step))
        ours, metrics = one.update(ours, batch, seed=step, step=step)
        theirs, of_ddpg = other.update(theirs, batch, seed=step, step=step)
        assert_identical(metrics, {name: of_ddpg[name] for name in metrics})


def test_exploring_adds_noise_of_the_deviation_asked_for() -> None:
    policy, obs = PLAIN.init().policy, np.zeros((5000, 3), np.float32)
    noisy, memory = td3.act(PLAIN.config, policy, (), obs, jax.random.key(0), True)
    still, _ = td3.act(PLAIN.config, policy, (), obs, jax.random.key(0), False)
    np.testing.assert_allclose((noisy - still).std(), 0.1, rtol=0.03)
    assert memory == ()
