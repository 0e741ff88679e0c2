"""DQN against the equations: targets by hand and written out, exploration against chance."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.algorithms import dqn
from polyak.networks.critics import ActionValues
from polyak.networks.encoders import Vector
from polyak.networks.layers import MLP, Linear
from polyak.numerics.draws import LaneGenerators
from polyak.tree import polyak_average, replace
from polyak.types import Transition
from tests.fixtures.agents import Agent, agent
from tests.fixtures.compare import assert_close, assert_identical, differs, stack
from tests.fixtures.equations import at, folded, huber, stepped
from tests.fixtures.learns import GAMMA, OFF_POLICY, Learns, q_of_index

LEARNS = Learns(
    config={"gamma": GAMMA, "tau": 0.1, "learning_rate": 3e-3, "layers": (64, 64), "epsilon_fraction": 0.5},
    plan=OFF_POLICY,
    value=q_of_index,
)


PLAIN, EVERYTHING = agent("dqn", "plain"), agent("dqn", "everything")
BOTH = pytest.mark.parametrize("case", [PLAIN, EVERYTHING], ids=["plain", "everything"])


def apart(case: Agent) -> tuple[Any, Transition]:
    """Return a state whose target differs from its network, and a batch."""
    strange = dqn.init(case.config, case.spec, jax.random.key(99))
    return replace(case.learned(5), target=strange.target), case.data(7)


def target_values(case: Agent, state: Any, batch: Transition) -> jax.Array:
    """y = r + γ^k·(1 - terminated)·Q'(s', a'), a' the best action by Q where double, by Q' where not."""
    q, rows = state.target(batch.next_obs), jnp.arange(len(batch.reward))
    best = (state.policy.q(batch.next_obs) if case.config.double else q).argmax(-1)
    n_steps = 1 if batch.n_steps is None else batch.n_steps
    return case.config.reward_scale * batch.reward + case.config.gamma**n_steps * (1 - batch.terminated) * q[rows, best]


@partial(jax.jit, static_argnums=(0, 1))
def network_after(case: Agent, of_error: Any, state: Any, batch: Transition) -> tuple[jax.Array, Any, jax.Array]:
    """Return the loss, the network after a step down it, and the error."""
    y, rows = target_values(case, state, batch), jnp.arange(len(batch.reward))
    weight = jnp.ones_like(y) if batch.weight is None else batch.weight

    def loss(q: Any) -> jax.Array:
        return (weight * of_error(q(batch.obs)[rows, batch.action] - y)).mean()

    after = stepped(dqn.optimizer(case.config), loss, state.policy.q, state.opt_state)
    return loss(state.policy.q), after, state.policy.q(batch.obs)[rows, batch.action] - y


@pytest.mark.parametrize(
    ("case", "of_error", "given"),
    [(PLAIN, huber, lambda batch: batch), (EVERYTHING, jnp.square, folded)],
    ids=["plain", "everything, with n-step and weights"],
)
def test_the_network_descends_its_error_to_the_target(case: Agent, of_error: Any, given: Any) -> None:
    state, batch = apart(case)
    loss, q, error = network_after(case, of_error, state, given(batch))
    after, metrics = case.update(state, given(batch))
    np.testing.assert_allclose(metrics["q_loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(metrics["td_error"], jnp.abs(error), rtol=1e-4, atol=1e-5)  # whatever its weight
    assert_close(after.policy.q, q)


def table(values: list[list[float]]) -> ActionValues:
    """Make a network that reads the values of states off a table: state i is seen as row i of the identity."""
    net = MLP((Linear(jnp.array(values), jnp.zeros(len(values[0]))),), (), linear_end=True)
    return ActionValues(Vector(), net, None, None)


ONLINE, TARGET = table([[7.0, 6.0], [1.0, 2.0]]), table([[0.0, 0.0], [5.0, 3.0]])
STEP = Transition(
    obs=jnp.array([[1.0, 0.0]] * 3),
    action=jnp.array([0, 1, 1]),
    reward=jnp.array([1.0, 1.0, 1.0]),
    next_obs=jnp.array([[0.0, 1.0]] * 3),
    terminated=jnp.array([0.0, 0.0, 1.0]),
    truncated=jnp.array([0.0, 1.0, 0.0]),
)


@pytest.mark.parametrize(
    ("double", "errors", "loss"),
    [
        # the best of Q' is 5: y = 1 + 0.9·5 = 5.5, but 1 where the task ended. Q(s, a) is 7, 6 and 6
        (False, [1.5, 0.5, 5.0], (1.0 + 0.125 + 4.5) / 3),  # Huber's: 1.5 - ½, 0.5²/2, 5 - ½
        # Q finds the other action best, which Q' gives 3: y = 1 + 0.9·3 = 3.7
        (True, [3.3, 2.3, 5.0], (2.8 + 1.8 + 4.5) / 3),
    ],
)
def test_targets_by_hand(double: bool, errors: list[float], loss: float) -> None:
    config = dqn.Config(gamma=0.9, double=double, layers=())
    policy = dqn.Policy(ONLINE, jnp.float32(0.1))
    state = dqn.State(policy, TARGET, dqn.optimizer(config).init(ONLINE))
    after, metrics = jax.jit(dqn.update)(config, state, STEP, jax.random.key(0), at(0.0))
    np.testing.assert_allclose(metrics["td_error"], errors, rtol=1e-5)
    np.testing.assert_allclose(metrics["q_loss"], loss, rtol=1e-5)
    # whoever was in state 0 was overestimated: Adam's first step takes its learning rate off both actions
    wanted = np.array([[7.0, 6.0], [1.0, 2.0]]) - [[5e-4, 5e-4], [0, 0]]
    np.testing.assert_allclose(after.policy.q.trunk.layers[0].weight, wanted, rtol=1e-5)


def test_dueling_values_are_a_states_value_and_advantages_without_their_mean() -> None:
    net = EVERYTHING.init().policy.q
    features = net.trunk(EVERYTHING.data().obs)
    value, advantage = net.value(features), net.advantage(features)
    np.testing.assert_allclose(net(EVERYTHING.data().obs).mean(-1), value[:, 0], rtol=1e-4, atol=1e-5)
    relative = advantage[:, 1] - advantage[:, 0]
    values = net(EVERYTHING.data().obs)
    np.testing.assert_allclose(values[:, 1] - values[:, 0], relative, rtol=1e-4, atol=1e-5)
    assert PLAIN.init().policy.q.value is None


def test_the_target_follows_slowly_or_is_copied_every_so_often() -> None:
    state, batch = apart(PLAIN)
    after, _ = PLAIN.update(state, batch)
    assert_close(after.target, polyak_average(state.target, after.policy.q, PLAIN.config.tau))
    assert (EVERYTHING.config.tau, EVERYTHING.config.target_period) == (1.0, 3)
    state, batch = apart(EVERYTHING)
    for step in range(6):
        after, _ = EVERYTHING.update(state, batch, step=step)
        assert_identical(after.target, after.policy.q if step % 3 == 2 else state.target)
        assert differs(after.policy.q, state.policy.q)
        state = after


@BOTH
def test_a_fresh_target_is_the_network_itself(case: Agent) -> None:
    state = case.init()
    assert_identical(state.target, state.policy.q)


def test_the_share_of_random_actions_falls_in_a_line_and_stays() -> None:
    config = replace(PLAIN.config, epsilon_start=0.9, epsilon_end=0.1, epsilon_fraction=0.5)
    state = dqn.init(config, PLAIN.spec, jax.random.key(0))
    np.testing.assert_allclose(state.policy.epsilon, 0.9, rtol=1e-6)
    # 0.9 - 0.8·(0.25/0.5) = 0.5; from half of the run on 0.1
    for progress, wanted in ((0.0, 0.9), (0.25, 0.5), (0.5, 0.1), (0.8, 0.1)):
        after, metrics = PLAIN.jitted(config, state, PLAIN.data(), jax.random.key(0), at(progress))
        np.testing.assert_allclose(after.policy.epsilon, wanted, rtol=1e-5)
        np.testing.assert_allclose(metrics["epsilon"], wanted, rtol=1e-5)


def policy_of(epsilon: float) -> dqn.Policy:
    return dqn.Policy(table([[0.0, 3.0, 1.0, 2.0]]), jnp.float32(epsilon))


@pytest.mark.parametrize("in_numpy", [False, True], ids=["jax", "numpy"])
def test_a_random_action_is_as_likely_as_asked_for_and_any(in_numpy: bool) -> None:
    n, policy = 20_000, policy_of(0.4)
    obs: Any = np.ones((n, 1), np.float32)
    if in_numpy:
        policy, obs = stack([jax.tree.map(np.asarray, policy)]), obs[None]
    key = LaneGenerators([0], [0]) if in_numpy else jax.random.key(0)
    actions, _ = dqn.act(PLAIN.config, policy, (), obs, key, True)
    # action 1 is best: 0.6 and its share of the 0.4
    np.testing.assert_allclose(np.bincount(np.ravel(actions), minlength=4) / n, [0.1, 0.7, 0.1, 0.1], atol=0.015)
    best, _ = dqn.act(PLAIN.config, policy, (), obs, key, False)
    assert (best == 1).all()


@pytest.mark.parametrize(("epsilon", "distinct"), [(0.0, 1), (1.0, 4)])
def test_the_extremes_of_exploring(epsilon: float, distinct: int) -> None:
    obs = np.ones((500, 1), np.float32)
    actions, _ = dqn.act(PLAIN.config, policy_of(epsilon), (), obs, jax.random.key(0), True)
    assert len(np.unique(actions)) == distinct
