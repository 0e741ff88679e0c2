"""Any Gymnasium environment on the host: stepped in lanes, and brought back."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from polyak.envs.gymnasium import Environment, VectorEnv, episode_seed
from polyak.errors import RunError
from polyak.types import Box, Discrete, EnvSpec, vector
from tests.fixtures.walk import Kept, Walk


class Seeing(Walk):
    """A walk that is seen in some other way."""

    def __init__(self, space: Any, see: Any):
        super().__init__()
        self.observation_space, self.see = space, see

    def _observe(self) -> Any:
        return self.see(super()._observe())


class Recording(Walk):
    """A walk that keeps the actions it is given."""

    def __init__(self, space: Any):
        super().__init__()
        self.action_space, self.given = space, list[Any]()

    def step(self, action: Any) -> Any:
        self.given.append(action)
        return super().step(np.zeros(1) if isinstance(self.action_space, spaces.Box) else 1)


def test_episode_seeds_differ_in_every_number_that_names_them() -> None:
    seeds = [episode_seed(lane, env, episode) for lane in range(5) for env in range(5) for episode in range(20)]
    assert len(set(seeds)) == 500
    assert episode_seed(1, 2, 3) == episode_seed(1, 2, 3)
    assert all(0 <= seed < 2**31 for seed in seeds)  # signed in many simulators


@pytest.mark.parametrize(
    ("space", "see", "flat"),
    [
        (spaces.Box(-9, 9, (1, 2)), lambda x: x[None], lambda x: x),
        (spaces.Box(-9, 9, (2,), np.float64), lambda x: x.astype(np.float64), lambda x: x),
        (spaces.Discrete(3), lambda x: np.int64(1 + (x[0] > 0)), lambda x: [0, x[0] <= 0, x[0] > 0]),
        (spaces.Dict({"speed": Walk().observation_space, "left": spaces.Discrete(2)}),
         lambda x: {"speed": x, "left": int(x[0] < 0)}, lambda x: {"left": [x[0] >= 0, x[0] < 0], "speed": x}),
        (spaces.Tuple([Walk().observation_space, spaces.MultiBinary(1)]),
         lambda x: (x, np.array([x[0] < 0], np.int8)), lambda x: [*x, x[0] < 0]),
    ],
    ids=["matrix", "float64", "discrete", "dict", "tuple"],
)  # fmt: skip
def test_observations_are_flattened(space: Any, see: Any, flat: Any) -> None:
    plain, other = Environment(Walk), Environment(lambda: Seeing(space, see))
    action = np.float32([0.5])
    for found, seen in ((other.reset(5), plain.reset(5)), (other.step(action)[0], plain.step(action)[0])):
        expected = flat(seen)
        if not isinstance(found, dict):
            found, expected = {"": found}, {"": expected}
        assert found.keys() == expected.keys()
        for name, numbers in found.items():
            np.testing.assert_allclose(numbers, expected[name])


def test_an_observation_that_is_not_what_its_space_says_is_refused() -> None:
    env = Environment(lambda: Seeing(spaces.Box(-9, 9, (3,)), lambda x: x))
    with pytest.raises(ValueError, match=r"shape \(2,\), its space says \(3,\)"):
        env.reset(0)


def test_observations_are_copied_so_that_an_environment_may_reuse_its_array() -> None:
    reused = np.zeros(2, np.float32)

    def see(obs: np.ndarray) -> np.ndarray:
        reused[:] = obs
        return reused

    one = VectorEnv(lambda: Seeing(Walk().observation_space, see), [3], 2)
    other = VectorEnv(Walk, [3], 2)
    for _ in range(30):
        for envs in (one, other):
            envs.step(np.full((1, 2, 1), 0.1, np.float32), [0])
        np.testing.assert_array_equal(one.obs, other.obs)
        np.testing.assert_array_equal(one.next_obs, other.next_obs)


def test_actions_reach_the_environment_in_its_own_units() -> None:
    kept = Kept(lambda: Recording(spaces.Box(0.0, 4.0, (1,), np.float32)))
    envs = VectorEnv(kept, [3], 1)
    assert envs.spec == EnvSpec(vector(2), Box(1))
    for action in (-1.0, 0.0, 0.5):
        envs.step(np.full((1, 1, 1), action, np.float32), [0])
    assert kept.made[0].given == [[0.0], [2.0], [3.0]]


def test_actions_without_axes_are_arrays_all_the_same() -> None:
    kept = Kept(lambda: Recording(spaces.Box(0.0, 4.0, (), np.float32)))
    VectorEnv(kept, [3], 1).step(np.full((1, 1, 1), 0.5, np.float32), [0])
    (given,) = kept.made[0].given
    assert (type(given), given.shape, given) == (np.ndarray, (), 3.0)


class Ending(Walk):
    """A walk that returns what it is told to at the end of each step's answer."""

    def __init__(self, **answer: Any):
        super().__init__()
        self.answer = answer

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = super().step(action)
        answer = {"obs": obs, "reward": reward, "terminated": terminated, "truncated": truncated, **self.answer}
        return *answer.values(), info


@pytest.mark.parametrize("flag", ["terminated", "truncated"])
@pytest.mark.parametrize("value", ["no", None, np.array([False, False]), np.array([]), np.nan], ids=str)
def test_an_end_that_is_neither_true_nor_false_is_refused(flag: str, value: Any) -> None:
    envs = VectorEnv(lambda: Ending(**{flag: value}), [3], 1)
    with pytest.raises(RunError, match=f"at step 1 of episode 0 of seed 3, environment 0: TypeError: {flag} is"):
        envs.step(np.zeros((1, 1, 1), np.float32), [0])


@pytest.mark.parametrize("value", [True, np.True_, 1, np.array(True), np.array([1])], ids=repr)
def test_an_end_may_be_any_type_of_truth(value: Any) -> None:
    envs = VectorEnv(lambda: Ending(terminated=value), [3], 1)
    assert len(envs.step(np.zeros((1, 1, 1), np.float32), [0])) == 1
    assert envs.terminated[0, 0] == 1


def test_indices_reach_the_environment_as_whole_numbers_from_its_start_on() -> None:
    kept = Kept(lambda: Recording(spaces.Discrete(3, start=5)))
    envs = VectorEnv(kept, [3], 2)
    assert envs.spec == EnvSpec(vector(2), Discrete(3))
    envs.step(np.array([[0, 2]]), [0])
    assert [env.given for env in kept.made] == [[5], [7]]
    assert all(env.action_space.contains(env.given[0]) for env in kept.made)


def test_only_the_lanes_asked_for_are_stepped() -> None:
    envs = VectorEnv(Walk, [3, 4], 1)
    before = envs.obs.copy()
    envs.step(np.ones((2, 1, 1), np.float32), [1])
    np.testing.assert_array_equal(envs.obs[0], before[0])
    assert (envs.obs[1] != before[1]).all()
    assert [[len(taken) for taken in lane] for lane in envs.actions] == [[0], [1]]


def test_after_an_end_the_last_observation_stays_and_the_next_episode_begins() -> None:
    kept = Kept(lambda: Walk(limit=3))
    envs = VectorEnv(kept, [3], 1)
    ended: list[Any] = []
    while not ended:
        ended = envs.step(np.zeros((1, 1, 1), np.float32), [0])
    np.testing.assert_array_equal(envs.next_obs[0, 0], kept.made[0].ends[0][0])
    assert envs.truncated[0, 0] == 1
    assert envs.obs[0, 0, 1] == 0  # a new walk has no speed
    assert (ended[0].lane, ended[0].env, ended[0].length) == (0, 0, 3)
    assert (envs.terminated[0, 0], envs.truncated[0, 0]) == (0, 1)
    assert envs.episodes[0, 0] == 1
    assert kept.made[0].seeds == [episode_seed(3, 0, 0), episode_seed(3, 0, 1)]


@pytest.mark.parametrize("actions", [None, 3], ids=["box", "discrete"])
@pytest.mark.parametrize("steps", [0, 1, 7, 23])
def test_restore_brings_every_environment_to_where_it_was(actions: int | None, steps: int) -> None:
    rng = np.random.default_rng(0)

    def walk(envs: VectorEnv, steps: int, rng: Any) -> None:
        for _ in range(steps):
            taken = rng.integers(3, size=(2, 2)) if actions else rng.uniform(-1, 1, (2, 2, 1)).astype(np.float32)
            envs.step(taken, [0, 1])

    def fresh() -> VectorEnv:
        return VectorEnv(lambda: Walk(actions=actions), [3, 4], 2)

    original, restored = fresh(), fresh()
    walk(original, steps, rng)
    stored = [[np.asarray(taken, np.float32) for taken in lane] for lane in original.actions]
    taken = [[list(taken) for taken in lane] for lane in stored]
    assert restored.restore(original.episodes.copy(), taken, original.obs) == []
    np.testing.assert_array_equal(restored.obs, original.obs)
    assert restored.totals == original.totals
    for envs in (original, restored):
        walk(envs, 10, np.random.default_rng(1))
    np.testing.assert_array_equal(restored.obs, original.obs)
    np.testing.assert_array_equal(restored.episodes, original.episodes)


def test_a_failure_while_restoring_is_a_run_error() -> None:
    class Breaks(Walk):
        def step(self, action: Any) -> Any:
            raise ArithmeticError("the physics broke")

    envs = VectorEnv(Breaks, [3], 1)
    with pytest.raises(RunError, match="the physics broke"):
        envs.restore(np.array([[2]]), [[[np.float32([0.5])]]], envs.obs)


class Unseeded(Walk):
    """Ignores the seeds that it is reset with, and refuses to be stepped after an episode's end."""

    resets = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        Unseeded.resets += 1
        self.over = False
        return super().reset(seed=Unseeded.resets)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert not self.over, "step() after the episode has ended"
        answer = super().step(action)
        self.over = answer[2] or answer[3]
        return answer


def test_an_environment_that_does_not_repeat_its_episode_begins_a_new_one() -> None:
    envs = VectorEnv(Unseeded, [3], 2)
    taken = [[np.float32([0.1])] * 40, []]  # longer than any episode; none
    assert envs.restore(np.array([[5, 2]]), [taken], envs.obs.copy()) == [(0, 0)]
    assert envs.episodes.tolist() == [[6, 2]]
    assert [len(actions) for actions in envs.actions[0]] == [0, 0]
    assert envs.totals == [[0.0, 0.0]]
    envs.step(np.zeros((1, 2, 1), np.float32), [0])


def test_close_closes_every_environment() -> None:
    closed = []

    class Closing(Walk):
        def close(self) -> None:
            closed.append(1)

    VectorEnv(Closing, [3, 4], 3).close()
    assert len(closed) == 6


def test_an_environment_that_cannot_be_closed_hides_nothing() -> None:
    class Stuck(Walk):
        def close(self) -> None:
            raise RuntimeError("cannot close")

    VectorEnv(Stuck, [3], 1).close()
