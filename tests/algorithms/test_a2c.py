"""One update of A2C against the equations, written out step by step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.algorithms import a2c
from polyak.networks.layers import MLP
from polyak.runs import presets
from polyak.tree import replace
from polyak.types import Box, Transition
from tests.fixtures.agents import SPECS, Agent, agent, small
from tests.fixtures.compare import assert_close, differs
from tests.fixtures.equations import advantages, at, connected, huber, returns_to_go, standardized, stepped
from tests.fixtures.learns import GAMMA, Learns, v

LEARNS = Learns(
    config={
        "gamma": GAMMA,
        "optimizer": "adam",
        "learning_rate": 3e-3,
        "lr_decay": 1.0,
        # as above; normalized, for else the first large advantages push some seeds to the border, where they stay
        Box: {"learning_rate": 1e-2, "normalize_advantages": True},
    },
    plan={"env_steps": 25_600, "envs": 8, "rollout_length": 8},
    value=v,
)


PLAIN, EVERYTHING = agent("a2c", "plain"), agent("a2c", "everything")  # with two networks and with a shared trunk
CONTINUOUS = agent("a2c", "plain", Box)
TUTORIAL = Agent(
    "a2c", "tutorial", PLAIN.spec, small(a2c.Config(**presets.find("a2c", "tutorial", "CartPole-v1").config))
)
PROGRESS = 0.3  # of the run, at all updates here


def learned(case: Agent) -> tuple[Any, Transition]:
    """Return a state that has learned, and a rollout whose rewards are far from its values."""
    state, rollout = case.learned(5), case.data(7)
    return state, replace(rollout, reward=2 + rollout.reward)


def update(case: Agent, state: Any, rollout: Transition, **settings: float) -> tuple[Any, Any]:
    return case.jitted(replace(case.config, **settings), state, rollout, jax.random.key(0), at(PROGRESS))


def nets_of(state: Any) -> tuple[Any, Any, Any]:
    return state.policy.trunk, state.policy.actor, state.value


def values(state: Any, obs: Any) -> np.ndarray:
    """V(s) of a rollout's observations `[time, env, obs]`."""
    features = state.policy.trunk(state.policy.normalizer(obs.reshape(-1, obs.shape[-1])))
    return np.asarray(state.value(features).reshape(obs.shape[:2]))


def parts(case: Agent, state: Any, rollout: Transition) -> tuple[Any, Any, Any]:
    """Return functions of the networks: -mean Â·log π, mean ℓ(V - R) and mean H, with Â and R as numbers."""
    config, flat = case.config, rollout.flat()
    scaled = replace(rollout, reward=config.reward_scale * rollout.reward)
    value, next_value = values(state, rollout.obs), values(state, rollout.next_obs)
    advantage = advantages(scaled, value, next_value, config.gamma, config.lam)
    targets = (advantage + value).reshape(-1)
    weights = (standardized(advantage) if config.normalize_advantages else advantage).reshape(-1)
    of_error = jnp.square if config.value_loss == "mse" else huber
    obs = state.policy.normalizer(flat.obs)
    return (
        lambda nets: -(weights * nets[1](nets[0](obs)).log_prob(flat.action)).mean(),
        lambda nets: of_error(nets[2](nets[0](obs)) - targets).mean(),
        lambda nets: nets[1](nets[0](obs)).entropy().mean(),
    )


def optimizer(config: Any) -> Any:
    return a2c.optimizer(config, config.learning_rate * (1 - config.lr_decay * PROGRESS))


@pytest.mark.parametrize(
    "case", [PLAIN, CONTINUOUS, EVERYTHING, TUTORIAL], ids=lambda c: f"{c.variant}-{c.spec.action}"
)
def test_one_step_down_the_sum_of_the_losses(case: Agent) -> None:
    state, rollout = learned(case)
    actor_loss, value_loss, entropy = parts(case, state, rollout)

    def loss(nets: Any) -> jax.Array:
        return (
            actor_loss(nets)
            + case.config.value_coefficient * value_loss(nets)
            - case.config.entropy_coefficient * entropy(nets)
        )

    after, metrics = update(case, state, rollout)
    assert_close(nets_of(after), stepped(optimizer(case.config), loss, nets_of(state), state.opt_state))
    nets = nets_of(state)
    for name, wanted in (("actor_loss", actor_loss), ("value_loss", value_loss), ("entropy", entropy)):
        np.testing.assert_allclose(metrics[name], wanted(nets), rtol=1e-3, atol=1e-5)


def test_lambda_of_one_is_the_return_of_n_steps() -> None:
    state, rollout = learned(PLAIN)
    rollout = connected(rollout)
    assert PLAIN.config.lam == 1
    targets = returns_to_go(rollout, values(state, rollout.next_obs), PLAIN.config.gamma)
    _, metrics = update(PLAIN, state, rollout)
    np.testing.assert_allclose(metrics["value_loss"], ((values(state, rollout.obs) - targets) ** 2).mean(), rtol=1e-4)


def test_the_tutorials_settings_are_the_one_step_actor_critic() -> None:
    assert (TUTORIAL.config.lam, TUTORIAL.config.lr_decay, TUTORIAL.config.entropy_coefficient) == (0, 0, 0)
    state, rollout = learned(TUTORIAL)
    rollout = replace(rollout, reward=100 * rollout.reward)  # which the recipe divides by 100
    reward, terminated = (part.reshape(-1) for part in (rollout.reward / 100, rollout.terminated))
    next_value = values(state, rollout.next_obs).reshape(-1)
    target = reward + 0.98 * (1 - terminated) * next_value
    td_error = target - values(state, rollout.obs).reshape(-1)

    def loss(nets: Any) -> jax.Array:
        features = nets[0](rollout.flat().obs)
        log_prob = jax.nn.log_softmax(nets[1](features).logits)[jnp.arange(len(target)), rollout.flat().action]
        return (-log_prob * td_error + huber(nets[2](features) - target)).mean()

    after, _ = update(TUTORIAL, state, rollout)
    assert_close(nets_of(after), stepped(optimizer(TUTORIAL.config), loss, nets_of(state), state.opt_state))


@pytest.mark.parametrize(("deaf", "moves"), [("actor", True), ("value", True), ("both", False)])
def test_the_shared_trunk_moves_for_each_head_that_hears_it(deaf: str, moves: bool) -> None:
    state, rollout = learned(EVERYTHING)
    state = replace(state, opt_state=EVERYTHING.init().opt_state)  # else the trunk would move without a gradient
    policy, value = state.policy, state.value
    if deaf in ("actor", "both"):
        policy = replace(policy, actor=replace(policy.actor, mlp=without_input(policy.actor.mlp)))
    if deaf in ("value", "both"):
        value = replace(value, mlp=without_input(value.mlp))
    after, _ = update(EVERYTHING, replace(state, policy=policy, value=value), rollout)
    assert differs(after.policy.trunk, state.policy.trunk) == moves


def without_input(net: MLP) -> MLP:
    """Return a network that does not hear its input, so that no gradient flows back through it."""
    first, *rest = net.layers
    return replace(net, layers=(replace(first, weight=jnp.zeros_like(first.weight)), *rest))


def test_nothing_is_shared_where_nothing_is_asked_for() -> None:
    assert PLAIN.init().policy.trunk.mlp.layers == ()


def test_what_is_not_weighed_does_not_move() -> None:
    state, rollout = learned(PLAIN)
    state = replace(state, opt_state=PLAIN.init().opt_state)
    after, _ = update(PLAIN, state, rollout, value_coefficient=0.0)
    assert differs(after.policy.actor, state.policy.actor)
    assert not differs(after.value, state.value)


@pytest.mark.parametrize(("ended", "wanted"), [("terminated", 1.0), ("truncated", 1 + 0.9 * 10)])
def test_a_task_that_ends_is_worth_nothing_more_and_a_time_limit_bootstraps(ended: str, wanted: float) -> None:
    state, rollout = PLAIN.init(), PLAIN.data(reward=1.0, terminated=0.0, truncated=0.0)
    *hidden, last = state.value.mlp.layers
    always_10 = replace(last, weight=0 * last.weight, bias=jnp.full(1, 10.0))
    state = replace(state, value=replace(state.value, mlp=replace(state.value.mlp, layers=(*hidden, always_10))))
    _, metrics = update(PLAIN, state, replace(rollout, **{ended: jnp.ones_like(rollout.reward)}), gamma=0.9)
    np.testing.assert_allclose(metrics["value_loss"], (wanted - 10) ** 2, rtol=1e-4)


def test_the_step_size_falls_over_the_run() -> None:
    state, rollout = learned(PLAIN)
    moves = []
    for lr_decay in (0.0, 1.0):
        after, _ = update(PLAIN, state, rollout, lr_decay=lr_decay)
        moves.append(jax.tree.map(jnp.subtract, nets_of(after), nets_of(state)))
    assert_close(moves[1], jax.tree.map(lambda move: (1 - PROGRESS) * move, moves[0]), rtol=1e-2, atol=1e-6)


def test_the_normalizer_takes_in_each_rollout_after_it_was_used() -> None:
    state, rollout = learned(EVERYTHING)
    after, _ = update(EVERYTHING, state, rollout)
    assert_close(after.policy.normalizer, state.policy.normalizer.advance(rollout.flat().obs))


def test_actions_are_drawn_as_often_as_they_are_likely() -> None:
    policy, obs = PLAIN.learned(20).policy, np.ones((20_000, SPECS[Box].obs.shape[0]), np.float32)
    actions, _ = a2c.act(PLAIN.config, policy, (), obs, jax.random.key(0), True)
    probs = jax.nn.softmax(policy.actor(obs[:1]).logits[0])
    np.testing.assert_allclose(np.bincount(actions, minlength=4) / len(obs), probs, atol=0.015)
    best, _ = a2c.act(PLAIN.config, policy, (), obs, jax.random.key(0), False)
    assert (best == probs.argmax()).all()
