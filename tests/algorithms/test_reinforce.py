"""One update of REINFORCE against the equations: returns by hand, the gradient written out and in expectation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from polyak.algorithms import reinforce
from polyak.networks.critics import StateValue
from polyak.tree import replace
from polyak.types import Box, Transition
from tests.fixtures.agents import Agent, agent
from tests.fixtures.compare import assert_close, assert_identical, differs
from tests.fixtures.equations import at, changed, connected, returns_to_go, standardized, stepped
from tests.fixtures.learns import GAMMA, Learns, v

LEARNS = Learns(
    config={
        "gamma": GAMMA,
        "actor_learning_rate": 3e-3,
        "baseline_learning_rate": 1e-2,
        "lr_decay": 1.0,
        Box: {"actor_learning_rate": 1e-2},  # else the deviation, which costs value, does not vanish in time
    },
    plan={"env_steps": 25_600, "envs": 8, "rollout_length": 8},
    value=v,
)


PLAIN, EVERYTHING = agent("reinforce", "plain"), agent("reinforce", "everything")
CONTINUOUS = agent("reinforce", "plain", Box)
BARE = changed(PLAIN, baseline=False)
CASES = pytest.mark.parametrize("case", [PLAIN, CONTINUOUS, EVERYTHING], ids=["plain", "continuous", "everything"])
PROGRESS = 0.3  # of the run, at all updates here


def learned(case: Agent) -> tuple[Any, Transition]:
    """Return a state that has learned, and a rollout whose rewards are far from its values."""
    state, rollout = case.learned(5), case.data(7)
    return state, connected(replace(rollout, reward=2 + rollout.reward))


def update(case: Agent, state: Any, rollout: Transition, **settings: float) -> tuple[Any, Any]:
    return case.jitted(replace(case.config, **settings), state, rollout, jax.random.key(0), at(PROGRESS))


def optimizer(case: Agent, rate: float) -> Any:
    return reinforce.optimizer(case.config, rate * (1 - case.config.lr_decay * PROGRESS))


def expected(case: Agent, state: Any, rollout: Transition) -> tuple[jax.Array, np.ndarray, np.ndarray]:
    """Return observations, b(s) and G, in the order of `flat`."""
    policy, flat, config = state.policy, rollout.flat(), case.config
    obs, next_obs = policy.normalizer(flat.obs), policy.normalizer(flat.next_obs)
    value, next_value = (np.asarray(state.baseline(x)) for x in (obs, next_obs))
    scaled = replace(rollout, reward=config.reward_scale * rollout.reward)
    return obs, value, returns_to_go(scaled, next_value.reshape(rollout.reward.shape), config.gamma).reshape(-1)


@CASES
def test_the_actor_climbs_the_log_probabilities_of_what_did_better_than_the_baseline(case: Agent) -> None:
    state, rollout = learned(case)
    obs, value, returns = expected(case, state, rollout)
    advantage = standardized(returns - value) if case.config.normalize_advantages else returns - value

    def loss(actor: Any) -> jax.Array:
        actions = actor(obs)
        climbed = advantage * actions.log_prob(rollout.flat().action)
        return -climbed.mean() - case.config.entropy_coefficient * actions.entropy().mean()

    after, metrics = update(case, state, rollout)
    np.testing.assert_allclose(metrics["actor_loss"], loss(state.policy.actor), rtol=1e-3, atol=1e-5)
    rate = optimizer(case, case.config.actor_learning_rate)
    assert_close(after.policy.actor, stepped(rate, loss, state.policy.actor, state.actor_opt_state))


@CASES
def test_the_baseline_descends_half_the_squared_error_to_the_returns(case: Agent) -> None:
    state, rollout = learned(case)
    obs, _, returns = expected(case, state, rollout)

    def loss(baseline: Any) -> jax.Array:
        return ((baseline(obs) - returns) ** 2).mean() / 2

    after, metrics = update(case, state, rollout)
    np.testing.assert_allclose(metrics["baseline_loss"], loss(state.baseline), rtol=1e-4)
    rate = optimizer(case, case.config.baseline_learning_rate)
    assert_close(after.baseline, stepped(rate, loss, state.baseline, state.baseline_opt_state))


def always(net: StateValue, number: float) -> StateValue:
    """Return a network that says one number, whatever it sees."""
    *hidden, last = net.mlp.layers
    layers = (*hidden, replace(last, weight=0 * last.weight, bias=jnp.full(1, number)))
    return replace(net, mlp=replace(net.mlp, layers=layers))


def by_hand() -> Transition:
    """Two environments: one terminates at its second step, one is cut at its third; both then go on, unfinished."""
    reward = [[1, 1], [2, 1], [4, 1], [8, 1]]
    terminated, truncated = [[0, 0], [1, 0], [0, 0], [0, 0]], [[0, 0], [0, 0], [0, 1], [0, 0]]
    some = jax.tree.map(lambda leaf: leaf[:4], PLAIN.data())
    parts = {"reward": reward, "terminated": terminated, "truncated": truncated}
    return replace(some, **{name: jnp.array(part, jnp.float32) for name, part in parts.items()})


def test_returns_to_go_by_hand() -> None:
    state = PLAIN.init()
    state = replace(state, baseline=always(state.baseline, 10.0))
    _, metrics = update(PLAIN, state, by_hand(), gamma=0.5)
    # the first: 1 + 2/2 and 2, terminated; 4 + 13/2 and 8 + 10/2, the baseline's value for what is still to come
    # the second: 1 + 4/2, 1 + 6/2, 1 + 10/2, cut and completed by the baseline; 1 + 10/2
    returns = np.array([2, 2, 10.5, 13, 3, 4, 6, 6])
    np.testing.assert_allclose(metrics["return_to_go"], returns.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["baseline_loss"], ((10 - returns) ** 2).mean() / 2, rtol=1e-5)


def test_without_a_baseline_steps_of_unfinished_episodes_do_not_count() -> None:
    state, rollout = BARE.init(), by_hand()
    assert state.baseline is None
    after, metrics = update(BARE, state, rollout, gamma=0.5)
    # the first: 2 and 2; the second, cut: 1 + 1.5/2, 1 + 1/2 and 1
    np.testing.assert_allclose(metrics["return_to_go"], np.mean([2, 2, 1.75, 1.5, 1]), rtol=1e-5)
    unfinished = jnp.array([[0, 0], [0, 0], [1, 0], [1, 1]])
    other = replace(rollout, reward=rollout.reward + 100 * unfinished, action=rollout.action ^ unfinished)
    assert_identical(update(BARE, state, other, gamma=0.5), (after, metrics))
    counted = replace(rollout, reward=rollout.reward.at[1, 0].add(1))
    assert differs(update(BARE, state, counted, gamma=0.5)[0], after)


def test_without_a_baseline_the_mean_return_takes_its_place_by_normalizing() -> None:
    state, rollout = BARE.init(), by_hand()
    returns = standardized(np.array([2, 2, 1.75, 1.5, 1], np.float32))
    places = np.array([0, 2, 1, 3, 5])  # step t of environment e stands at 2·t + e

    def loss(actor: Any) -> jax.Array:
        log_prob = actor(rollout.flat().obs).log_prob(rollout.flat().action)
        return -(returns * log_prob[places]).mean()

    after, _ = update(BARE, state, rollout, gamma=0.5)
    rate = optimizer(BARE, BARE.config.actor_learning_rate)
    assert_close(after.policy.actor, stepped(rate, loss, state.policy.actor, state.actor_opt_state))


def test_without_a_baseline_and_a_finished_episode_nothing_is_learned() -> None:
    state = BARE.init()
    after, _ = update(BARE, state, BARE.data(terminated=0.0, truncated=0.0))
    assert_identical(after.policy, state.policy)


def gradient(case: Agent, state: Any, rollout: Transition) -> Any:
    """Return the actor's gradient, its biases last: Adam's first moment is a tenth of the first one."""
    after, _ = update(case, state, rollout, reward_scale=1.0)
    return jax.tree.map(lambda moment: 10 * moment, optax.tree_utils.tree_get(after.actor_opt_state, "mu"))


def test_the_baseline_does_not_change_the_expected_gradient() -> None:
    case = changed(PLAIN, actor_layers=(), normalize_advantages=False, gradient_norm=None)
    state, likely = case.init(), jnp.array([0.5, 0.25, 0.125, 0.125])
    (layer,) = state.policy.actor.mlp.layers
    actor = replace(state.policy.actor.mlp, layers=(replace(layer, weight=0 * layer.weight, bias=jnp.log(likely)),))
    state = replace(state, policy=replace(state.policy, actor=replace(state.policy.actor, mlp=actor)))
    # one step in one state, each action as often as it is likely: the mean over the rollout is the expectation
    action = np.repeat(np.arange(4), [8, 4, 2, 2]).reshape(8, 2)
    rollout = case.data(terminated=1.0, truncated=0.0, obs=1.0)
    rollout = replace(rollout, action=jnp.asarray(action), reward=jnp.array([1.0, -2.0, 0.5, 3.0])[action])
    one, other = (
        gradient(case, replace(state, baseline=always(state.baseline, number)), rollout) for number in (0.0, -7.0)
    )
    assert_close(one, other)
    # ∂/∂logitₐ of E r = π(a)·(r(a) - E r), E r = 0.5 - 0.5 + 0.0625 + 0.375 = 0.4375
    wanted = -likely * (jnp.array([1.0, -2.0, 0.5, 3.0]) - 0.4375)
    np.testing.assert_allclose(one[0][-4:], wanted, rtol=1e-4, atol=1e-6)


def test_the_normalizer_takes_in_each_rollout_after_it_was_used() -> None:
    state, rollout = learned(EVERYTHING)
    after, _ = update(EVERYTHING, state, rollout)
    assert_close(after.policy.normalizer, state.policy.normalizer.advance(rollout.flat().obs))
