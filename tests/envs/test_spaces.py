"""Spaces as an algorithm sees them: flat float32 observations, actions in [-1, 1] or an index."""

import inspect
import json
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from polyak.envs.flatten import flatten
from polyak.envs.functional import _scaled
from polyak.envs.spaces import ActionScale, bounded, from_json, spec_of, to_json
from polyak.errors import UsageError
from polyak.types import Box, Discrete, EnvSpec, MultiDiscrete, vector
from tests.fixtures.walk import Walk

UNIT = spaces.Box(-1.0, 1.0, (2,), np.float32)
PAIR = spaces.Discrete(2)


def box(low: Any, high: Any, dtype: Any = np.float32) -> spaces.Box:
    return spaces.Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


@pytest.mark.parametrize(
    ("observation", "size"),
    [
        (spaces.Box(-np.inf, np.inf, (3,)), 3),
        (spaces.Box(0, 2, (3, 3), np.uint8), 9),  # a board
        (spaces.Box(0, 255, (7, 8, 3), np.uint8), 168),  # too few pixels for an image
        (spaces.Box(0, 3, (20, 20), np.uint8), 400),  # a large board
        (spaces.Box(-1, 1, (20, 30, 17)), 10_200),  # a window of features
        (spaces.Box(-1, 1, (2, 3)), 6),
        (spaces.Box(0, 255, (4,), np.uint8), 4),
        (spaces.Discrete(5), 5),
        (spaces.MultiBinary(3), 3),
        (spaces.MultiDiscrete([2, 3]), 5),
        (spaces.Tuple([UNIT, spaces.Dict({"c": PAIR})]), 4),
    ],
    ids=str,
)
def test_size_of_a_flat_observation(observation: Any, size: int) -> None:
    assert spec_of(observation, UNIT) == EnvSpec(vector(size), Box(2))
    flat = flatten(observation, observation.sample())
    assert (flat.shape, flat.dtype) == ((size,), np.float32)


def test_kinds_of_action() -> None:
    assert spec_of(UNIT, spaces.Box(-1, 1, (2, 3))).action == Box(6)
    assert spec_of(UNIT, spaces.Discrete(3, start=5)).action == Discrete(3)
    assert spec_of(UNIT, spaces.MultiDiscrete([2, 5], start=[1, -1])).action == MultiDiscrete((2, 5))
    assert spec_of(UNIT, spaces.MultiDiscrete([[2, 5], [3, 4]])).action == MultiDiscrete((2, 5, 3, 4))
    assert spec_of(UNIT, spaces.MultiBinary(3)).action == MultiDiscrete((2, 2, 2))
    assert spec_of(UNIT, spaces.MultiBinary([2, 2])).action == MultiDiscrete((2, 2, 2, 2))


@pytest.mark.parametrize(
    ("observation", "action", "message"),
    [
        (spaces.Text(5), UNIT, "a Text space, which cannot be learned from: encode the text in a Box"),
        (spaces.Tuple([UNIT, spaces.Sequence(UNIT)]), UNIT, "observations[1] are a Sequence space"),
        (spaces.Sequence(UNIT), UNIT, "pad the sequence to a Box of fixed size"),
        (spaces.Graph(UNIT, None), UNIT, "describe the graph by a Box of fixed size"),
        (spaces.OneOf([UNIT, PAIR]), UNIT, "use a Dict that holds every alternative"),
        (gymnasium.Space((2,), np.float32), UNIT, "a Space space, which cannot be learned from: use Box, Discrete"),
        (
            spaces.Discrete(200_000_000),
            UNIT,
            "an observation would take 200,000,000 numbers, but the maximum is 1,000,000",
        ),
        (spaces.MultiDiscrete([2, 2_000_000]), UNIT, "describe the state by a few numbers, in a Box"),
        (spaces.Dict({}), UNIT, "is empty"),
        (spaces.Box(-1, 1, (0,)), UNIT, "is empty"),
        (UNIT, spaces.Text(3), "actions are a Text space: use Box, Discrete, MultiDiscrete or MultiBinary"),
        (UNIT, spaces.Box(-1, 1, (0,)), "is empty"),
        (UNIT, spaces.MultiDiscrete(np.zeros(0, int)), "is empty"),
        (UNIT, spaces.Dict({"a": UNIT}), "actions are a Dict space: use Box"),
        (UNIT, spaces.Box(-np.inf, 1, (1,)), "is unbounded: set finite action bounds, as in env_kwargs="),
        (UNIT, spaces.Box(-1, np.inf, (1,)), "gymnasium.wrappers.TransformAction with a finite action space"),
        (UNIT, box([0, 1], [0, 1]), "leaves no choice"),
        (UNIT, spaces.Discrete(10**9), "an action would take 1,000,000,000 numbers"),
        (UNIT, spaces.MultiDiscrete([10**6, 2]), "an action would take 1,000,002 numbers"),
    ],
)
def test_refuses(observation: Any, action: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        spec_of(observation, action)
    assert message in str(error.value)


def test_scale_is_per_dimension_and_need_not_be_symmetric() -> None:
    scale = ActionScale(box([-2, 0, 10], [2, 1, 30]))
    # middle (0, 0.5, 20), half width (2, 0.5, 10)
    np.testing.assert_allclose(scale(np.float32([-1, -1, -1])), [-2, 0, 10])
    np.testing.assert_allclose(scale(np.float32([1, 1, 1])), [2, 1, 30])
    np.testing.assert_allclose(scale(np.float32([[0, 0.5, -0.5]])), [[0, 0.75, 15]])


def test_scaled_actions_never_leave_the_box() -> None:
    space = box([-0.1, 0.3], [0.7, 1e6])
    ends = ActionScale(space)(np.float32([[-1, -1], [1, 1], [2, -3]]))
    assert all(space.contains(action) for action in ends)


@pytest.mark.parametrize(
    "space",
    [
        box([-0.1, 0.7], [0.1, 2.1], np.float64),
        box([-0.1], [0.1], np.float16),
        box([0, -3], [255, 2**31 - 1], np.int64),
        box([-(2**31)], [2**31 - 1], np.int32),
        box([-(2**62) - 1], [2**62 + 1023], np.int64),
        box([-(2**63)], [2**63 - 1], np.int64),
        box([0], [255], np.uint8),
    ],
    ids=str,
)
def test_scaled_actions_reach_the_bounds_of_every_type_and_never_pass_them(space: Any) -> None:
    ends = ActionScale(space)(np.float32([[-1], [1], [0.3], [-2], [2]]) * np.ones(space.shape, np.float32))
    assert all(space.contains(action) for action in ends)
    np.testing.assert_allclose(ends[:2].astype(float), [space.low, space.high])


def test_ends_are_exact_where_bounds_are_not_symmetric() -> None:
    space = box([-0.3, 0.1, -1000, -0.1], [0.7, 0.3, 3.3, 1e6])
    ends = ActionScale(space)(np.float32([-1, 1])[:, None] * np.ones(4, np.float32))
    np.testing.assert_array_equal(ends, [space.low, space.high])
    compiled = [_scaled(space, jnp.full(4, end)) for end in (-1.0, 1.0)]
    np.testing.assert_array_equal(compiled, [space.low, space.high])


def test_a_dimension_that_is_fixed_always_gets_its_only_value() -> None:
    for dtype in (np.float32, np.int32):
        space = box([0, 3], [1, 3], dtype)
        actions = ActionScale(space)(np.float32([[-1, -1], [0.2, 0.2], [1, 1]]))
        assert spec_of(UNIT, space).action == Box(2)
        assert all(space.contains(action) for action in actions)
        np.testing.assert_array_equal(actions[:, 1], [3, 3, 3])


@pytest.mark.parametrize("low", [-np.finfo(np.float64).max, 0.0, -1e308])
def test_a_box_as_wide_as_float64_is_scaled_without_overflow(low: float) -> None:
    space = box([low], [np.finfo(np.float64).max], np.float64)
    actions = ActionScale(space)(np.float32([[-1], [0], [0.5], [1]]))
    assert all(space.contains(action) for action in actions)
    np.testing.assert_allclose(
        actions[:, 0] / space.high, np.interp([-1, 0, 0.5, 1], [-1, 1], [low / space.high[0], 1])
    )


@pytest.mark.parametrize(
    ("space", "low", "high"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), [-1, -1], [2, 2]),
        (spaces.Box(0, np.inf, (2,)), [0, 0], [2, 2]),
        (box([-np.inf, -7], [5, 9]), [-1, -7], [5, 9]),
        (box([-np.inf, 4], [np.inf, 4], np.float64), [-1, 4], [2, 4]),
    ],
    ids=str,
)
def test_bounds_replace_those_that_are_infinite(space: Any, low: Any, high: Any) -> None:
    found = bounded(space, -1, 2)
    np.testing.assert_array_equal([found.low, found.high], [low, high])
    assert (found.shape, found.dtype) == (space.shape, space.dtype)
    spec_of(UNIT, found)
    assert space.contains(ActionScale(found)(np.ones(2, np.float32)))


@pytest.mark.parametrize(
    ("space", "bounds", "message"),
    [
        (UNIT, (-1, 1), "has no infinite bounds to replace"),
        (PAIR, (-1, 1), "the action space Discrete(2) has no infinite bounds"),
        (spaces.Box(-np.inf, np.inf, (1,)), (1, 1), "two finite numbers, the lower one first"),
        (spaces.Box(-np.inf, np.inf, (1,)), (-np.inf, 1), "two finite numbers"),
        (spaces.Box(-np.inf, np.inf, (1,)), (-1, np.nan), "two finite numbers"),
        (spaces.Box(5, np.inf, (1,)), (-1, 1), "do not fit the action space"),
        (spaces.Box(-np.inf, np.inf, (1,), np.float16), (-1e9, 1e9), "do not fit the action space"),
    ],
    ids=str,
)
def test_bounds_that_cannot_be_meant_are_refused(space: Any, bounds: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        bounded(space, *bounds)
    assert message in str(error.value)


def test_the_other_advice_on_unbounded_actions_works() -> None:
    walk = Walk()
    walk.action_space = spaces.Box(-np.inf, np.inf, (1,))
    finite = gymnasium.wrappers.TransformAction(walk, lambda action: action, spaces.Box(-1, 1, (1,)))
    assert spec_of(finite.observation_space, finite.action_space).action == Box(1)


def test_images_may_be_taken_as_plain_numbers() -> None:
    walk = Walk()
    walk.observation_space = spaces.Dict({"eye": spaces.Box(0, 255, (16, 16), np.uint8)})
    flat = gymnasium.wrappers.FlattenObservation(walk)
    assert spec_of(flat.observation_space, flat.action_space).obs == vector(256)


def test_one_action_of_a_space_without_axes() -> None:
    space = spaces.Box(-0.1, 0.7, (), np.float32)
    for given, expected in (([0.0], 0.3), ([[0.0]], [0.3]), ([[[1.0]]], [[0.7]])):
        found = ActionScale(space)(np.float32(given))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert found.shape == np.shape(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scaled_actions_have_the_shape_and_type_of_the_space(dtype: Any) -> None:
    space = spaces.Box(-1, 1, (2, 3), dtype)
    action = ActionScale(space)(np.zeros((4, 6), np.float32))
    assert (action.shape, action.dtype) == ((4, 2, 3), dtype)
    assert space.contains(action[0])


def test_indices_are_shifted_to_the_start() -> None:
    scaled = ActionScale(spaces.Discrete(3, start=5))(np.array([[0, 1], [2, 0]]))
    np.testing.assert_array_equal(scaled, [[5, 6], [7, 5]])
    assert ActionScale(spaces.Discrete(3, start=5))(np.float32(2)) == 7  # as a stored episode has it


# older versions of Gymnasium know no other type of indices than int64
TYPED = "dtype" in inspect.signature(spaces.Discrete).parameters
NARROW: list[Any] = [spaces.Discrete(4, start=-2, dtype=np.int8)] if TYPED else []
SEVERAL = [
    spaces.MultiDiscrete([2, 5]),
    spaces.MultiDiscrete([2, 5], start=[1, -1]),
    spaces.MultiDiscrete([[2, 5, 3], [4, 2, 2]], start=[[0, -3, 7], [1, 1, 1]]),
    spaces.MultiDiscrete([2, 200], np.int16, start=[0, -100]),
    spaces.MultiBinary(3),
    spaces.MultiBinary([2, 3]),
]


@pytest.mark.parametrize("space", SEVERAL, ids=str)
def test_several_choices_get_the_shape_the_start_and_the_type_of_the_space(space: Any) -> None:
    scale, sizes = ActionScale(space), np.array(spec_of(UNIT, space).action.sizes)
    indices = np.stack([0 * sizes, sizes - 1, sizes // 2]).reshape(3, 1, -1)  # [lane, env, choices]
    actions = scale(indices)
    assert (actions.shape, actions.dtype) == ((3, 1, *space.shape), space.dtype)
    assert all(space.contains(action) for action in actions[:, 0])
    start = getattr(space, "start", np.zeros(space.shape, int))
    np.testing.assert_array_equal(actions[0, 0], start)
    np.testing.assert_array_equal(actions[1, 0], start + sizes.reshape(space.shape) - 1)
    stored = scale(np.float32(indices[2, 0]))  # of one environment, as a stored episode has it
    np.testing.assert_array_equal(stored, actions[2, 0])
    assert space.contains(stored)


def test_choices_are_counted_from_left_to_right_and_from_the_top_down() -> None:
    scale = ActionScale(spaces.MultiDiscrete([[2, 5], [3, 4]], start=[[0, 10], [20, 30]]))
    np.testing.assert_array_equal(scale(np.array([1, 4, 2, 3])), [[1, 14], [22, 33]])


@pytest.mark.parametrize("space", NARROW, ids=str)
def test_an_index_has_the_type_of_its_space(space: Any) -> None:
    assert all(space.contains(action) for action in ActionScale(space)(np.arange(4)))
    assert space.contains(ActionScale(space)(np.float32(2)))


def test_whole_numbers_in_a_box_are_all_reachable() -> None:
    scale = ActionScale(box([0], [2], np.int32))
    reached = scale(np.linspace(-1, 1, 101, dtype=np.float32)[:, None])
    counts = np.bincount(reached[:, 0])
    assert len(counts) == 3
    assert counts.min() > 20


SPACES = [
    spaces.Box(-2, 3, (3,)),
    spaces.Box(-np.inf, np.inf, (2,)),
    box([-1, -np.inf], [np.inf, 5]),
    box([[-1, 0]], [[1, 2]], np.float64),
    spaces.Box(0, 255, (4,), np.uint8),
    spaces.Discrete(4),
    spaces.Discrete(4, start=-2),
    *NARROW,
    *SEVERAL,
    spaces.Dict({"a": UNIT, "b": spaces.Tuple([PAIR, UNIT])}),
    spaces.Dict([("zebra", UNIT), ("ant", PAIR)]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_from_json_flattens_and_scales_as_the_original(space: Any) -> None:
    description = json.loads(json.dumps(to_json(space), allow_nan=False))
    rebuilt = from_json(description)
    space.seed(0)
    for _ in range(5):
        sample = space.sample()
        np.testing.assert_array_equal(flatten(rebuilt, sample), flatten(space, sample))
    if isinstance(space, spaces.Dict) or (isinstance(space, spaces.Box) and not space.is_bounded()):
        return
    action = np.int64(1) if isinstance(space, spaces.Discrete) else np.full(spec_of(UNIT, space).action.width, 0.5)
    np.testing.assert_array_equal(ActionScale(rebuilt)(action), ActionScale(space)(action), strict=True)


@pytest.mark.parametrize("space", [space for space in SPACES if np.all(getattr(space, "bounded_above", True))], ids=str)
def test_from_json_equals_the_original(space: Any) -> None:
    assert from_json(to_json(space)) == space
