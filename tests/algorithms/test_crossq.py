"""One update of CrossQ against the equations, written out step by step; and CrossQ against SAC."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from polyak.algorithms import crossq, sac
from polyak.networks.batch_norm import Statistics
from polyak.numerics import optimize
from polyak.tree import replace
from polyak.types import Transition
from tests.fixtures.agents import SPECS, Agent, Box, agent, small
from tests.fixtures.compare import assert_close, assert_identical, differs
from tests.fixtures.equations import changed, folded, stepped
from tests.fixtures.learns import COOL, GAMMA, OFF_POLICY, Learns, q_in_batch_statistics

# without normalization: observations that hardly vary, or not at all, have no variance to normalize by, and some
# seeds then end beyond the tolerance; the test at the end has it
LEARNS = Learns(
    config={"gamma": GAMMA, "actor_layers": (64, 64), "critic_layers": (64, 64), "batch_norm": "off", **COOL},
    plan={**OFF_POLICY, "env_steps": 4_800},
    value=q_in_batch_statistics,
)


PLAIN, NORMALIZED = agent("crossq", "plain"), agent("crossq", "normalized")  # with a delay of 1 and of 3
BOTH = pytest.mark.parametrize("case", [PLAIN, NORMALIZED], ids=["plain", "normalized"])
KEYS = jax.random.split(jax.random.key(0))  # of all updates here: for the targets, and for the actor
DUE, NOT_DUE = 5, 4  # updates at which the actor of NORMALIZED moves, and does not


def used(case: Agent, alpha: float = 0.3) -> tuple[Any, Transition]:
    """Return a state that has learned, past the warm-up of the renormalization, and a batch."""
    return replace(case.learned(12), log_alpha=jnp.log(alpha)), case.data(7)


def both_halves(state: Any, batch: Transition) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return [s; s'], [a; a'] and log π(a'|s'), a' by the actor in evaluation mode."""
    actions = state.policy.actor(batch.next_obs, state.policy.statistics)
    next_action, log_prob = actions.sample_with_log_prob(KEYS[0])
    return jnp.concatenate([batch.obs, batch.next_obs]), jnp.concatenate([batch.action, next_action]), log_prob


@partial(jax.jit, static_argnums=0)
def critics_after(case: Agent, state: Any, batch: Transition) -> tuple[jax.Array, Any, Any]:
    """Return the loss, the critics after a step down it, and their statistics: y is made before, as a constant."""
    obs, action, log_prob = both_halves(state, batch)
    n, running = len(batch.reward), state.critic_statistics
    joint = [critic.train(obs, action, of) for critic, of in zip(state.critics, running, strict=True)]
    next_q = jnp.stack([q[n:] for q, _ in joint]).min(0)
    n_steps = 1 if batch.n_steps is None else batch.n_steps
    value = next_q - jnp.exp(state.log_alpha) * log_prob
    y = batch.reward + case.config.gamma**n_steps * (1 - batch.terminated) * value

    def loss(critics: Any) -> Any:
        qs = [critic.train(obs, action, of)[0][:n] for critic, of in zip(critics, running, strict=True)]
        return sum(((q - y) ** 2).mean() / 2 for q in qs)

    optimizer = crossq.optimizer(case.config, case.config.critic_learning_rate)
    critics = stepped(optimizer, loss, state.critics, state.critic_opt_state)
    return loss(state.critics), critics, tuple(statistics for _, statistics in joint)


@pytest.mark.parametrize("case", [PLAIN, NORMALIZED], ids=["plain", "normalized"])
def test_the_gradient_flows_through_the_half_of_q_only(case: Agent) -> None:
    state, batch = used(case)
    batch = replace(folded(batch), weight=None)
    loss, critics, statistics = critics_after(case, state, batch)
    after, metrics = case.update(state, batch, step=NOT_DUE)
    np.testing.assert_allclose(metrics["critic_loss"], loss, rtol=1e-4)
    assert_close(after.critics, critics)
    assert_close(after.critic_statistics, statistics)


def test_the_statistics_of_the_critics_come_from_both_halves_together() -> None:
    state, batch = used(NORMALIZED)
    obs, action, _ = both_halves(state, batch)
    joint, momentum = np.concatenate([obs, action], -1), NORMALIZED.config.momentum
    after, _ = NORMALIZED.update(state, batch, step=NOT_DUE)
    for old, new in zip(state.critic_statistics, after.critic_statistics, strict=True):
        before, now = old["joint.0"], new["joint.0"]  # of the input
        mean = (1 - momentum) * before.mean + momentum * joint.mean(0)
        variance = (1 - momentum) * before.variance + momentum * joint.var(0, ddof=1)
        np.testing.assert_allclose(now.mean, mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(now.variance, variance, rtol=1e-4)


def test_the_critics_are_normalized_at_their_input_and_after_each_hidden_layer() -> None:
    state = NORMALIZED.init()
    assert [len(of.mean) for of in state.critic_statistics[0].values()] == [3 + 2, 16, 16]
    assert [len(of.mean) for of in state.policy.statistics.values()] == [3, 16, 16]
    assert PLAIN.init().critic_statistics == ({}, {})


@BOTH
def test_the_actor_descends_in_training_mode_with_the_critics_in_evaluation_mode(case: Agent) -> None:
    state, batch = used(case)
    after, _ = case.update(state, batch, step=DUE)

    def loss(actor: Any) -> jax.Array:
        actions, _ = actor.train(batch.obs, state.policy.statistics)
        action, log_prob = actions.sample_with_log_prob(KEYS[1])
        pairs = zip(after.critics, after.critic_statistics, strict=True)
        q = jnp.stack([critic(batch.obs, action, running) for critic, running in pairs]).min(0)
        return (0.3 * log_prob - q).mean()

    optimizer = crossq.optimizer(case.config, case.config.actor_learning_rate)
    assert_close(after.policy.actor, stepped(optimizer, loss, state.policy.actor, state.actor_opt_state))
    assert_close(after.policy.statistics, state.policy.actor.train(batch.obs, state.policy.statistics)[1])


@pytest.mark.parametrize("form", ["log", "paper"])
def test_the_temperature_follows_the_entropy_of_the_actor_in_training_mode(form: str) -> None:
    case = changed(NORMALIZED, alpha_loss=form)
    state, batch = used(case)
    actions, _ = state.policy.actor.train(batch.obs, state.policy.statistics)
    entropy = -actions.sample_with_log_prob(KEYS[1])[1].mean()
    optimizer, scale = optimize.adam(case.config.alpha_learning_rate), jnp.exp if form == "paper" else jnp.asarray
    wanted = stepped(optimizer, lambda log: scale(log) * (entropy - -0.5), state.log_alpha, state.alpha_opt_state)
    after, _ = case.update(state, batch, step=DUE)
    np.testing.assert_allclose(after.log_alpha, wanted, rtol=1e-5)


def test_actor_and_temperature_move_at_every_kth_update_only_and_leave_the_critics_alone() -> None:
    assert NORMALIZED.config.policy_delay == 3
    state, batch = used(NORMALIZED)
    afters = [NORMALIZED.update(state, batch, step=step)[0] for step in range(12, 18)]
    moved = [differs((state.policy, state.log_alpha), (after.policy, after.log_alpha)) for after in afters]
    assert moved == [False, False, True] * 2
    for after in afters:
        assert_identical((after.critics, after.critic_statistics), (afters[0].critics, afters[0].critic_statistics))
        assert differs(after.critics, state.critics)


def test_acting_uses_running_statistics() -> None:
    policy, obs = used(NORMALIZED)[0].policy, NORMALIZED.data(3).obs
    together, _ = crossq.act(NORMALIZED.config, policy, (), obs, jax.random.key(0), False)
    alone, _ = crossq.act(NORMALIZED.config, policy, (), obs[:1], jax.random.key(0), False)
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5)
    np.testing.assert_allclose(together, jnp.tanh(policy.actor(obs, policy.statistics).mean), rtol=1e-5)
    assert differs(together, jnp.tanh(policy.actor.train(obs, policy.statistics)[0].mean))


def test_the_running_statistics_are_not_learned() -> None:
    state, without = NORMALIZED.init(), PLAIN.init()
    for opt_state, running, weights in (
        (state.actor_opt_state, state.policy.statistics, without.policy.actor),
        (state.critic_opt_state, state.critic_statistics, without.critics),
    ):
        norms = jax.tree.leaves(running, is_leaf=lambda part: isinstance(part, Statistics))
        features = numbers([norm.mean for norm in norms])
        # each feature that is normalized has a scale and a shift to learn; its mean and variance are no part of that
        assert numbers(optax.tree_utils.tree_get(opt_state, "mu")) == numbers(weights) + 2 * features


def numbers(tree: Any) -> int:
    """Count the numbers in all leaves."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "shared", [{}, {"alpha": 0.1, "target_entropy": -0.5, "reward_scale": 0.1, "n_step": 3}], ids=["plain", "other"]
)
def test_without_normalization_it_is_sac_with_targets_that_copy(shared: dict[str, Any]) -> None:
    rates = {f"{which}_learning_rate": 1e-3 for which in ("actor", "critic", "alpha")}
    ours = crossq.Config(batch_norm="off", policy_delay=1, adam_b1=0.9, critic_layers=(16, 16), **rates, **shared)
    theirs = sac.Config(tau=1.0, **rates, **shared)
    one, other = (Agent(name, "alike", SPECS[Box], small(c)) for name, c in (("crossq", ours), ("sac", theirs)))
    state, of_sac = one.init(), other.init()
    for step in range(8):
        nets, of_nets = ((s.policy.actor, s.critics, s.log_alpha) for s in (state, of_sac))
        assert_close(jax.tree.leaves(nets), jax.tree.leaves(of_nets), rtol=1e-5, atol=1e-6)
        batch = replace(folded(one.data(step)), weight=None)
        state, metrics = one.update(state, batch, seed=step, step=step)
        of_sac, metrics_of_sac = other.update(of_sac, batch, seed=step, step=step)
        np.testing.assert_allclose(metrics["critic_loss"], metrics_of_sac["critic_loss"], rtol=1e-5)


def test_the_target_entropy() -> None:
    assert PLAIN.init().target_entropy == -2  # -1 for each of two dimensions
    assert NORMALIZED.init().target_entropy == -0.5
