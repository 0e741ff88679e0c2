"""The device loop: equal to a loop written by hand, exact in its counts, honest at ends, each lane on its own."""

from dataclasses import replace as changed
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak import UsageError
from polyak.algorithms import a2c, ddpg, dqn
from polyak.envs.functional import CompiledEnv
from polyak.errors import RunError
from polyak.training import schedule
from polyak.training.device import DeviceLoop
from polyak.training.device_evaluate import DeviceEvaluator
from polyak.training.job import Job
from polyak.training.plan import Plan
from polyak.training.plans import ReplayPlan, RolloutPlan
from polyak.tree import take
from polyak.types import Clock
from tests.fixtures import toys
from tests.fixtures.agents import small
from tests.fixtures.compare import assert_close, assert_identical
from tests.fixtures.compiled import copies
from tests.fixtures.functions import Breaking, Choice, Drift, Keyed
from tests.fixtures.rows import as_rows, unpack

PLAN = ReplayPlan(env_steps=60, envs=2, warmup=8, rollout_length=3, batch=4, capacity=40, updates=0.5, evaluations=3)


def world(env: Any = Drift) -> CompiledEnv:
    return CompiledEnv(env.__name__, env(), env.max_episode_steps)


def train(plan: Plan = PLAN, seeds: Any = (3,), env: Any = Drift, algorithm: Any = toys.linear, config: Any = None):
    made = DeviceLoop(Job(algorithm, config or toys.Config(), plan, world(env), seeds))
    return toys.finish(made)


def rows_of(loop: DeviceLoop, lane: int = 0) -> np.ndarray:
    """Return the transitions of a lane, oldest first."""
    buffer = take(loop.lane.learner.buffer, lane)
    rows, added = as_rows(buffer.data, 1), int(buffer.added)
    capacity = len(rows)
    return np.roll(rows, -(added % capacity) if added > capacity else 0, axis=0)[: min(added, capacity)]


def test_is_the_loop_that_one_would_write_by_hand() -> None:
    plan = changed(PLAN, capacity=60)
    trained, (rows, policy, updates) = train(plan), by_hand(plan, seed=3)
    np.testing.assert_allclose(rows_of(trained), rows, rtol=1e-4, atol=1e-5)
    assert_close(take(trained.policy, 0), policy, atol=1e-4)
    assert trained.shared_updates == updates == (60 - 8) // 2


def by_hand(plan: ReplayPlan, seed: int) -> tuple[np.ndarray, Any, int]:
    """Act, store, learn, step by step; every random number depends on the same keys as in the device loop."""
    env, config = world(), toys.Config()
    init_key, key = jax.random.split(jax.random.key(seed))
    collecting = jax.random.fold_in(key, 2**32 - 1)
    state = toys.init(config, env.spec, init_key)
    starts = jax.random.split(jax.random.fold_in(collecting, 0), plan.envs)
    envs = [env.start(start) for start in starts]
    memories, rows, updates, iteration = [toys.init_memory(config, env.spec)] * plan.envs, [], 0, 1
    while len(rows) < plan.env_steps:
        warming = len(rows) < plan.warmup
        until = plan.warmup if warming else plan.env_steps
        for t in range(min(plan.rollout_length, (until - len(rows)) // plan.envs)):
            now = jax.random.fold_in(jax.random.fold_in(collecting, iteration), t)
            act_key, step_key, start_key = jax.random.split(now, 3)
            of_start = jax.random.split(start_key, plan.envs)
            obs = jnp.stack([each.obs for each in envs])
            if warming:
                actions = jax.random.uniform(act_key, (plan.envs, 1), minval=-1.0)
            else:
                actions, after = toys.act(config, state.policy, jnp.stack(memories), obs, act_key, True)
                memories = list(after)
            for e, env_key in enumerate(jax.random.split(step_key, plan.envs)):
                envs[e], outcome = env.step(envs[e], actions[e], env_key)
                ends = [outcome.terminated, outcome.truncated]
                rows.append(np.concatenate([obs[e], actions[e], [outcome.reward], outcome.next_obs, ends]))
                if outcome.ended:
                    envs[e], memories[e] = env.start(of_start[e]), toys.init_memory(config, env.spec)
        iteration, began = iteration + 1, updates
        learning, progress = jax.random.fold_in(key, began), jnp.float32(0)
        batch_key, update_key = jax.random.split(learning)
        num_updates = max((len(rows) - plan.warmup) // 2, 0) - began
        drawn = jax.random.randint(batch_key, (plan.most_updates, plan.batch), 0, len(rows))
        for i in range(num_updates):
            batch = unpack(env.spec, jnp.array(rows)[drawn[i]])
            clock = Clock(jnp.int32(began + i), progress)
            state, _ = toys.update(config, state, batch, jax.random.fold_in(update_key, i), clock)
            updates += 1
    return np.array(rows), state.policy, updates


def test_stores_true_successors_and_starts_anew_after_an_end() -> None:
    plan = changed(PLAN, envs=1, capacity=60, warmup=50)  # random actions end some episodes, the time limit others
    steps = unpack(world().spec, rows_of(train(plan)))
    ended = (steps.terminated + steps.truncated) > 0
    assert 0 < ended.sum() < len(ended)
    assert steps.truncated.any()
    assert steps.terminated.any()
    np.testing.assert_array_equal(steps.next_obs[:-1][~ended[:-1]], steps.obs[1:][~ended[:-1]])
    np.testing.assert_allclose(steps.obs[1:][ended[:-1]][:, 1], 0.0)  # a new episode has made no steps
    assert (steps.next_obs[ended][:, 1] > 0).all()
    lengths = np.round(10 * steps.next_obs[ended][:, 1])
    np.testing.assert_array_equal(steps.truncated[ended] > 0, lengths == 7)
    outside = np.abs(steps.next_obs[:, 0]) > 1.0
    np.testing.assert_array_equal(steps.terminated > 0, outside)


def test_reports_every_episode_with_its_return() -> None:
    plan = changed(PLAN, envs=1, capacity=60)
    loop = DeviceLoop(Job(toys.linear, toys.Config(), plan, world(), (3,)))
    reported: list[Any] = []
    while not loop.counts.done:
        reported += loop.advance().episodes
    steps = unpack(world().spec, rows_of(loop))
    ends = np.flatnonzero((steps.terminated + steps.truncated) > 0)
    starts = [0, *(ends[:-1] + 1)]
    assert [episode.length for episode in reported] == [b - a + 1 for a, b in zip(starts, ends, strict=True)]
    totals = [steps.reward[a : b + 1].sum() for a, b in zip(starts, ends, strict=True)]
    np.testing.assert_allclose([episode.total for episode in reported], totals, rtol=1e-4)


@pytest.mark.parametrize("seeds", [(3, 8), (3, 8, 9, 11)], ids=["a device each", "two on a device"])
def test_a_lane_learns_what_it_would_alone(seeds: tuple[int, ...]) -> None:
    together = train(seeds=seeds)
    for lane, seed in enumerate(seeds):
        assert_close(take(together.policy, lane), take(train(seeds=(seed,)).policy, 0), rtol=1e-4, atol=1e-5)


def test_how_segments_are_cut_changes_nothing() -> None:
    cut = [train(changed(PLAN, evaluations=evaluations)) for evaluations in (0, 7, 60)]
    for other in cut[1:]:
        assert_identical(other.policy, cut[0].policy)
        np.testing.assert_array_equal(rows_of(other), rows_of(cut[0]))


def test_one_program_serves_all_segments() -> None:
    assert train(changed(PLAN, evaluations=7)).segment._cache_size() == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("env", [Drift, Keyed])
def test_goes_on_from_a_snapshot_as_if_nothing_had_happened(env: Any) -> None:
    whole = DeviceLoop(Job(toys.linear, toys.Config(), PLAN, world(env), (3, 5)))
    for _ in range(4):
        whole.advance()
    kept = jax.tree.map(np.array, whole.snapshot())
    again = DeviceLoop(Job(toys.linear, toys.Config(), PLAN, world(env), (3, 5)))
    again.restore(kept)
    for loop in (whole, again):
        toys.finish(loop)
    assert_identical(again.policy, whole.policy)
    assert_identical(again.snapshot(), whole.snapshot())
    assert again.shared_updates == whole.shared_updates


@pytest.mark.parametrize(
    ("algorithm", "config", "env"),
    [(a2c, a2c.Config(), Choice), (a2c, a2c.Config(), Drift), (dqn, dqn.Config(layers=(8,)), Choice)],
    ids=["rollouts and indices", "rollouts and numbers", "replay and indices"],
)
def test_serves_every_kind(algorithm: Any, config: Any, env: Any) -> None:
    learns = algorithm.learns_from
    plan = RolloutPlan(env_steps=60, envs=2, rollout_length=3, evaluations=3) if learns == "rollout" else PLAN
    loop = train(plan, env=env, algorithm=algorithm, config=config)
    assert loop.counts.done
    assert loop.shared_updates == (10 if learns == "rollout" else 26)
    assert all(np.isfinite(metric).all() for metric in loop.report.metrics.values())


def test_the_metrics_are_the_mean_over_a_segments_updates() -> None:
    plan = changed(
        PLAN, env_steps=1_200, evaluations=0, capacity=1_200
    )  # several iterations between two rows of the log
    loop = DeviceLoop(Job(toys.linear, toys.Config(), plan, world(), (3,)))
    before = 0
    for _ in range(6):
        metrics = loop.advance().metrics
        if metrics is not None:
            np.testing.assert_allclose(metrics["step"], np.arange(before, loop.shared_updates).mean(), rtol=1e-6)
        before = loop.shared_updates
    assert before > 0


def test_numbers_that_are_not_finite_stop_the_run() -> None:
    with pytest.raises(RunError, match="seed 3 produced NaN or infinity"):
        train(env=Breaking)


def test_before_anything_is_learned_the_environment_is_to_blame() -> None:
    with pytest.raises(RunError, match=r"before environment step \d+: the environment returned"):
        train(changed(PLAN, warmup=58), env=Breaking)


def test_numbers_that_are_not_finite_stop_an_evaluation() -> None:
    policy = jax.tree.map(lambda leaf: leaf[None], toys.init(toys.Config(), world().spec, jax.random.key(0)).policy)
    with pytest.raises(RunError, match=r"not finite in the evaluation episode with seed [45]"):
        DeviceEvaluator(Job(toys.linear, toys.Config(), PLAN, world(Breaking), (3,))).play(policy, [[4, 5]])


@pytest.mark.parametrize("seeds", [(3,), range(8)], ids=["alone", "two lanes a device"])
def test_a_segment_copies_no_replay(seeds: Any) -> None:
    plan = ReplayPlan(env_steps=200_000, envs=2, warmup=8, rollout_length=4, batch=4, capacity=50_000)
    loop = DeviceLoop(Job(toys.linear, toys.Config(), plan, world(), seeds))
    rows, share = schedule.segment(plan, loop.counts.env_steps, loop.counts.episodes, loop.shared_updates)
    table = schedule.table(rows, schedule.most_iterations(plan))
    given = loop.config, loop.lane, loop.keys, share, table, np.asarray(len(rows), np.int32)
    assert not copies(loop.segment.lower(*given), least=50_000)


BY_EPISODE = changed(PLAN, envs=1, rollout_length=7, warmup=9, updates_per="episode", updates=2, capacity=60)


def test_updates_by_episode_follow_whole_episodes_of_every_lane() -> None:
    loop = DeviceLoop(Job(toys.linear, toys.Config(), BY_EPISODE, world(), (3, 5)))
    taken = []
    while not loop.counts.done:
        before, step = loop.counts.env_steps.copy(), loop.shared_updates
        episodes = loop.advance().episodes
        taken.append(loop.counts.env_steps - before)
        if (before >= 9).all():
            assert loop.shared_updates == step + 2
            playing = before < 60
            assert ((taken[-1] > 0) == playing).all()
            ended = {episode.lane for episode in episodes}
            assert ended | set(np.flatnonzero(loop.counts.env_steps >= 60)) == {0, 1}
        else:
            assert loop.shared_updates == 0
    np.testing.assert_array_equal(loop.counts.env_steps, [60, 60])
    assert len({tuple(steps) for steps in np.array(taken).tolist()}) > 2  # lanes went at their own pace
    for lane in (0, 1):
        steps = unpack(world().spec, rows_of(loop, lane))
        going = ((steps.terminated + steps.truncated) == 0)[:-1]
        np.testing.assert_array_equal(steps.next_obs[:-1][going], steps.obs[1:][going])


def test_a_lane_that_is_done_learns_no_more() -> None:
    seeds = (3, 5, 8)
    alone = [train(BY_EPISODE, seeds=(seed,)) for seed in seeds]
    together = train(BY_EPISODE, seeds=seeds)
    updates = [int(loop.counts.updates[0]) for loop in alone]
    assert together.counts.updates.tolist() == updates
    sooner = [lane for lane in range(len(seeds)) if updates[lane] < together.shared_updates]
    assert sooner
    for lane in sooner:
        assert_close(take(together.policy, lane), take(alone[lane].policy, 0), rtol=1e-4, atol=1e-5)


def test_refuses_updates_by_episode_where_an_episode_may_be_longer_than_a_chunk() -> None:
    with pytest.raises(UsageError, match='up to 7 steps, not rollout_length = 6: use backend="host"'):
        train(changed(BY_EPISODE, rollout_length=6))


def test_evaluation_plays_each_episode_to_its_end() -> None:
    """Returns and lengths are those of the same episodes played one by one in Python."""
    env, config = world(), toys.Config()
    policies = train(seeds=(3, 5)).policy
    scores = DeviceEvaluator(Job(toys.linear, config, PLAN, env, (3, 5))).play(policies, [[1, 2, 3], [4, 5, 6]])
    for lane, seeds in enumerate([[1, 2, 3], [4, 5, 6]]):
        for i, seed in enumerate(seeds):
            key, policy = jax.random.key(seed), take(policies, lane)
            now, t, ended, outcome = env.start(key), 0, False, SimpleNamespace(total=0.0, length=0)
            while not ended:
                action = toys.act(config, policy, toys.init_memory(config, env.spec), now.obs[None], key, False)[0][0]
                now, outcome = env.step(now, action, jax.random.fold_in(key, t))  # type: ignore[assignment]
                t, ended = t + 1, bool(outcome.ended)  # type: ignore[attr-defined]
            np.testing.assert_allclose(scores.returns[lane, i], outcome.total, rtol=1e-4, atol=1e-5)
            assert scores.lengths[lane, i] == outcome.length


def test_serves_an_algorithm_whose_acting_has_a_memory() -> None:
    config = small(ddpg.Config(noise="ornstein-uhlenbeck", noise_sigma=0.3))
    loop = train(algorithm=ddpg, config=config)
    assert np.isfinite(rows_of(loop)).all()
    assert loop.shared_updates == 26
