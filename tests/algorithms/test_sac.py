"""One update of SAC against the equations, written out step by step, for continuous and for discrete actions."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from polyak.algorithms import sac
from polyak.numerics import optimize
from polyak.tree import polyak_average, replace
from polyak.types import Box, Discrete, Transition
from tests.fixtures.agents import Agent, agent
from tests.fixtures.compare import assert_close, assert_identical, differs
from tests.fixtures.equations import folded, huber, stepped
from tests.fixtures.learns import COOL, OFF_POLICY, SMALL, Learns, first_q

LEARNS = Learns(
    config={**SMALL, "tau": 0.1, "critic_learning_rate": 3e-3, "actor_learning_rate": 3e-3, **COOL},
    plan={**OFF_POLICY, "env_steps": 2_400},
    value=first_q,
)


PLAIN, EVERYTHING = agent("sac", "plain"), agent("sac", "everything")
DISCRETE, DISCRETE_EVERYTHING = agent("sac", "plain", Discrete), agent("sac", "everything", Discrete)
FIXED = agent("sac", "simba")
BOTH = pytest.mark.parametrize("case", [PLAIN, EVERYTHING], ids=["plain", "everything"])
ALL = pytest.mark.parametrize("case", [PLAIN, EVERYTHING, DISCRETE], ids=["plain", "everything", "discrete"])
KEYS = jax.random.split(jax.random.key(0))  # of all updates here: for the targets, and for the actor


def apart(case: Agent, alpha: float = 0.3) -> tuple[Any, Transition]:
    """Return a state whose targets differ from its critics and whose temperature is not at its start, and a batch."""
    strange = sac.init(case.config, case.spec, jax.random.key(99))
    return replace(case.learned(5), target=strange.target, log_alpha=jnp.log(alpha)), case.data(7)


def drawn(actions: Any, key: Any) -> tuple[jax.Array, jax.Array]:
    """Draw a = tanh(u) and return log π(a|s) by the change of variables in its plain form."""
    sigma = jnp.exp(actions.log_sigma)
    u = actions.mean + sigma * jax.random.normal(key, actions.mean.shape)
    log_density = jax.scipy.stats.norm.logpdf(u, actions.mean, sigma) - jnp.log(1 - jnp.tanh(u) ** 2)
    return jnp.tanh(u), log_density.sum(-1)


def soft_value(actor: Any, critics: Any, obs: Any, key: Any) -> tuple[jax.Array, jax.Array]:
    """Return minᵢ Qᵢ(s, a) and -log π(a|s) of one sample."""
    action, log_prob = drawn(actor(obs), key)
    return jnp.stack([critic(obs, action) for critic in critics]).min(0), -log_prob


def exact_soft_value(actor: Any, critics: Any, obs: Any, key: Any) -> tuple[jax.Array, jax.Array]:
    """Return E minᵢ Qᵢ(s, a) and the entropy of a discrete policy, summed in a slow loop over the actions."""
    probs = jax.nn.softmax(actor(obs).logits)
    q: Any = 0
    entropy: Any = 0
    for a in range(probs.shape[-1]):
        q += probs[:, a] * jnp.stack([critic(obs)[:, a] for critic in critics]).min(0)
        entropy -= probs[:, a] * jnp.log(probs[:, a])
    return q, entropy


def value_of(case: Agent) -> Any:
    return soft_value if isinstance(case.spec.action, Box) else exact_soft_value


def target_values(case: Agent, state: Any, batch: Transition) -> jax.Array:
    """y = r + γ^k·(1 - terminated)·(min Q' - α·log π) (equation 5, or 3 of the discrete paper)."""
    next_obs = state.policy.normalizer(batch.next_obs)
    q, entropy = value_of(case)(state.policy.actor, state.target, next_obs, KEYS[0])
    value = q + jnp.exp(state.log_alpha) * entropy
    n_steps = 1 if batch.n_steps is None else batch.n_steps
    return case.config.reward_scale * batch.reward + case.config.gamma**n_steps * (1 - batch.terminated) * value


def taken(case: Agent, critic: Any, obs: Any, action: Any) -> jax.Array:
    """Q(s, a) of the actions taken."""
    return critic(obs, action) if isinstance(case.spec.action, Box) else critic(obs)[jnp.arange(len(action)), action]


@partial(jax.jit, static_argnums=(0, 1))
def critics_after(case: Agent, of_error: Any, state: Any, batch: Transition) -> tuple[jax.Array, Any, jax.Array]:
    """Return the loss (equation 5), the critics after a step down it, and the first one's error."""
    y, obs = target_values(case, state, batch), state.policy.normalizer(batch.obs)
    weight = jnp.ones_like(y) if batch.weight is None else batch.weight

    def loss(critics: Any) -> Any:
        return sum((weight * of_error(taken(case, critic, obs, batch.action) - y)).mean() / 2 for critic in critics)

    adam = optimize.of(case.config, case.config.critic_learning_rate)
    critics = stepped(adam, loss, state.critics, state.critic_opt_state)
    return loss(state.critics), critics, taken(case, state.critics[0], obs, batch.action) - y


@pytest.mark.parametrize(
    ("case", "of_error", "given"),
    [
        (PLAIN, jnp.square, folded),
        (EVERYTHING, huber, lambda batch: batch),
        (DISCRETE, jnp.square, lambda batch: batch),
        (DISCRETE_EVERYTHING, huber, folded),
    ],
    ids=["plain, with n-step and weights", "everything", "discrete", "discrete everything, ahead and weighted"],
)
def test_the_critics_descend_their_errors_to_the_least_soft_value(case: Agent, of_error: Any, given: Any) -> None:
    state, batch = apart(case)
    loss, critics, error = critics_after(case, of_error, state, given(batch))
    after, metrics = case.update(state, given(batch))
    np.testing.assert_allclose(metrics["critic_loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(metrics["td_error"], jnp.abs(error), rtol=1e-3, atol=1e-5)  # whatever its weight
    assert_close(after.critics, critics)


@ALL
def test_the_actor_descends_with_the_critics_just_improved_and_the_temperature_of_before(case: Agent) -> None:
    state, batch = apart(case)
    after, metrics = case.update(state, batch)
    obs = state.policy.normalizer(batch.obs)

    def loss(actor: Any) -> jax.Array:
        q, entropy = value_of(case)(actor, after.critics, obs, KEYS[1])
        return (-0.3 * entropy - q).mean()

    np.testing.assert_allclose(metrics["actor_loss"], loss(state.policy.actor), rtol=1e-3, atol=1e-5)
    adam = optimize.of(case.config, case.config.actor_learning_rate)
    actor = stepped(adam, loss, state.policy.actor, state.actor_opt_state)
    assert_close(after.policy.actor, actor)


@BOTH
def test_the_targets_follow_the_improved_critics(case: Agent) -> None:
    state, batch = apart(case)
    after, _ = case.update(state, batch)
    assert_close(after.target, polyak_average(state.target, after.critics, case.config.tau))
    fresh = case.init()
    assert_identical(fresh.target, fresh.critics)
    assert differs(*fresh.critics)


@ALL
@pytest.mark.parametrize("wanted", [-50.0, 50.0])
def test_the_temperature_moves_by_how_far_the_entropy_is_from_its_target(case: Agent, wanted: float) -> None:
    state, batch = apart(case)
    fresh = case.init()
    state = replace(state, target_entropy=jnp.float32(wanted), alpha_opt_state=fresh.alpha_opt_state)
    after, _ = case.update(state, batch)
    actor, obs = state.policy.actor, state.policy.normalizer(batch.obs)
    entropy = value_of(case)(actor, state.critics, obs, KEYS[1])[1].mean()
    # d/d(log α) of log α·(H - H̄), and of the paper's α·(H - H̄); Adam's first moment is a tenth of its first gradient
    slope = (entropy - wanted) * (0.3 if case.config.alpha_loss == "paper" else 1.0)
    np.testing.assert_allclose(optax.tree_utils.tree_get(after.alpha_opt_state, "mu"), 0.1 * slope, rtol=1e-3)
    # too little entropy makes it dearer; Adam's first step is the learning rate
    step = np.sign(wanted) * case.config.alpha_learning_rate
    np.testing.assert_allclose(after.log_alpha - state.log_alpha, step, rtol=1e-3)


def test_a_temperature_that_is_not_learned_stays() -> None:
    assert not FIXED.config.learn_alpha
    state = FIXED.init()
    after, metrics = FIXED.update(state, FIXED.data())
    assert after.log_alpha == state.log_alpha
    np.testing.assert_allclose(metrics["alpha"], FIXED.config.alpha, rtol=1e-6)


def test_the_target_entropy() -> None:
    assert PLAIN.init().target_entropy == -2  # -1 for each of two dimensions
    np.testing.assert_allclose(DISCRETE.init().target_entropy, 0.5 * np.log(4), rtol=1e-6)  # half of log n
    assert EVERYTHING.init().target_entropy == DISCRETE_EVERYTHING.init().target_entropy == -0.5  # as asked for
    all_but = replace(DISCRETE.config, target_share=0.98)
    np.testing.assert_allclose(
        sac.init(all_but, DISCRETE.spec, jax.random.key(0)).target_entropy, 0.98 * np.log(4), rtol=1e-6
    )


def test_the_temperature_starts_as_asked_for() -> None:
    np.testing.assert_allclose(jnp.exp(EVERYTHING.init().log_alpha), 0.1, rtol=1e-6)


def test_the_normalizer_takes_in_each_batch_after_it_was_used() -> None:
    state, batch = apart(EVERYTHING)
    after, _ = EVERYTHING.update(state, batch)
    assert_close(after.policy.normalizer, state.policy.normalizer.advance(batch.obs))


def test_continuous_actions_are_squashed_normal_draws_and_without_exploring_their_mode() -> None:
    policy, obs = PLAIN.learned(2).policy, np.ones((20_000, 3), np.float32)
    memory = jax.tree.map(lambda leaf: np.tile(leaf, (20_000, 1)), sac.init_memory(PLAIN.config, PLAIN.spec))
    actions, _ = sac.act(PLAIN.config, policy, memory, obs, jax.random.key(0), True)
    u, wanted = np.arctanh(actions), policy(obs[:1])
    np.testing.assert_allclose(u.mean(0), wanted.mean[0], atol=0.03)
    np.testing.assert_allclose(u.std(0), jnp.exp(wanted.log_sigma[0]), rtol=0.03)
    mode, _ = sac.act(PLAIN.config, policy, memory, obs, jax.random.key(0), False)
    np.testing.assert_allclose(mode[0], np.tanh(wanted.mean[0]), rtol=1e-5)


def test_discrete_actions_are_drawn_as_often_as_they_are_likely() -> None:
    policy, obs = apart(DISCRETE)[0].policy, np.ones((20_000, 3), np.float32)
    actions, _ = sac.act(DISCRETE.config, policy, (), obs, jax.random.key(0), True)
    frequencies = np.bincount(actions, minlength=4) / len(actions)
    np.testing.assert_allclose(frequencies, jax.nn.softmax(policy(obs[:1]).logits[0]), atol=0.015)
    best, _ = sac.act(DISCRETE.config, policy, (), obs, jax.random.key(0), False)
    assert (best == frequencies.argmax()).all()
