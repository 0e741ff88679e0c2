"""What is stored of an observation: vectors, images, and parts by name."""

from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from polyak.envs.observations import Reader, refuse_nonfinite
from polyak.envs.spaces import from_json, spec_of, to_json
from polyak.envs.worker import Table
from polyak.errors import UsageError
from polyak.types import ArraySpec, Discrete, EnvSpec, in_words, vector

UNIT = spaces.Box(-1.0, 1.0, (2,), np.float32)


def images(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


def image(*shape: int) -> ArraySpec:
    return ArraySpec(shape, "uint8")


@pytest.mark.parametrize(
    ("space", "stored"),
    [
        (images(8, 8, 3), image(8, 8, 3)),
        (images(64, 48), image(64, 48, 1)),
        (images(3, 84, 96), image(84, 96, 3)),  # channels first
        (images(84, 84, 9), image(84, 84, 9)),  # three frames
        (images(4, 64, 64, 3), image(64, 64, 12)),  # frames of colors
        (images(7, 8, 3), vector(168)),  # a board
        (spaces.Box(0, 9, (8, 8), np.uint8), vector(64)),  # not pixels
        (spaces.Box(0, 1, (8, 8)), vector(64)),
        (spaces.Dict({"b": UNIT, "a": spaces.Discrete(3)}), (("a", vector(3)), ("b", vector(2)))),
        (
            spaces.Dict({"eye": images(8, 9), "none": spaces.Box(0, 1, (0,))}),
            (("eye", image(8, 9, 1)),),  # there is nothing to store of the other
        ),
        (spaces.Dict({"a": UNIT, "none": images(8, 8, 0), "nothing": spaces.Dict({})}), (("a", vector(2)),)),
        (spaces.Tuple([UNIT, spaces.Dict({})]), vector(2)),
        (spaces.Dict({"": UNIT}), (("", vector(2)),)),
        (spaces.Dict({"": images(8, 9), "a": UNIT}), (("", image(8, 9, 1)), ("a", vector(2)))),
        (spaces.Tuple([UNIT, spaces.Dict({"c": UNIT})]), vector(4)),
        (spaces.Tuple([UNIT, images(8, 8)]), (("0", vector(2)), ("1", image(8, 8, 1)))),
        (
            spaces.Dict({"arm": spaces.Dict({"a": UNIT, "b": UNIT}), "eyes": spaces.Dict({"left": images(8, 8)})}),
            (("arm", vector(4)), ("eyes/left", image(8, 8, 1))),
        ),
    ],
    ids=str,
)
def test_what_is_stored(space: Any, stored: Any) -> None:
    reader, sample = Reader(space), space.sample()
    assert reader.observation == stored
    read, (batch, single) = reader(sample), reader.batch(sample)
    assert single
    for name, array in stored if isinstance(stored, tuple) else (("", stored),):
        one, of_batch = (read[name], batch[name]) if isinstance(stored, tuple) else (read, batch)
        assert (one.shape, of_batch.shape) == (array.shape, (1, *array.shape))
        assert of_batch.dtype == array.dtype
        np.testing.assert_array_equal(one, of_batch[0])


def test_every_axis_but_the_two_longest_is_a_channel() -> None:
    frames = images(2, 8, 9, 3).sample()
    stored = Reader(images(2, 8, 9, 3))(frames)
    np.testing.assert_array_equal(stored, np.concatenate([frames[0], frames[1]], axis=-1))


@pytest.mark.parametrize("arm", ["arm", ""])
def test_batches_of_named_parts(arm: str) -> None:
    space = spaces.Dict({"eye": spaces.Dict({"left": images(8, 8)}), arm: UNIT})
    reader, samples = Reader(space), [space.sample() for _ in range(3)]
    arms, eyes = (np.stack([sample[arm] for sample in samples]), np.stack([one["eye"]["left"] for one in samples]))
    for batch in (
        samples,
        {arm: arms, "eye": {"left": eyes}},
        {arm: arms, "eye": [{"left": eye} for eye in eyes]},
    ):
        read, single = reader.batch(batch)
        assert not single
        np.testing.assert_array_equal(read["eye/left"][..., 0], eyes)
        np.testing.assert_array_equal(read[arm], arms)


class Named(StrEnum):
    EYE = "eye"


def test_a_part_is_named_by_the_content_of_its_key() -> None:
    space = spaces.Dict({Named.EYE: images(8, 8)})
    assert Reader(from_json(to_json(space))).observation == Reader(space).observation == (("eye", image(8, 8, 1)),)


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        ({"arm": np.zeros(2)}, "no part 'eye'"),
        ({"arm": np.zeros(3), "eye": np.zeros((8, 8))}, r"part 'arm': observation has shape \(3,\)"),
        ({"arm": np.zeros(2), "eye": np.full((8, 8), 0.5)}, "part 'eye': the images of .* have 0.5, which is not a"),
        (
            {"arm": np.zeros(2), "eye": np.full((8, 8), 256)},
            "part 'eye': the images of .* have 256, which is not a byte: return whole",
        ),
        ({"arm": np.zeros(2), "eye": np.zeros((8, 9))}, r"part 'eye': observation has shape \(8, 9\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(obs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Reader(spaces.Dict({"eye": images(8, 8), "arm": UNIT}))(obs)


def test_whole_numbers_in_another_type_are_bytes() -> None:
    np.testing.assert_array_equal(Reader(images(8, 8))(np.full((8, 8), 200.0)), np.full((8, 8, 1), 200, np.uint8))


def test_two_parts_of_one_name_are_refused() -> None:
    space = spaces.Dict({"a/b": UNIT, "a": spaces.Dict({"b": images(8, 8)})})
    with pytest.raises(UsageError, match=r"two parts of the observations .* have the same name: rename one"):
        Reader(space)


@pytest.mark.parametrize("key", [("a", 1), None, 0.5, np.int64(1), "\ud800"], ids=repr)
def test_a_key_that_no_file_can_hold_is_refused(key: Any) -> None:
    space = spaces.Dict({"arm": spaces.Dict({key: UNIT})})
    with pytest.raises(UsageError, match=r"observations\['arm'\] have a part with the key .*: use text"):
        spec_of(space, spaces.Discrete(2))


def test_an_infinite_number_is_found_in_any_part() -> None:
    rows = {"eye": np.zeros((1, 8, 8, 1), np.uint8), "arm": np.float32([[0, np.inf]])}
    with pytest.raises(ValueError, match=r"part 'arm': observation .* has a number that is not finite"):
        refuse_nonfinite(rows)
    refuse_nonfinite({**rows, "arm": np.zeros((1, 2), np.float32)})


def test_in_words() -> None:
    assert (
        in_words((("a", vector(1)), ("eye", image(8, 9, 1))))
        == "a: 1 number, eye: an image of 8 × 9 pixels with 1 channel"
    )


def test_arrays_of_odd_sizes_share_memory_without_touching() -> None:
    spec = EnvSpec((("eye", image(1, 3, 1)), ("arm", vector(1))), Discrete(2))
    memory = Table.block(spec, 3)
    here, there = Table(spec, 3, memory), Table(spec, 3, memory)
    arrays = [here.obs["eye"], here.next_obs["arm"], here.reward, here.actions]
    for i, array in enumerate(arrays, start=1):
        array[:] = i
    assert [int(array.min()) for array in arrays] == [int(array.max()) for array in arrays] == [1, 2, 3, 4]
    np.testing.assert_array_equal(there.obs["eye"], here.obs["eye"])
    assert not here.terminated.any()
