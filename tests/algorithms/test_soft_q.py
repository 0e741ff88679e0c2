"""Soft Q-learning against the equations: its targets written out, its limits, its policy against chance."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.algorithms import dqn, soft_q
from polyak.tree import polyak_average, replace
from polyak.types import Transition
from tests.fixtures.agents import Agent, agent
from tests.fixtures.compare import assert_close, assert_identical, differs
from tests.fixtures.equations import at, folded, huber, stepped
from tests.fixtures.learns import GAMMA, OFF_POLICY, Learns, q_of_index

LEARNS = Learns(
    config={"gamma": GAMMA, "tau": 0.1, "learning_rate": 3e-3, "layers": (64, 64), "alpha": 0.1, "alpha_end": 1e-3},
    plan=OFF_POLICY,
    value=q_of_index,
)


PLAIN, EVERYTHING = agent("soft_q", "plain"), agent("soft_q", "everything")  # with one network and with two
BOTH = pytest.mark.parametrize("case", [PLAIN, EVERYTHING], ids=["plain", "everything"])
DQN = agent("dqn", "plain")


def apart(case: Agent) -> tuple[Any, Transition]:
    """Return a state whose targets differ from its networks, and a batch."""
    strange = soft_q.init(case.config, case.spec, jax.random.key(99))
    return replace(case.learned(5), target=strange.target), case.data(7)


def soft_values(state: Any, obs: jax.Array) -> jax.Array:
    """V'(s) = α·log Σ exp(min Q'(s, a)/α), summed in a slow loop over the actions."""
    q, alpha = jnp.stack([target(obs) for target in state.target]).min(0), state.policy.alpha
    total: Any = 0
    for a in range(q.shape[-1]):
        total += jnp.exp((q[:, a] - q.max(-1)) / alpha)
    return q.max(-1) + alpha * jnp.log(total)


@partial(jax.jit, static_argnums=(0, 1))
def networks_after(case: Agent, of_error: Any, state: Any, batch: Transition) -> tuple[jax.Array, Any, jax.Array]:
    """Return the loss, the networks after a step down it, and the first one's error."""
    config, rows = case.config, jnp.arange(len(batch.reward))
    n_steps = 1 if batch.n_steps is None else batch.n_steps
    value = (1 - batch.terminated) * soft_values(state, batch.next_obs)
    y = config.reward_scale * batch.reward + config.gamma**n_steps * value
    weight = jnp.ones_like(y) if batch.weight is None else batch.weight

    def loss(critics: Any) -> Any:
        errors = [critic(batch.obs)[rows, batch.action] - y for critic in critics]
        return sum((weight * of_error(error)).mean() / 2 for error in errors)

    critics = state.policy.critics
    after = stepped(soft_q.optimizer(config), loss, critics, state.opt_state)
    return loss(critics), after, critics[0](batch.obs)[rows, batch.action] - y


@pytest.mark.parametrize(
    ("case", "of_error", "given"),
    [(PLAIN, jnp.square, folded), (EVERYTHING, huber, lambda batch: batch)],
    ids=["plain, with n-step and weights", "everything"],
)
def test_the_networks_descend_their_errors_to_the_least_soft_value(case: Agent, of_error: Any, given: Any) -> None:
    state, batch = apart(case)
    assert len(state.target) == case.config.num_critics
    loss, critics, error = networks_after(case, of_error, state, given(batch))
    after, metrics = case.update(state, given(batch))
    np.testing.assert_allclose(metrics["q_loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(metrics["td_error"], jnp.abs(error), rtol=1e-4, atol=1e-5)  # whatever its weight
    assert_close(after.policy.critics, critics)


def test_without_temperature_the_target_is_that_of_dqn() -> None:
    state, batch = apart(PLAIN)
    cold = replace(state, policy=replace(state.policy, alpha=jnp.float32(1e-5)))
    (net,), (target,) = state.policy.critics, state.target
    of_dqn = replace(DQN.init(), policy=dqn.Policy(net, jnp.float32(0)), target=target)
    assert not DQN.config.double
    _, metrics = PLAIN.update(cold, batch)
    _, metrics_of_dqn = DQN.update(of_dqn, batch)
    np.testing.assert_allclose(metrics["td_error"], metrics_of_dqn["td_error"], rtol=1e-4, atol=1e-4)
    _, warm = PLAIN.update(state, batch)
    assert np.abs(warm["td_error"] - metrics["td_error"]).max() > 0.01


def values_of_next(case: Agent, state: Any, batch: Transition) -> jax.Array:
    """Return V(s') as the update has it: what is left of its error, |Q(s, a) - y|, once r and Q(s, a) are known."""
    reward = jnp.full_like(batch.reward, 10 / case.config.reward_scale)  # so large that every error is below 0
    going_on = replace(batch, reward=reward, terminated=jnp.zeros_like(reward))
    _, metrics = case.update(state, going_on)
    q = state.policy.critics[0](batch.obs)[jnp.arange(len(reward)), batch.action]
    return (metrics["td_error"] + q - 10) / case.config.gamma


@BOTH
def test_the_soft_value_lies_above_the_best_by_at_most_the_temperature_times_log_n(case: Agent) -> None:
    state, batch = apart(case)
    most = state.policy.alpha * np.log(4)
    best = jnp.stack([target(batch.next_obs) for target in state.target]).min(0).max(-1)
    above = values_of_next(case, state, batch) - best
    assert (above > 1e-3 * most).all()
    assert (above < 0.999 * most).all()
    indifferent = replace(state, target=jax.tree.map(jnp.zeros_like, state.target))
    np.testing.assert_allclose(values_of_next(case, indifferent, batch), most, rtol=1e-4)


@BOTH
def test_the_targets_follow_the_improved_networks(case: Agent) -> None:
    state, batch = apart(case)
    after, _ = case.update(state, batch)
    assert_close(after.target, polyak_average(state.target, after.policy.critics, case.config.tau))
    fresh = case.init()
    assert_identical(fresh.target, fresh.policy.critics)


def test_no_two_networks_are_alike() -> None:
    assert differs(*EVERYTHING.init().policy.critics)


def test_the_temperature_falls_in_a_line_and_stays() -> None:
    config = EVERYTHING.config  # from 0.1 to 0.01 over the first half of the run
    np.testing.assert_allclose(EVERYTHING.init().policy.alpha, 0.1, rtol=1e-6)
    # 0.1 - 0.09·(0.25/0.5) = 0.055
    for progress, wanted in ((0.0, 0.1), (0.25, 0.055), (0.5, 0.01), (0.9, 0.01)):
        after, _ = EVERYTHING.jitted(config, EVERYTHING.init(), EVERYTHING.data(), jax.random.key(0), at(progress))
        np.testing.assert_allclose(after.policy.alpha, wanted, rtol=1e-5)
    after, _ = PLAIN.jitted(PLAIN.config, PLAIN.init(), PLAIN.data(), jax.random.key(0), at(0.9))
    np.testing.assert_allclose(after.policy.alpha, 0.1, rtol=1e-6)  # where no end is given


def test_an_update_uses_the_temperature_that_acted() -> None:
    state, batch = apart(EVERYTHING)
    one, other = (
        EVERYTHING.jitted(EVERYTHING.config, state, batch, jax.random.key(0), at(progress))[1]
        for progress in (0.0, 0.9)
    )
    np.testing.assert_array_equal(one["td_error"], other["td_error"])


@BOTH
def test_actions_are_drawn_from_boltzmanns_distribution(case: Agent) -> None:
    policy, n = apart(case)[0].policy, 20_000
    obs = np.tile(case.data().obs[:1], (n, 1))
    actions, _ = soft_q.act(case.config, policy, (), obs, jax.random.key(0), True)
    q = np.mean([critic(obs[:1])[0] for critic in policy.critics], 0)
    wanted = np.exp((q - q.max()) / policy.alpha)
    np.testing.assert_allclose(np.bincount(actions, minlength=4) / n, wanted / wanted.sum(), atol=0.015)
    best, _ = soft_q.act(case.config, policy, (), obs, jax.random.key(0), False)
    assert (best == q.argmax()).all()
