"""Scalars in TensorBoard's event files: protocol buffers framed as TFRecords, encoded here because no thread is wanted.

TensorBoard's usual writers hand events to a thread, which can die of a full disk unnoticed and leave training waiting.

Source: tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto name the fields,
tensorflow/core/lib/io/record_writer.h the frame.
"""

import math
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from polyak.runs import files
from polyak.runs.sinks.appended_file import AppendedFile
from polyak.runs.sinks.sink import Evaluation, Row
from polyak.types import Json

LARGEST = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


class TensorBoard:
    """Writes curves over environment steps, for each seed in a folder of its own."""

    writes: ClassVar[str] = r"tensorboard/seed-\d+/events\.out\.tfevents\.[^/]+"
    folders: ClassVar[str] = r"tensorboard(/seed-\d+)?"

    def __init__(self, folder: Path, seeds: Sequence[int]):
        """Begin a file for each seed."""
        self.places = {seed: folder / "tensorboard" / f"seed-{seed}" for seed in seeds}
        self.events = {seed: Events(place, start=1) for seed, place in self.places.items()}

    def resume(self, position: Json, env_steps: Sequence[int]) -> None:
        """Begin files that make what earlier ones say of later steps void; they themselves stay."""
        steps = zip(self.places.items(), env_steps, strict=True)
        self.events = {seed: Events(place, start=taken + 1) for (seed, place), taken in steps}

    def write(self, row: Row) -> None:
        """Add a point to the curve of each metric; one that is not finite cannot be shown."""
        for name, value in row.metrics.items():
            if value is not None and math.isfinite(value):
                self.events[row.seed].add_scalar(f"training/{name}", value, row.env_steps)

    def evaluation(self, evaluation: Evaluation) -> None:
        """Add the means over the episodes to two curves."""
        for name, values in (("return", evaluation.returns), ("length", evaluation.lengths)):
            self.events[evaluation.seed].add_scalar(f"evaluation/{name}", float(values.mean()), evaluation.env_steps)

    def flush(self) -> None:
        """Write what waits. Raises RunError."""
        for events in self.events.values():
            events.flush()

    def sync(self) -> None:
        """Write what waits, and wait until it is on disk. Raises RunError."""
        for events in self.events.values():
            events.sync()

    def close(self) -> None:
        """Do nothing: no file stays open between two writes."""

    def position(self) -> Json:
        """Return None: a new file says itself where it begins."""
        return None


class Events:
    """One event file in a folder of its own. What is added waits in memory until it is flushed."""

    def __init__(self, folder: Path, start: int):
        """Begin a file; TensorBoard then ignores what earlier files in the folder say of step `start` and later."""
        self.folder = folder
        self.file = AppendedFile(folder / f"events.out.tfevents.{time.time():.6f}")
        self.waiting = bytearray()
        self._add(_bytes(3, b"brain.Event:2"), 0)
        self._add(_bytes(7, _integer(1, 1)), start)  # SessionLog, status START

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Add one point of a curve; what is larger than a float32 becomes the largest."""
        value = min(max(value, -LARGEST), LARGEST)
        point = _bytes(1, tag.encode()) + struct.pack("<Bf", 2 << 3 | 5, value)
        self._add(_bytes(5, _bytes(1, point)), step)

    def flush(self) -> None:
        """Write what waits. Raises RunError, and keeps it waiting, if the disk fails."""
        if not self.waiting:
            return
        if not self.file.size:
            for folder in (self.folder.parent, self.folder):
                with files.writing(folder):
                    folder.mkdir(exist_ok=True)
        self.file.append(bytes(self.waiting))
        self.waiting.clear()

    def sync(self) -> None:
        """Write what waits, and wait until it is on disk. Raises RunError."""
        self.flush()
        self.file.sync()

    def _add(self, what: bytes, step: int) -> None:
        self.waiting += record(struct.pack("<Bd", 1 << 3 | 1, time.time()) + _integer(2, step) + what)


def record(data: bytes) -> bytes:
    """Frame data as a TFRecord: its length, the length's checksum, the data, the data's checksum."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(crc32c(length))) + data + struct.pack("<I", _masked(crc32c(data)))


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    """Mask a checksum as TFRecords do, because checksums of data that holds checksums are weak."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _table_entry(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


CRC_TABLE = [_table_entry(byte) for byte in range(256)]


def _bytes(field: int, content: bytes) -> bytes:
    """Encode a field of a protocol buffer that holds bytes, text or another message."""
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _integer(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value)


def _varint(value: int) -> bytes:
    """Encode an integer in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
