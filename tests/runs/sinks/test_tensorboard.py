"""Event files, read back with the protocol buffers and checksums of another library."""

import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

import polyak
from polyak import RunError
from polyak.runs.sinks.tensorboard import LARGEST, Events, crc32c


def events_in(path: Path) -> list[Any]:
    """Read an event file, frame by frame, checking both checksums of each."""
    content, found = path.read_bytes(), []
    while content:
        size, crc = struct.unpack("<QI", content[:12])
        assert crc == masked_crc32c(content[:8])
        data, (crc,) = content[12 : 12 + size], struct.unpack("<I", content[12 + size : 16 + size])
        assert crc == masked_crc32c(data)
        found.append(Event.FromString(data))
        content = content[16 + size :]
    return found


def points_in(path: Path) -> list[tuple[str, int, float]]:
    """Read the points of all curves: name, step, value."""
    values = [(event.step, value) for event in events_in(path) for value in event.summary.value]
    return [(value.tag, step, value.simple_value) for step, value in values]


@pytest.mark.parametrize(
    ("data", "crc"), [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (bytes(range(32)), 0x46DD794E)]
)
def test_the_checksum_is_that_of_its_standard(data: bytes, crc: int):
    assert crc32c(data) == crc  # RFC 3720, appendix B.4; the first is the customary check value


def test_points_come_back(tmp_path: Path):
    events = Events(tmp_path / "tensorboard" / "seed-0", start=1)
    points = [
        ("training/return", 0, -1.5),
        ("évaluation/length", 300, 0.0),
        ("a" * 200, 2**40, 3e9),
        ("big", 1, LARGEST),
    ]
    for tag, step, value in points:
        events.add_scalar(tag, value, step)
    events.add_scalar("larger", 1e300, 5)
    events.flush()
    (path,) = events.folder.iterdir()
    assert points_in(path) == [*points, ("larger", 5, LARGEST)]
    assert all(1e9 < event.wall_time < 1e11 for event in events_in(path))


def test_a_file_begins_with_its_version_and_with_what_it_makes_void(tmp_path: Path):
    events = Events(tmp_path / "tensorboard" / "seed-0", start=301)
    events.flush()
    version, start = events_in(events.file.path)
    assert version.file_version == "brain.Event:2"
    assert (start.session_log.status, start.step) == (SessionLog.START, 301)


def test_every_sitting_has_a_file_of_its_own(tmp_path: Path):
    for _ in range(3):
        Events(tmp_path / "tensorboard" / "seed-0", start=1).flush()
    assert len(list((tmp_path / "tensorboard" / "seed-0").iterdir())) == 3


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path):
    (tmp_path / "tensorboard").touch()
    with pytest.raises(RunError, match=r"^cannot write .*tensorboard: File exists$"):
        Events(tmp_path / "tensorboard" / "seed-0", start=1).flush()


def test_the_curves_of_a_run(finished: polyak.Run):
    for seed in (0, 1):
        (path,) = (finished.folder / "tensorboard" / f"seed-{seed}").iterdir()
        points = points_in(path)
        assert {"training/critic_loss", "training/return", "training/length", "evaluation/return"} <= {
            tag for tag, _, _ in points
        }
        assert [step for tag, step, _ in points if tag == "evaluation/return"] == [0, 110, 240, 400]


def test_no_thread_writes(tmp_path: Path):
    before = threading.active_count()
    events = Events(tmp_path / "tensorboard" / "seed-0", start=1)
    events.add_scalar("x", 1.0, 1)
    events.sync()
    assert threading.active_count() == before
