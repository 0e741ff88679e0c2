"""The host loop: equal to the textbook, exact in its counts, honest at episode ends, each lane on its own."""

from fractions import Fraction
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.algorithms import ddpg
from polyak.envs.gymnasium import VectorEnv, episode_seed
from polyak.numerics.draws import LaneGenerators
from polyak.replay import ring
from polyak.training.host import HostLoop
from polyak.training.job import Job
from polyak.training.plans import ReplayPlan
from polyak.tree import replace, take
from polyak.types import Box, EnvSpec, vector
from tests.fixtures import toys
from tests.fixtures.agents import clock, small
from tests.fixtures.compare import assert_close, assert_identical
from tests.fixtures.rows import as_rows, row_size, unpack
from tests.fixtures.walk import Kept, Walk

SPEC = EnvSpec(vector(2), Box(1))
GAUSSIAN = small(ddpg.Config(noise_sigma=0.3))
EVERYTHING = replace(GAUSSIAN, noise="ornstein-uhlenbeck", normalize_observations=True, batch_norm="batch")


def train(
    plan: ReplayPlan, seeds: Any = (3,), make: Any = Walk, algorithm: Any = toys.linear, config: Any = None
) -> HostLoop:
    return toys.finish(
        HostLoop(Job(algorithm, config or toys.Config(), plan, VectorEnv(make, seeds, plan.envs), seeds))
    )


TEXTBOOK = ReplayPlan(env_steps=50, warmup=10, rollout_length=1, batch=8, overlap=False)


@pytest.mark.parametrize("config", [GAUSSIAN, EVERYTHING], ids=["gaussian", "everything"])
def test_chunk_of_one_without_overlap_is_the_textbook_loop(config: Any) -> None:
    trained = train(TEXTBOOK, algorithm=ddpg, config=config)
    rows, state = textbook(config, TEXTBOOK, seed=3)
    np.testing.assert_allclose(as_rows(take(trained.learner.buffer.data, 0), 1), rows, rtol=1e-4, atol=1e-5)
    assert_close(take(trained.policy, 0), state.policy, atol=1e-4)


def textbook(config: Any, plan: ReplayPlan, seed: int) -> tuple[np.ndarray, Any]:
    """Act, store, learn, step by step, as the papers print it; return the transitions and the final state."""
    env, episode, rows = Walk(), 0, []
    init_key, learn_key = jax.random.split(jax.random.key(seed))
    state, memory = ddpg.init(config, SPEC, init_key), ddpg.init_memory(config, SPEC)
    obs, _ = env.reset(seed=episode_seed(seed, 0, episode))
    for t in range(plan.env_steps):
        action, memory = choose(config, state.policy, memory, obs, LaneGenerators([seed], [t]), t < plan.warmup)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        rows.append(np.concatenate([obs, action, [reward], next_obs, [terminated, truncated]]).astype(np.float32))
        obs = next_obs
        if terminated or truncated:
            episode, memory = episode + 1, ddpg.init_memory(config, SPEC)
            obs, _ = env.reset(seed=episode_seed(seed, 0, episode))
        if t >= plan.warmup:
            state = improve(config, plan, state, rows, learn_key, t - plan.warmup)
    return np.stack(rows), state


def choose(config: Any, policy: Any, memory: Any, obs: Any, draws: LaneGenerators, warming: bool) -> tuple[Any, Any]:
    if warming:
        return 2 * draws.uniform((1, 1, 1))[0, 0] - 1, memory
    inputs = jax.tree.map(lambda leaf: np.asarray(leaf)[None, None], (memory, obs))
    lane = jax.tree.map(lambda leaf: np.asarray(leaf)[None], policy)
    action, memory = ddpg.act(config, lane, *inputs, draws, True)
    return action[0, 0], jax.tree.map(lambda leaf: leaf[0, 0], memory)


def improve(config: Any, plan: ReplayPlan, state: Any, rows: list[np.ndarray], key: jax.Array, step: int) -> Any:
    unwritten = np.zeros((plan.env_steps - len(rows), row_size(SPEC)), np.float32)
    steps = jax.tree.map(jnp.asarray, unpack(SPEC, np.concatenate([rows, unwritten])))
    buffer = ring.Buffer(steps, jnp.int32(len(rows)))
    batch_key, update_key = jax.random.split(jax.random.fold_in(key, step))
    batch = take(ring.read(buffer, ring.draw(buffer, batch_key, (1, plan.batch))), 0)
    return UPDATE(config, state, batch, jax.random.fold_in(update_key, 0), clock(step))[0]


UPDATE = jax.jit(ddpg.update)

COUNTS = [
    ReplayPlan(env_steps=101, warmup=10, rollout_length=7, batch=4),
    ReplayPlan(env_steps=111, warmup=15, rollout_length=4, envs=3, batch=4, updates=0.37),
    ReplayPlan(env_steps=60, warmup=0, rollout_length=7, batch=4, updates=1.6, overlap=False),
    ReplayPlan(env_steps=40, warmup=3, rollout_length=64, batch=4),
    ReplayPlan(env_steps=61, warmup=10, rollout_length=8, batch=4, capacity=16, warmup_actions="policy"),
]


@pytest.mark.parametrize("plan", COUNTS, ids=lambda plan: f"{plan.env_steps}-{plan.envs}-{plan.rollout_length}")
def test_takes_exactly_the_steps_and_updates_asked_for(plan: ReplayPlan) -> None:
    kept = Kept()
    trained = train(plan, seeds=(3, 4), make=kept)
    assert [sum(env.taken for env in kept.made[i : i + plan.envs]) for i in (0, plan.envs)] == [plan.env_steps] * 2
    assert trained.counts.env_steps.tolist() == trained.learner.buffer.added.tolist() == [plan.env_steps] * 2
    updates = int(Fraction(str(plan.updates)) * (plan.env_steps - plan.warmup))
    assert trained.shared_updates == updates
    assert trained.policy.updates.tolist() == [updates] * 2


def test_a_rate_that_binary_numbers_only_approach_loses_no_update() -> None:
    # 0.7 a step in rollouts of 10 is 7 a rollout, though in floating point 90 · 0.7 = 62.99… and 100 · 0.7 = 70
    trained = train(ReplayPlan(env_steps=200, warmup=0, rollout_length=10, batch=4, updates=0.7, overlap=False))
    assert trained.shared_updates == 140
    assert trained.policy.updates.tolist() == [140]


def test_every_episode_has_a_seed_of_its_own_and_always_the_same() -> None:
    seeds = []
    for _ in range(2):
        kept = Kept()
        train(ReplayPlan(env_steps=90, warmup=20, rollout_length=8, envs=2, batch=4), seeds=(3, 4), make=kept)
        seeds.append([env.seeds for env in kept.made])
    assert seeds[0] == seeds[1]
    flat = [seed for of_env in seeds[0] for seed in of_env]
    assert len(flat) == len(set(flat)) > 20
    assert seeds[0][2][:2] == [episode_seed(4, 0, 0), episode_seed(4, 0, 1)]


def test_transitions_hold_the_true_last_observation_of_each_episode() -> None:
    kept = Kept()
    parts = transitions(train(ReplayPlan(env_steps=90, warmup=20, rollout_length=8, batch=4), make=kept))
    ended = np.flatnonzero(parts.terminated + parts.truncated)
    assert set(parts.truncated[ended]) == {0.0, 1.0}  # both ways to end occur
    for row, (last, fallen, stopped) in zip(ended, kept.made[0].ends, strict=True):
        np.testing.assert_array_equal(parts.next_obs[row], last)
        assert (parts.terminated[row], parts.truncated[row]) == (fallen, stopped)
    inside = np.setdiff1d(np.arange(89), ended)
    np.testing.assert_array_equal(parts.obs[inside + 1], parts.next_obs[inside])
    assert (parts.obs[ended[:-1] + 1, 1] == 0).all()  # a walk starts without speed
    assert (parts.next_obs[ended, 1] != 0).all()


def test_finished_episodes_are_reported_with_their_true_returns() -> None:
    loop = HostLoop(
        Job(toys.linear, toys.Config(), ReplayPlan(env_steps=60, warmup=10, batch=4), VectorEnv(Walk, (3,), 1), (3,))
    )
    episodes = []
    while not loop.counts.done:
        episodes += loop.advance().episodes
    parts = transitions(loop)
    ends = np.flatnonzero(parts.terminated + parts.truncated) + 1
    rewards = np.split(parts.reward, ends)[: len(ends)]
    assert [episode.length for episode in episodes] == [len(part) for part in rewards]
    np.testing.assert_allclose([episode.total for episode in episodes], [part.sum() for part in rewards], rtol=1e-5)


def test_overlapped_acting_is_exactly_one_iteration_behind() -> None:
    plan = ReplayPlan(env_steps=40, warmup=10, rollout_length=10, batch=4)
    loop = HostLoop(Job(toys.linear, toys.Config(sigma=0.0), plan, VectorEnv(Walk, (3,), 1), (3,)))
    policies = []
    while not loop.counts.finished.all():
        policies.append(loop.policy)  # with which this iteration's steps are taken
        loop.advance()
    parts = jax.tree.map(lambda leaf: leaf[0, :, 0], loop.pending.steps)
    expected = np.clip(parts.obs @ policies[-1].weight[0], -1, 1)
    np.testing.assert_allclose(parts.action, expected, rtol=1e-4, atol=1e-6)
    assert policies[-1].updates == loop.shared_updates - 10  # the last but one rollout was learned from meanwhile
    assert loop.shared_updates == 20  # the last rollout is still to be learned from


def test_metrics_are_the_mean_over_the_updates_made() -> None:
    plan = ReplayPlan(env_steps=40, warmup=10, rollout_length=10, batch=4, overlap=False)
    loop = HostLoop(Job(toys.linear, toys.Config(), plan, VectorEnv(Walk, (3, 4), 1), (3, 4)))
    reports = [loop.advance().metrics for _ in range(4)]
    assert reports[0] is None
    assert [report["step"].tolist() for report in reports[1:]] == [[4.5, 4.5], [14.5, 14.5], [24.5, 24.5]]


LANES = {
    "per-step": ReplayPlan(env_steps=96, warmup=16, rollout_length=16, envs=2, batch=8),
    "per-episode": ReplayPlan(env_steps=60, warmup=9, rollout_length=20, batch=8, updates=3, updates_per="episode"),
    "per-episode in pieces": ReplayPlan(
        env_steps=60, warmup=9, rollout_length=4, batch=8, updates=3, updates_per="episode"
    ),
}


@pytest.mark.parametrize("plan", LANES.values(), ids=LANES.keys())
def test_a_lane_is_bit_for_bit_the_run_of_its_seed_alone(plan: ReplayPlan) -> None:
    together = train(plan, seeds=(3, 4, 5))
    for lane, seed in enumerate((3, 4, 5)):
        assert_identical(take(together.learner, lane), take(train(plan, seeds=(seed,)).learner, 0))


def test_a_lane_that_draws_by_priority_is_bit_for_bit_the_run_of_its_seed_alone() -> None:
    plan = ReplayPlan(env_steps=90, warmup=20, rollout_length=8, envs=2, batch=4, capacity=41)
    together, alone = (train(plan, seeds, algorithm=toys.by_priority) for seeds in ((3, 4), (4,)))
    assert_identical(take(together.learner, 1), take(alone.learner, 0))


LARGE = ReplayPlan(env_steps=64, warmup=16, rollout_length=16, envs=2, batch=8)


def test_a_lane_of_ddpg_is_the_run_of_its_seed_alone() -> None:
    together, alone = (train(LARGE, seeds, algorithm=ddpg, config=EVERYTHING) for seeds in ((3, 4, 5), (4,)))
    # XLA compiles for one device and for many differently: what it fuses, and so how it rounds, may differ,
    # and learning makes more of small differences
    assert_close(take(together.policy, 1), take(alone.policy, 0), rtol=1e-2, atol=1e-3)


def test_a_lane_of_ddpg_is_bit_for_bit_the_same_in_any_company() -> None:
    three, two = (train(LARGE, seeds, algorithm=ddpg, config=EVERYTHING) for seeds in ((3, 4, 5), (8, 4)))
    assert_identical(take(three.learner, 1), take(two.learner, 1))


def test_lanes_that_share_a_device_learn_the_same_up_to_rounding() -> None:
    plan = ReplayPlan(env_steps=40, warmup=10, rollout_length=10, batch=8)
    seeds = tuple(range(2 * len(jax.devices())))
    together, alone = train(plan, seeds=seeds), train(plan, seeds=seeds[-1:])
    assert_close(take(together.policy, -1), take(alone.policy, 0), atol=1e-4)


def test_updates_per_episode() -> None:
    plan = ReplayPlan(env_steps=60, warmup=7, rollout_length=10, batch=4, updates=3, updates_per="episode")
    trained = train(plan, make=lambda: Walk(limit=5))
    # the rest of the episode in which the warm-up ended counts, and so does the one that the run's end cut off
    assert trained.shared_updates == trained.policy.updates[0] == 3 * (np.cumsum(lengths(trained)) > plan.warmup).sum()


def test_updates_per_episode_are_made_once_even_when_the_episode_is_longer_than_a_chunk() -> None:
    plan = ReplayPlan(env_steps=54, warmup=9, rollout_length=4, batch=4, updates=3, updates_per="episode")
    trained = train(plan, make=lambda: Walk(limit=9))
    assert trained.shared_updates == 3 * (np.cumsum(lengths(trained)) > plan.warmup).sum()


def transitions(loop: HostLoop) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf[0]), loop.learner.buffer.data)


def lengths(loop: HostLoop) -> np.ndarray:
    """Return the lengths of a lane's episodes, the unfinished last one included."""
    parts = transitions(loop)
    ends = np.flatnonzero(parts.terminated + parts.truncated) + 1
    return np.diff(np.unique([0, *ends, len(parts.reward)]))


def test_an_episode_is_truncated_before_an_evaluation_that_needs_its_environment() -> None:
    plan = ReplayPlan(
        env_steps=60, warmup=10, rollout_length=10, batch=4, evaluations=2, evaluation_envs=0, overlap=True
    )
    kept = Kept(partial(Walk, limit=10**9))
    loop = HostLoop(Job(toys.linear, toys.Config(), plan, VectorEnv(kept, (3,), 1), (3,)))
    due = plan.evaluations_due(np.arange(0, 70, 10), np.zeros(7, int))
    ends = 10 * (1 + np.flatnonzero(np.diff(due)))  # of the rollouts after which an evaluation is due
    assert ends.tolist() == [30, 60]
    while loop.counts.env_steps[0] < 30:
        loop.advance()
    assert loop.pending is not None
    assert loop.pending.steps.truncated[0, :, 0].tolist() == [0.0] * 9 + [1.0]
    assert loop.collector.envs.actions == [[[]]]
    assert (loop.collector.acting.memory == 0).all()
    toys.finish(loop)
    truncated = np.asarray(loop.learner.buffer.data.truncated)
    assert np.flatnonzero(truncated[0]).tolist() == [29, 59]
    assert kept.made[0].seeds[-1] == episode_seed(3, 0, int(loop.collector.envs.episodes[0, 0]))
