"""What was compiled for one training serves the next: only static settings compile anew."""

from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv

from polyak import tree
from polyak.envs import functional
from polyak.envs.gymnasium import VectorEnv
from polyak.training.device import DeviceLoop
from polyak.training.host import HostLoop
from polyak.training.job import Job
from polyak.training.plans import ReplayPlan
from tests.fixtures import toys
from tests.fixtures.walk import Walk

PLAN = ReplayPlan(env_steps=40, warmup=8, rollout_length=8, batch=4, evaluations=1)


class Counted:
    """An algorithm that counts how often its parts are traced."""

    def __init__(self) -> None:
        self.traces = 0

        def update(*arguments: Any) -> Any:
            self.traces += 1
            return toys.update(*arguments)

        self.algorithm = toys.variant(toys.linear, update=update)


def on_host(algorithm: Any, config: Any = toys.Config(), plan: ReplayPlan = PLAN) -> Any:  # noqa: B008 (frozen)
    return toys.finish(HostLoop(Job(algorithm, config, plan, VectorEnv(Walk, (3,), plan.envs), (3,))))


def on_device(algorithm: Any, config: Any = toys.Config(), plan: ReplayPlan = PLAN) -> Any:  # noqa: B008 (frozen)
    return toys.finish(DeviceLoop(Job(algorithm, config, plan, functional.find("Pendulum-v1"), (3,))))


@pytest.mark.parametrize("train", [on_host, on_device])
def test_warm_up_partial_and_full_iterations_are_one_program(train: Any) -> None:
    counted, once = Counted(), Counted()
    train(counted.algorithm, plan=replace(PLAN, env_steps=45, warmup=9))
    train(once.algorithm, plan=replace(PLAN, env_steps=16, rollout_length=8))
    assert counted.traces == once.traces > 0


@pytest.mark.parametrize("train", [on_host, on_device])
def test_a_second_training_with_other_numbers_compiles_nothing(train: Any) -> None:
    counted = Counted()
    first = train(counted.algorithm)
    traces = counted.traces
    second = train(counted.algorithm, config=tree.replace(toys.Config(), rate=0.2))
    assert counted.traces == traces
    assert not np.array_equal(first.policy.weight, second.policy.weight)  # the number was heard all the same


@pytest.mark.parametrize("train", [on_host, on_device])
def test_another_plan_is_another_program(train: Any) -> None:
    counted = Counted()
    train(counted.algorithm)
    traces = counted.traces
    train(counted.algorithm, plan=replace(PLAN, batch=8))
    assert counted.traces > traces


def users(algorithm: Any) -> Any:
    """Return an algorithm that is not polyak's own."""
    made = ModuleType("their_algorithm")
    vars(made).update({name: part for name, part in vars(algorithm).items() if not name.startswith("__")})
    return made


@pytest.mark.parametrize("train", [on_host, on_device])
def test_a_users_algorithm_that_was_loaded_again_is_what_it_is_now(train: Any) -> None:
    algorithm = users(toys.linear)
    before = train(algorithm)
    algorithm.update = lambda config, state, *rest: (state, toys.update(config, state, *rest)[1])
    assert not np.array_equal(before.policy.weight, train(algorithm).policy.weight)


class Falling(FuncEnv):
    """A stone that falls as far at each step as it is told when it is compiled."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    max_episode_steps = 4
    gravity = 1.0

    def initial(self, rng: Any, params: Any = None) -> Any:
        return jnp.zeros(1)

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        return state - self.gravity

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state

    def reward(self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None) -> Any:
        return next_state[0]

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.zeros((), bool)


def test_a_users_environment_that_was_changed_is_what_it_is_now() -> None:
    env, lowest = Falling(), []
    for gravity in (1.0, 5.0):
        env.gravity = gravity
        loop = DeviceLoop(Job(toys.linear, toys.Config(), PLAN, functional.find(lambda: env), (3,)))
        toys.finish(loop)
        lowest.append(float(loop.lane.learner.buffer.data.reward.min()))
    assert lowest == [-4.0, -20.0]


def test_an_algorithm_of_polyaks_that_was_changed_is_what_it_is_now() -> None:
    algorithm = toys.variant(toys.linear)
    before = on_host(algorithm)
    algorithm.update = lambda config, state, *rest: (state, toys.update(config, state, *rest)[1])
    assert not np.array_equal(before.policy.weight, on_host(algorithm).policy.weight)


def test_an_algorithm_that_is_no_module_can_be_trained() -> None:
    parts = {name: part for name, part in vars(toys.linear).items() if not name.startswith("__")}
    assert on_host(SimpleNamespace(**parts)).counts.done
