"""Acting for all lanes at once, in NumPy or compiled; on-policy algorithms, which act with what they just learned."""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.envs.gymnasium import VectorEnv
from polyak.envs.probe import ActionReward
from polyak.errors import UsageError
from polyak.training.acting import Behavior, NumpyActing, OneLaneActing, make_acting
from polyak.training.host import HostLoop
from polyak.training.job import Job
from polyak.training.numpy_trial import Verdict
from polyak.training.plan import Plan
from polyak.training.plans import ReplayPlan, RolloutPlan
from polyak.training.protocols import Acting
from polyak.types import Box, Discrete, EnvSpec, MultiDiscrete, vector
from tests.fixtures import toys
from tests.fixtures.compare import stack
from tests.fixtures.walk import Walk

SPEC = EnvSpec(vector(2), Box(1))
SEEDS = (3, 4)
POLICIES = stack([jax.tree.map(np.asarray, toys.init(toys.Config(), SPEC, jax.random.key(s)).policy) for s in SEEDS])
OBS = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 3, 2)).astype(np.float32)


def acting(
    algorithm: Any = toys.linear,
    explore: bool = True,
    seeds: Sequence[int] = SEEDS,
    policies: Any = POLICIES,
    verdict: Verdict | None = None,
) -> Acting:
    behavior = Behavior(algorithm, toys.Config(), SPEC, num_envs=3, explore=explore)
    made = make_acting(behavior, seeds, policies, verdict)
    made.seed([0] * len(seeds))
    return made


def in_numpy(acting: Acting) -> bool:
    assert isinstance(acting, NumpyActing) == acting.verdict.in_numpy
    assert isinstance(acting, OneLaneActing) == (acting.verdict.in_numpy and len(acting.policy.updates) == 1)
    return acting.verdict.in_numpy


def test_an_act_for_jax_alone_is_compiled_and_chooses_the_same_greedy_actions() -> None:
    fast, compiled = acting(toys.linear, explore=False), acting(toys.linear_in_jax, explore=False)
    assert in_numpy(fast)
    assert not in_numpy(compiled)
    np.testing.assert_allclose(fast(OBS), compiled(OBS), rtol=1e-5, atol=1e-6)


def test_an_act_that_is_wrong_with_lanes_is_compiled() -> None:
    def act(config: Any, policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
        return (obs[:, :1] * policy.weight[:1]).clip(-1, 1), memory  # right for [env, obs]; quietly wrong for lanes

    def raises(*arguments: Any) -> Any:
        return act(*arguments)[0], arguments[2][10]  # only JAX clips indices

    for wrong in (act, raises):
        one_lane = toys.variant(toys.linear, act=wrong)
        actor = acting(one_lane, explore=False)
        assert not in_numpy(actor)
        expected = np.clip(OBS[:, :, :1] * POLICIES.weight[:, None, 0], -1, 1)
        np.testing.assert_allclose(actor(OBS), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (toys.act_in_jax, r"on NumPy arrays it raises \w+: .*; draw all its random numbers in one call of polyak"),
        (lambda *given: (jax.random.split(given[4]), ()), r"raises \w+: .*; draw all its random numbers in one call"),
        (lambda *given: (given[3].at[..., 0].set(0), ()), "AttributeError: .*; choose between arrays with np.where"),
        (lambda *given: (jnp.tanh(given[3][..., :1]), ()), "it returns JAX arrays; use operators and methods"),
        (
            lambda *given: (given[3][:, :1].clip(-1, 1), given[2]),
            "of two seeds it does not do what it does on .*; let it count axes from the last",
        ),
        (lambda *given: (0.0 * given[3][..., :1] + isinstance(given[3], np.ndarray), ()), "what it does compiled"),
    ],
)
def test_the_reason_for_compiling_is_told(act: Any, reason: str) -> None:
    verdict = acting(toys.variant(toys.linear, act=act)).verdict
    assert not verdict.in_numpy
    assert re.search(reason, verdict.reason)
    assert "\n" not in verdict.reason


def test_what_is_known_of_acting_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyak.training.acting.try_in_numpy", None)
    assert in_numpy(acting(verdict=Verdict(True)))
    assert not in_numpy(acting(verdict=Verdict(False)))


def test_an_act_that_is_wrong_for_a_lane_alone_without_exploring_is_compiled() -> None:
    def act(config: Any, policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
        greedy = not explore and isinstance(obs, np.ndarray) and obs.ndim == 2
        return 0.0 * obs[..., :1] + (0.5 if greedy else 0.25), memory

    assert not in_numpy(acting(toys.variant(toys.linear, act=act)))


@pytest.mark.parametrize("seeds", [[3], [3, 4]], ids=["alone", "two lanes"])
def test_what_an_act_saw_is_its_to_keep(seeds: list[int]) -> None:
    """The environments write the next observations where they wrote the last; memory and actions must not change."""

    def init_memory(config: Any, spec: EnvSpec) -> np.ndarray:
        return np.zeros(spec.obs.shape[0], np.float32)

    def act(config: Any, policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
        return obs[..., :1] if isinstance(obs, np.ndarray) else obs[..., :1] + 0.0, obs

    algorithm = toys.variant(toys.linear, act=act, init_memory=init_memory)
    actor = acting(algorithm, seeds=seeds, policies=jax.tree.map(lambda leaf: leaf[: len(seeds)], POLICIES))
    assert in_numpy(actor)
    obs = OBS[: len(seeds)].copy()
    action = actor(obs)
    obs[:] = 9.0
    np.testing.assert_array_equal(action, OBS[: len(seeds), :, :1])
    np.testing.assert_array_equal(actor.memory, OBS[: len(seeds)])


def test_an_act_may_change_in_place_what_it_returned() -> None:
    def init_memory(config: Any, spec: EnvSpec) -> np.ndarray:
        return np.zeros(spec.action.width)  # float64, as NumPy makes it

    def act(config: Any, policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
        if not isinstance(memory, np.ndarray):
            return obs[..., :1], obs[..., :1]
        memory *= 0
        memory += obs[..., :1]
        return memory, memory

    algorithm = toys.variant(toys.linear, act=act, init_memory=init_memory)
    for policies in (POLICIES, jax.tree.map(lambda leaf: leaf[:1], POLICIES)):
        lanes = len(policies.updates)
        actor = acting(algorithm, seeds=SEEDS[:lanes], policies=policies)
        assert in_numpy(actor)
        assert actor.memory.dtype == np.float32
        first, second = actor(OBS[:lanes]), actor(-OBS[:lanes])
        np.testing.assert_array_equal(first, OBS[:lanes, :, :1])
        np.testing.assert_array_equal(second, -OBS[:lanes, :, :1])


def test_a_memory_that_grew_wider_is_kept_as_it_began() -> None:
    def act(config: Any, policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
        action, memory = toys.act(config, policy, memory, obs, key, explore)
        return action, memory * (np.float64(1.0) if isinstance(memory, np.ndarray) else 1.0)

    actor = acting(toys.variant(toys.linear, act=act))
    assert isinstance(actor, NumpyActing)
    actor(OBS)
    assert actor.carried.dtype == np.float64
    assert actor.memory.dtype == np.float32
    actor.seed([1, 1])
    assert actor.carried.dtype == np.float32  # as it would be after a resume


def test_actions_have_the_type_in_which_they_are_stored() -> None:
    def act(config: Any, policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
        return toys.act(config, policy, memory, obs, key, explore)[0] + np.float64(1e-9), memory

    actions = acting(toys.variant(toys.linear, act=act))(OBS)
    assert actions.dtype == np.float32


def test_a_compiled_act_explores_with_every_lane_drawing_its_own_numbers() -> None:
    actor = acting(toys.linear_in_jax)
    one, other = actor(0 * OBS), actor(0 * OBS)
    assert one.shape == (2, 3, 1)
    assert len(np.unique([one, other])) == 12


@pytest.mark.parametrize("algorithm", [toys.linear, toys.linear_in_jax], ids=["numpy", "compiled"])
def test_numbers_depend_on_seed_and_moment_alone(algorithm: Any) -> None:
    actors = [acting(algorithm) for _ in range(2)]
    for actor, moments in zip(actors, ([5, 9], [7, 9]), strict=True):
        actor.seed(moments)
    one, other = (actor(OBS) for actor in actors)
    assert (one[0] != other[0]).any()
    np.testing.assert_array_equal(one[1], other[1])


def test_memory_drifts_and_one_environment_can_forget() -> None:
    actor = acting()
    actor(OBS)
    before = actor.memory
    actor.reset_memory(1, 2)
    assert (before != 0).all()  # whoever kept the old memory keeps it
    assert actor.memory[1, 2] == 0
    assert (actor.memory != 0).sum() == 5


@pytest.mark.parametrize("algorithm", [toys.linear, toys.linear_in_jax], ids=["numpy", "compiled"])
def test_a_lane_that_acts_alone_acts_the_same(algorithm: Any) -> None:
    together = acting(algorithm)(OBS)
    alone = acting(algorithm, seeds=SEEDS[1:], policies=jax.tree.map(lambda leaf: leaf[1:], POLICIES))
    np.testing.assert_array_equal(alone(OBS[1:]), together[1:])


def uniform(action: Any, count: int) -> np.ndarray:
    """Let both lanes choose uniformly in so many environments each."""
    behavior = Behavior(toys.linear, toys.Config(), EnvSpec(vector(2), action), count, True)
    chooser = NumpyActing(behavior, SEEDS, POLICIES)
    chooser.seed([0, 0])
    return chooser.uniform(np.zeros((2, count, 2), np.float32))


def test_uniform_actions() -> None:
    numbers = np.concatenate([uniform(Box(1), 5000).ravel() for _ in range(2)])
    assert (np.abs(numbers) <= 1).all()
    np.testing.assert_allclose(np.quantile(numbers, [0.25, 0.5, 0.75]), [-0.5, 0.0, 0.5], atol=0.05)
    counts = np.bincount(uniform(Discrete(3), 5000).reshape(-1), minlength=3)
    np.testing.assert_allclose(counts / 10_000, 1 / 3, atol=0.03)


def test_uniform_choices_of_several_at_once_are_independent() -> None:
    actions = uniform(MultiDiscrete((2, 3)), 6000)
    assert (actions.shape, actions.dtype) == ((2, 6000, 2), np.int64)
    counts = np.bincount((3 * actions[..., 0] + actions[..., 1]).reshape(-1))
    np.testing.assert_allclose(counts / 12_000, np.full(6, 1 / 6), atol=0.015)  # 4 deviations


def test_an_algorithm_that_acts_in_jax_alone_trains() -> None:
    plan = ReplayPlan(env_steps=40, warmup=10, rollout_length=10, envs=2, batch=4)
    loop = toys.finish(HostLoop(Job(toys.linear_in_jax, toys.Config(), plan, VectorEnv(Walk, SEEDS, 2), SEEDS)))
    assert not loop.verdict.in_numpy
    assert loop.policy.updates.tolist() == [30, 30]


ON_POLICY = RolloutPlan(env_steps=3000, envs=10, rollout_length=10)


def on_policy(plan: Plan = ON_POLICY) -> HostLoop:
    return HostLoop(Job(toys.on_policy, toys.Config(rate=0.05), plan, VectorEnv(ActionReward, SEEDS, plan.envs), SEEDS))


def test_an_on_policy_algorithm_learns_from_rollouts() -> None:
    loop = toys.finish(on_policy())
    assert loop.policy.updates.tolist() == [30, 30]
    np.testing.assert_allclose(loop.policy.weight[:, 0, 0], 0.5, atol=0.15)  # the best action


def test_an_on_policy_rollout_comes_from_the_policy_that_learns_from_it() -> None:
    loop = on_policy()
    for _ in range(3):
        distance = loop.advance().metrics["distance"]
        assert loop.pending is None
        # the mean distance of a normal number from its mean is √(2/π)·σ = 0.80 · 0.3
        np.testing.assert_allclose(distance, 0.24, atol=0.06)


def test_a_plan_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="the plan is a ReplayPlan: this algorithm needs a RolloutPlan"):
        on_policy(ReplayPlan())


def test_an_algorithm_that_learns_from_a_dataset_is_refused() -> None:
    offline = toys.variant(toys.linear, learns_from="dataset")
    with pytest.raises(UsageError, match="dataset"):
        HostLoop(Job(offline, toys.Config(), ReplayPlan(), VectorEnv(Walk, (0,), 1), (0,)))


@pytest.mark.parametrize("algorithm", [toys.linear, toys.linear_in_jax], ids=["numpy", "compiled"])
def test_acting_does_not_wait_for_a_long_update(algorithm: Any) -> None:
    def slow(config: Any, state: Any, batch: Any, key: Any, step: Any) -> Any:
        matrix = jax.lax.fori_loop(0, 300, lambda _, m: m @ m / 400, jnp.ones((400, 400)) + batch.reward.sum())
        state, metrics = toys.update(config, state, batch, key, step)
        return state, {**metrics, "busy": matrix.sum()}

    slowly = toys.variant(algorithm, update=slow)
    plan = ReplayPlan(env_steps=60, warmup=10, rollout_length=10, batch=4, updates=0.1)
    loop = HostLoop(Job(slowly, toys.Config(), plan, VectorEnv(Walk, SEEDS, 1), SEEDS))
    while loop.shared_updates == 0:  # compiles
        loop.advance()
    loop.collector.acting.seed(loop.counts.env_steps)
    loop._learn_from(loop.pending)
    loop.collector.acting(loop.collector.envs.obs)
    assert not loop.learner.state.policy.weight.is_ready()
