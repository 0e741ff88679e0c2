"""How `learn` draws minibatches: n-step returns of several environments, and by priority; without copies."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.errors import UsageError
from polyak.training import devices, learn
from polyak.training.learn import Learner, Rollout, Task, UpdateSchedule
from polyak.training.plans import ReplayPlan
from polyak.tree import pytree, replace
from polyak.types import Array, Box, Clock, EnvSpec, Sampling, Transition, vector
from tests.fixtures import toys
from tests.fixtures.compiled import copies
from tests.fixtures.rows import row_size, unpack

SPEC = EnvSpec(vector(1), Box(1))
STEPS = Sampling(gamma=0.5, n_step=3)
RANKED = Sampling(priority_alpha=0.5, priority_beta=0.4)
BOTH = Sampling(gamma=0.5, n_step=3, priority_alpha=0.5, priority_beta=0.4)
PLAN = ReplayPlan(env_steps=100, warmup=0, rollout_length=4, envs=2, batch=4, capacity=12)
WIDE = ReplayPlan(env_steps=100, warmup=0, rollout_length=4, envs=2, batch=12, capacity=12)
LARGE = ReplayPlan(env_steps=200_000, warmup=0, rollout_length=4, envs=2, batch=4, capacity=100_000)
KEY = jax.random.key(5)


@pytree
class State:
    policy: Array  # how often each transition, by its number modulo 12, was learned from
    batch: Transition  # the last one


class Recorder:
    """An algorithm that only writes down what it is given; its config is its sampling."""

    learns_from = "replay"

    def __init__(self, batch: int):
        self.batch = batch

    def sampling(self, config: Sampling) -> Sampling:
        return config

    def init(self, config: Sampling, spec: EnvSpec, key: Any) -> State:
        none, ranked = jnp.zeros(self.batch), config.priority_alpha is not None
        batch = unpack(spec, jnp.zeros((self.batch, row_size(spec))))
        batch = replace(batch, n_steps=none if config.n_step > 1 else None, weight=none if ranked else None)
        return State(jnp.zeros(12), batch)

    def update(self, config: Sampling, state: State, batch: Transition, key: Any, clock: Clock) -> Any:
        seen = state.policy.at[batch.obs[:, 0].astype(int) % 12].add(1.0)
        return State(seen, batch), {"td_error": -batch.reward, "step": jnp.float32(clock.updates)}


RECORDERS = {plan.batch: Recorder(plan.batch) for plan in (PLAN, WIDE)}
LEARN = jax.jit(learn.learn, static_argnums=0)


def rollout(first: int, ends: tuple[int, ...] = (), cuts: tuple[int, ...] = (), pay: float = 1.0) -> Rollout:
    """Make steps of 2 environments in turns: number i, from `first` on, earns i·pay and leads to i + 2."""
    i = first + np.arange(8.0)
    rows = np.stack([i, 0 * i, pay * i, i + 2, np.isin(i, ends), np.isin(i, cuts)], -1).astype(np.float32)
    return Rollout(unpack(SPEC, rows.reshape(4, 2, 6)), np.int32(4), np.bool_(True), np.float32(0.0))


NOTHING = replace(rollout(0), count=np.int32(0))


def start(sampling: Sampling, plan: ReplayPlan = PLAN) -> Learner:
    return learn.start(Task(RECORDERS[plan.batch], plan, SPEC), sampling, KEY)  # type: ignore[arg-type]


def priority_tree(learner: Learner) -> np.ndarray:
    return np.asarray(learner.priorities.levels[-1])


def run(
    sampling: Sampling, learner: Learner, given: Rollout, updates: int, step: int = 0, progress: float = 0.0, **of: Any
) -> Any:
    schedule, plan = UpdateSchedule(jnp.int32(step), jnp.int32(updates)), of.get("plan", PLAN)
    given = replace(given, progress=np.float32(progress))
    return LEARN(Task(RECORDERS[plan.batch], plan, SPEC), sampling, learner, given, KEY, schedule)


def test_n_step_returns_are_of_one_environment_across_rollouts_and_around_the_ring() -> None:
    learner, found = start(STEPS, WIDE), {}
    for first in (0, 8, 16):  # of 0 to 23, numbers 12 to 23 are kept; 13 terminates, 18 is cut short
        learner, _ = run(STEPS, learner, rollout(first, ends=(13,), cuts=(18,)), 0, plan=WIDE)
    for step in range(5):
        batch = run(STEPS, learner, NOTHING, 1, step, plan=WIDE)[0].state.batch
        parts = (batch.obs[:, 0], batch.reward, batch.next_obs[:, 0], batch.terminated, batch.truncated, batch.n_steps)
        found |= {number: rest for number, *rest in np.stack(parts, -1).tolist()}
    assert found == {
        12: [12 + 7 + 4, 18, 0, 0, 3],  # 12 + 14/2 + 16/4
        13: [13, 15, 1, 0, 1],
        14: [14 + 8 + 4.5, 20, 0, 1, 3],
        15: [15 + 8.5 + 4.75, 21, 0, 0, 3],
        16: [16 + 9, 20, 0, 1, 2],
        17: [17 + 9.5 + 5.25, 23, 0, 0, 3],
        18: [18, 20, 0, 1, 1],
        19: [19 + 10.5 + 5.75, 25, 0, 0, 3],
        20: [20 + 11, 24, 0, 0, 2],  # what comes later is not there yet
        21: [21 + 11.5, 25, 0, 0, 2],
        22: [22, 24, 0, 0, 1],
        23: [23, 25, 0, 0, 1],
    }


@pytest.mark.parametrize("sampling", [RANKED, BOTH], ids=["one step", "three steps"])
def test_td_errors_become_priorities_and_new_transitions_get_the_highest(sampling: Sampling) -> None:
    learner, _ = run(sampling, start(sampling), rollout(0), 0)
    np.testing.assert_array_equal(priority_tree(learner)[:13], [1] * 8 + [0] * 5)
    learner, _ = run(sampling, learner, NOTHING, 1)
    batch, expected = learner.state.batch, np.ones(8)
    expected[batch.obs[:, 0].astype(int)] = (batch.reward + 1e-6) ** 0.5  # α = ½
    np.testing.assert_allclose(priority_tree(learner)[:8], expected, rtol=1e-5)
    learner, _ = run(sampling, learner, rollout(8), 0)  # 8 to 11, then 12 to 15 over 0 to 3
    np.testing.assert_allclose(priority_tree(learner)[[*range(4), *range(8, 12)]], expected.max(), rtol=1e-5)
    assert (priority_tree(learner)[12:] == 0).all()


@pytest.mark.parametrize(("progress", "beta"), [(0.0, 0.4), (0.5, 0.7), (1.0, 1.0)])
def test_importance_weights_reach_the_update_and_their_exponent_rises_over_the_run(progress: float, beta: float):
    learner, _ = run(RANKED, start(RANKED), rollout(0), 2)
    shares = priority_tree(learner) / priority_tree(learner).sum()
    batch = run(RANKED, learner, NOTHING, 1, 2, progress)[0].state.batch
    weights = (8 * shares[batch.obs[:, 0].astype(int)]) ** -beta  # there are 8 transitions
    assert len(np.unique(weights)) > 1
    np.testing.assert_allclose(batch.weight, weights / weights.max(), rtol=1e-4)


def test_each_update_draws_by_the_priorities_that_the_one_before_it_left() -> None:
    learner, metrics = run(RANKED, start(RANKED), rollout(0, pay=0.0), 2, step=10)
    # 4 of 8, one from each quarter; without error they are hardly drawn again, so the other 4 follow
    np.testing.assert_array_equal(learner.state.policy, [1] * 8 + [0] * 4)
    np.testing.assert_allclose(priority_tree(learner)[:8], 1e-3, rtol=1e-4)  # √10⁻⁶
    assert metrics == {"td_error": 0.0, "step": 10.5}


def test_every_update_draws_anew_where_priorities_stay_as_they_are() -> None:
    level = replace(RANKED, priority_alpha=0.0)
    learner, _ = run(level, start(level), rollout(0), 8)
    # each update draws one of every two neighbors; with equal draws one would be drawn 8 times, the other never
    assert (learner.state.policy[:8] % 8 > 0).all()
    np.testing.assert_allclose(learner.state.policy[:8].reshape(4, 2).sum(-1), 8)


def test_without_updates_nothing_is_revised_and_metrics_are_zero() -> None:
    learner, metrics = run(RANKED, start(RANKED), rollout(0), 0, step=10)
    assert learner.state.policy.sum() == 0
    assert metrics == {"td_error": 0.0, "step": 0.0}


def test_a_lane_that_is_done_enters_nothing() -> None:
    before, _ = run(RANKED, start(RANKED), rollout(0), 0)
    after, _ = run(RANKED, before, replace(rollout(8), active=np.bool_(False)), 0)
    np.testing.assert_array_equal(priority_tree(after), priority_tree(before))


@pytest.mark.parametrize(
    ("sampling", "lanes"), [(STEPS, 1), (BOTH, 1), (BOTH, 8)], ids=["steps", "by priority", "two lanes a device"]
)
def test_neither_the_replay_nor_its_priorities_are_copied(sampling: Sampling, lanes: int) -> None:
    sharding, task = devices.spread(lanes), Task(RECORDERS[4], LARGE, SPEC)

    def shapes(tree: Any, over: Any) -> Any:
        one, lane = jax.eval_shape(lambda tree: tree, tree), (lanes,) if over is sharding else ()
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*lane, *leaf.shape), leaf.dtype, sharding=over), one)

    learner = jax.eval_shape(partial(learn.start, task), sampling, KEY)
    own = [shapes(tree, sharding) for tree in (learner, rollout(0), KEY)]
    shared = [shapes(t, devices.everywhere(sharding)) for t in (sampling, UpdateSchedule(0, 8))]
    program = devices.program(learn.learn, (task,), sharding, lanes=(False, True, True, True, False), donate=(1,))
    assert not copies(program.lower(shared[0], *own, shared[1]), least=100_000)


def test_where_an_algorithm_does_not_say_minibatches_are_uniform_and_of_single_steps() -> None:
    assert learn.sampling_of(toys.linear, toys.Config()) == Sampling(n_step=1, priority_alpha=None)
    assert learn.start(Task(toys.linear, PLAN, SPEC), toys.Config(), KEY).priorities is None


@pytest.mark.parametrize(
    ("plan", "most"),
    [(PLAN, 6), (ReplayPlan(env_steps=8, warmup=0, rollout_length=2, envs=2, batch=2), 4)],
    ids=["capacity", "length of the run"],
)
def test_a_return_longer_than_the_replay_is_refused(plan: ReplayPlan, most: int) -> None:
    learn.validate(RECORDERS[4], Sampling(n_step=most), plan)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"n_step = {most + 1} does not fit .* use {most} or less"):
        learn.validate(RECORDERS[4], Sampling(n_step=most + 1), plan)  # type: ignore[arg-type]


def test_an_algorithm_may_refuse_a_plan() -> None:
    def validate(config: Any, plan: ReplayPlan) -> None:
        if config.rate * plan.rollout_length > 1:
            raise UsageError("too much at once")

    careful = toys.variant(toys.linear, validate=validate)
    learn.validate(careful, toys.Config(rate=0.1), PLAN)
    with pytest.raises(UsageError, match="too much at once"):
        learn.validate(careful, toys.Config(rate=0.3), PLAN)
