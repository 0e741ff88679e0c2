"""One update of PPO against the equations: the whole of it, minibatch by minibatch, in a slow loop."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.algorithms import ppo
from polyak.errors import UsageError
from polyak.training.plans import RolloutPlan
from polyak.tree import replace
from polyak.types import Box, Transition
from tests.fixtures.agents import ENVS, TIME, Agent, agent
from tests.fixtures.compare import assert_close, differs
from tests.fixtures.equations import advantages, at, descended
from tests.fixtures.learns import GAMMA, Learns, v

LEARNS = Learns(
    config={"gamma": GAMMA, "learning_rate": 3e-3, "lr_decay": 1.0, "epochs": 10, "minibatch": 64},
    plan={"env_steps": 12_800, "envs": 8, "rollout_length": 16},
    value=v,
)


PLAIN, EVERYTHING = agent("ppo", "plain"), agent("ppo", "everything")
CONTINUOUS = agent("ppo", "plain", Box)
SIZE, PROGRESS, KEY = TIME * ENVS, 0.3, jax.random.key(0)
STILL = 1e-30  # a learning rate that changes nothing


def learned(case: Agent) -> tuple[Any, Transition]:
    """Return a state that has learned, and a rollout unlike those that it has seen."""
    state, rollout = case.learned(3), case.data(7)
    return state, replace(rollout, obs=3 * rollout.obs + 1, reward=2 + rollout.reward)


def update(case: Agent, state: Any, rollout: Transition, **settings: float) -> tuple[Any, Any]:
    return case.jitted(replace(case.config, **settings), state, rollout, KEY, at(PROGRESS))


def estimated(config: Any, state: Any, rollout: Transition) -> dict[str, Any]:
    """Return all that the loss needs of each sample, by the policy, the value and the normalizer of before."""
    flat, policy = rollout.flat(), state.policy
    obs, next_obs = policy.normalizer(flat.obs), policy.normalizer(flat.next_obs)
    value, next_value = (np.asarray(state.value(x)).reshape(rollout.reward.shape) for x in (obs, next_obs))
    if config.normalize_rewards:
        rollout = replace(rollout, reward=state.reward_scale.advance(rollout, config.gamma)[0])
    advantage = advantages(rollout, value, next_value, config.gamma, config.lam)
    log_prob = policy.actor(obs).log_prob(flat.action)
    samples = {"advantage": advantage, "value": value, "returns": advantage + value}
    return {"obs": obs, "action": flat.action, "log_prob": log_prob, **{k: x.reshape(-1) for k, x in samples.items()}}


def loss_of(config: Any, samples: dict[str, Any]) -> Any:
    """Return a function of actor and value with the gradient of PPO's loss, in which what was clipped is left out."""
    clip, advantage = config.clip * (1 - config.anneal_clip * PROGRESS), samples["advantage"]
    if config.normalize_advantages:
        advantage = (advantage - advantage.mean()) / advantage.std()

    def loss(nets: Any) -> jax.Array:
        actions, value = nets[0](samples["obs"]), nets[1](samples["obs"])
        ratio = jnp.exp(actions.log_prob(samples["action"]) - samples["log_prob"])
        counts = jnp.where(advantage > 0, ratio <= 1 + clip, ratio >= 1 - clip)
        error, off = value - samples["returns"], value - samples["value"]
        fits: Any = True
        if config.value_clip is not None:
            near = samples["value"] + jnp.sign(off) * config.value_clip - samples["returns"]
            fits = (jnp.abs(off) <= config.value_clip) | (jnp.abs(error) >= jnp.abs(near))
        actor_loss, value_loss = -(counts * ratio * advantage).mean(), (fits * error**2).mean() / 2
        entropy = actions.entropy().mean()
        return actor_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy

    return loss


@jax.jit
def slow_step(config: Any, nets: Any, opt_state: Any, samples: dict[str, Any]) -> tuple[Any, jax.Array]:
    """Return networks and moments after a step, and the KL divergence before it."""
    ratio = jnp.exp(nets[0](samples["obs"]).log_prob(samples["action"]) - samples["log_prob"])
    optimizer = ppo.optimizer(config, config.learning_rate * (1 - config.lr_decay * PROGRESS))
    return descended(optimizer, loss_of(config, samples), nets, opt_state), (ratio - 1 - jnp.log(ratio)).mean()


def slow_update(config: Any, state: Any, rollout: Transition) -> tuple[Any, int]:
    """Return actor and value after an update, and the number of its steps."""
    samples, steps = estimated(config, state, rollout), 0
    nets, opt_state = (state.policy.actor, state.value), state.opt_state
    for key in jax.random.split(KEY, config.epochs):
        for places in jax.random.permutation(key, SIZE).reshape(-1, config.minibatch):
            minibatch = {name: part[places] for name, part in samples.items()}
            after, kl = slow_step(config, nets, opt_state, minibatch)
            if config.target_kl is not None and kl > config.target_kl:
                return nets, steps
            (nets, opt_state), steps = after, steps + 1
    return nets, steps


FAST = {"learning_rate": 0.03, "clip": 0.02}  # steps large enough for the limits to matter


@pytest.mark.parametrize(
    ("case", "settings", "most"),
    [
        (PLAIN, FAST, 4),
        (CONTINUOUS, FAST, 4),
        (EVERYTHING, {**FAST, "value_clip": 0.02, "target_kl": 10.0}, 12),
        (EVERYTHING, {**FAST, "value_clip": 0.02, "target_kl": 0.08}, 11),
    ],
    ids=["plain", "continuous", "everything", "everything, stopped"],
)
def test_every_step_of_every_epoch(case: Agent, settings: dict[str, float], most: int) -> None:
    state, rollout = learned(case)
    nets, steps = slow_update(replace(case.config, **settings), state, rollout)
    assert 1 < steps <= most
    after, metrics = update(case, state, rollout, **settings)
    assert_close((after.policy.actor, after.value), nets)
    assert metrics["clipped"] > 0.05
    unlimited, _ = update(case, state, rollout, **{**settings, "clip": 10.0})
    assert differs(unlimited.policy.actor, after.policy.actor)


def test_at_the_first_step_the_ratio_is_one_whatever_the_normalizer() -> None:
    state, rollout = learned(EVERYTHING)
    after, metrics = update(EVERYTHING, state, rollout, learning_rate=STILL)
    assert differs(after.policy.normalizer, state.policy.normalizer)
    np.testing.assert_allclose(metrics["kl"], 0, atol=1e-9)
    assert metrics["clipped"] == 0


def test_each_sample_is_learned_from_once_in_each_epoch() -> None:
    state, rollout = learned(PLAIN)
    samples = estimated(PLAIN.config, state, rollout)
    _, metrics = update(PLAIN, state, rollout, learning_rate=STILL)
    np.testing.assert_allclose(
        metrics["value_loss"], ((samples["value"] - samples["returns"]) ** 2).mean() / 2, rtol=1e-5
    )


def test_the_explained_variance() -> None:
    state, rollout = learned(PLAIN)
    samples = estimated(PLAIN.config, state, rollout)
    left = np.var(samples["returns"] - samples["value"]) / np.var(samples["returns"])
    np.testing.assert_allclose(update(PLAIN, state, rollout)[1]["explained_variance"], 1 - left, rtol=1e-3, atol=1e-5)


def test_statistics_of_observations_and_rewards_advance_once_a_rollout() -> None:
    state, rollout = learned(EVERYTHING)
    after, _ = update(EVERYTHING, state, rollout)
    assert_close(after.policy.normalizer, state.policy.normalizer.advance(rollout.flat().obs))
    assert_close(after.reward_scale, state.reward_scale.advance(rollout, EVERYTHING.config.gamma)[1])


@pytest.mark.parametrize(("minibatch", "fix"), [(48, 64), (200, 128), (20, 16), (3, 4)])
def test_minibatches_that_do_not_divide_the_rollout_are_refused(minibatch: int, fix: int) -> None:
    plan = RolloutPlan(env_steps=1280, envs=8, rollout_length=16)
    with pytest.raises(UsageError, match=f'8 = 128 transitions: use config={{"minibatch": {fix}}}'):
        ppo.validate(ppo.Config(minibatch=minibatch), plan)
    ppo.validate(ppo.Config(minibatch=fix), plan)
    assert ppo.fit(ppo.Config(minibatch=minibatch), plan).minibatch == fix
