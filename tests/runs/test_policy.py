"""A policy in use: one observation or many in, actions in the environment's own units out."""

import shutil
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces

import polyak
from polyak import Policy, UsageError
from polyak.envs.spaces import Spaces, from_json, spec_of, to_json
from polyak.runs.policy import Saved, save
from tests.fixtures import small
from tests.fixtures.envs import HIGH, LOW
from tests.fixtures.toys import linear

OBS = np.random.default_rng(0).uniform(-2, 2, (5, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A policy on dictionaries."""
    folder = tmp_path_factory.mktemp("runs") / "described"
    return small.train(
        folder, env="tests.fixtures.envs:Described-v0", steps=80, seeds=1, plan={"evaluations": 0}
    ).policy


def test_one_observation_gives_one_action(finished: polyak.Run):
    action = finished.policy(OBS[0])
    assert (type(action), action.dtype, action.shape) == (np.ndarray, np.float32, (2,))
    np.testing.assert_array_equal(finished.policy(OBS[0].tolist()), action)


def test_a_batch_gives_each_observation_the_action_it_gets_alone(finished: polyak.Run):
    actions = finished.policy(OBS)
    assert (actions.dtype, actions.shape) == (np.float32, (5, 2))
    np.testing.assert_allclose(actions, [finished.policy(obs) for obs in OBS], rtol=1e-5)
    assert finished.policy(OBS[:1]).shape == (1, 2)


def test_actions_fill_the_bounds_of_each_dimension_and_never_leave_them():
    run = small.train("noisy", seeds=1, steps=80, config={"noise_sigma": 50.0}, plan={"evaluations": 0})
    actions = run.policy(np.tile(OBS, (40, 1)), deterministic=False)
    assert (actions >= LOW).all()
    assert (actions <= HIGH).all()
    np.testing.assert_array_equal(actions.min(0), LOW)
    np.testing.assert_array_equal(actions.max(0), HIGH)


def test_only_exploring_is_random(finished: polyak.Run):
    policy = finished.policy
    np.testing.assert_array_equal(policy(OBS), policy(OBS))
    explored = [policy(OBS, deterministic=False) for _ in range(2)]
    assert not np.array_equal(*explored)
    assert not np.array_equal(policy(OBS), explored[0])


def test_predict_is_what_stable_baselines_calls(finished: polyak.Run):
    action, state = finished.policy.predict(OBS, state=None, episode_start=np.ones(5), deterministic=True)
    np.testing.assert_array_equal(action, finished.policy(OBS))
    assert state is None


def test_an_observation_that_does_not_fit_is_refused(finished: polyak.Run):
    for wrong in (np.zeros(4), np.zeros((2, 4)), np.zeros((2, 2, 3)), 1.0):
        with pytest.raises(ValueError, match=r"an observation has shape \(3,\)"):
            finished.policy(wrong)


def test_a_policy_plays_in_its_environment(finished: polyak.Run):
    env = gymnasium.make(small.ENV)
    obs, _ = env.reset(seed=0)
    for _ in range(3):
        obs, *_ = env.step(finished.policy(obs))
    env.close()


def test_every_seed_has_a_policy_and_the_favorite_is_the_default(finished: polyak.Run):
    saved = finished.saved
    assert saved.policy().seed == finished.policy.seed == saved.record.best_seed
    assert not np.array_equal(saved.policy("final", 0)(OBS), saved.policy("final", 1)(OBS))
    with pytest.raises(UsageError, match="no seed 7: its seeds are 0, 1"):
        saved.policy("best", 7)


def test_the_favorite_seed_did_best_in_the_periodic_evaluations(finished: polyak.Run):
    means: dict[int, list[float]] = {0: [], 1: []}
    rows = small.rows(finished.folder / "evaluations.csv", "seed", "return")
    for (seed, first), (_, second) in zip(rows[::2], rows[1::2], strict=True):
        means[int(seed)].append((float(first) + float(second)) / 2)
    assert finished.saved.record.best_seed == max(means, key=lambda seed: max(means[seed]))


def test_dictionaries_can_be_observed(described: Policy):
    one: dict[str, Any] = {"place": np.array([0.1, -0.2], np.float32), "phase": np.int64(2)}
    action = described(one)
    assert action.shape == (2,)
    many = {"place": np.stack([one["place"], -one["place"]]), "phase": np.array([2, 1])}
    actions = described(many)
    assert actions.shape == (2, 2)
    np.testing.assert_allclose(actions[0], action, rtol=1e-5)
    np.testing.assert_allclose(described([one, one]), [action, action], rtol=1e-5)
    with pytest.raises(ValueError, match="not an observation"):
        described(3.0)


def test_observations_are_told_from_batches_by_their_shapes(described: Policy):
    far = {"place": np.array([9.0, -9.0]), "phase": 1}  # float64, and outside of the space
    assert described(far).shape == (2,)
    assert described({key: np.array([part]) for key, part in far.items()}).shape == (1, 2)
    none = {"place": np.zeros((0, 2)), "phase": np.zeros(0, int)}
    assert described(none).shape == described([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"place": np.zeros(3), "phase": 1}, r"has shape \(2,\), or \(batch, ...\) of it, not \(3,\)"),
        ({"place": np.zeros((2, 2)), "phase": np.zeros(3, int)}, "differ in length"),
        ({"place": np.zeros((2, 2)), "phase": 1}, "differ in length"),
        ({"place": np.zeros(2), "phase": 7}, "part 'phase': observation 7 is not in Discrete"),
        ({"place": np.zeros(2)}, "has no part 'phase'"),
        ({"place": [[0.0], [0.0, 1.0]], "phase": 1}, "ragged"),
        ([{"place": np.zeros((2, 2)), "phase": np.zeros(2, int)}], r"part \'phase\': observation has shape \(2,\)"),
        (None, "a NoneType is not an observation"),
    ],
    ids=str,
)
def test_observations_of_several_parts_that_do_not_fit_are_refused(described: Policy, wrong: Any, says: str):
    with pytest.raises(ValueError, match=says):
        described(wrong)


UNIT = spaces.Box(-1.0, 1.0, (2,))


def policy_on(observation: Any, action: Any = UNIT) -> Policy:
    """A policy that was never trained, on other spaces."""
    tree = linear.init(linear.Config(), spec_of(observation, action), jax.random.key(0)).policy
    return Policy(linear, linear.Config(), jax.tree.map(np.asarray, tree), Spaces(observation, action), 0)


@pytest.mark.parametrize(
    ("space", "one", "many"),
    [
        (spaces.Discrete(4, start=2), 3, np.array([3, 5])),
        (spaces.MultiDiscrete([3, 4]), [1, 3], [[1, 3], [0, 0]]),
        (spaces.Box(-5, 5, ()), 0.3, [0.3, 9.0]),
        (spaces.Tuple([spaces.Box(-5, 5, (2,)), spaces.Discrete(2)]), (np.ones(2), 1), (np.ones((2, 2)), [1, 0])),
        (spaces.Tuple([spaces.Dict(a=spaces.Discrete(3))]), ({"a": 1},), ({"a": [1, 0]},)),
    ],
    ids=["discrete", "multi-discrete", "scalar", "tuple", "nested"],
)
def test_every_space_has_single_observations_and_batches(space: Any, one: Any, many: Any):
    policy = policy_on(space)
    assert (policy(one).shape, policy(many).shape) == ((2,), (2, 2))
    np.testing.assert_allclose(policy(many)[0], policy(one), rtol=1e-5)
    with pytest.raises(ValueError, match="an observation"):
        policy(np.zeros((2, 3, 4)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e39])
def test_numbers_that_are_not_finite_get_no_action(finished: polyak.Run, wrong: float):
    for obs in ([0.0, wrong, 1.0], [[0.0, 0.0, 0.0], [0.0, wrong, 1.0]]):
        with pytest.raises(ValueError, match="has a number that is not finite"):
            finished.policy(obs)


def test_indices_outside_their_space_get_no_action():
    policy = policy_on(spaces.Discrete(5))
    for obs in (-1, 5, 3.7, [4, -1]):
        with pytest.raises(ValueError, match=r"is not in Discrete\(5\): it must be a whole number from 0 to 4"):
            policy(obs)
    np.testing.assert_array_equal(policy(3.0), policy(3))


def test_no_observations_get_no_actions(finished: polyak.Run):
    none = finished.policy(np.zeros((0, 3)))
    assert (none.shape, none.dtype) == ((0, 2), np.float32)


def test_an_action_without_axes_is_an_array():
    action = policy_on(spaces.Box(-1.0, 1.0, (3,)), spaces.Box(-1.0, 1.0, ()))(np.zeros(3))
    assert (type(action), action.shape) == (np.ndarray, ())


def test_a_policy_needs_only_its_folder(finished: polyak.Run, tmp_path: Path):
    saved = Saved(shutil.copytree(finished.folder / "policy", tmp_path / "given"))
    np.testing.assert_array_equal(saved.policy()(OBS), finished.policy(OBS))
    with pytest.raises(UsageError, match=r"policy\.json is missing"):
        Saved(tmp_path)


def test_unbounded_observations_come_back_without_a_warning():
    space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    assert from_json(to_json(space)).shape == (3,)


def test_a_policy_that_a_training_replaces_while_it_is_loaded_is_read_again(finished: polyak.Run, tmp_path: Path):
    saved = Saved(shutil.copytree(finished.folder / "policy", tmp_path / "policy"))
    trees = {which: jax.tree.map(lambda leaf: leaf + 1, saved.tree(which)) for which in ("final", "best")}
    facts = {**vars(saved.record), "best_seed": 1 - saved.record.best_seed}
    save(saved.folder, facts, trees, saved.spaces)
    for which in ("final", "best"):
        jax.tree.map(np.testing.assert_array_equal, saved.tree(which), trees[which])
    assert saved.policy().seed == facts["best_seed"]
    for path in saved.folder.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(UsageError, match="is missing"):  # and not read again for ever
        saved.tree("final")
