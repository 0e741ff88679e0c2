"""A file that grows at its end, on a disk that may fail."""

import os
from pathlib import Path

from polyak.errors import RunError
from polyak.runs import files


class AppendedFile:
    """Appends whole pieces to a file. No handle stays open between them, so a failure leaves nothing half-closed.

    `size` counts the bytes of the pieces that were written. What a failed attempt left behind them, the next one
    cuts off: a piece can be tried again, and is never there twice or in part.
    """

    def __init__(self, path: Path):
        """Describe a file that does not exist yet; nothing is written."""
        self.path, self.size, self.synced = path, 0, 0
        self.entered = False  # whether the folder's entry is on disk

    def append(self, piece: bytes) -> None:
        """Write a piece to the end. Raises RunError if the disk fails or the file was made shorter meanwhile."""
        with files.writing(self.path), open(self.path, "ab") as file:
            if file.tell() < self.size:
                raise RunError(f"{self.path} was changed or removed while training wrote to it")
            file.truncate(self.size)
            file.write(piece)
        self.size += len(piece)

    def replace(self, content: bytes) -> None:
        """Replace everything, atomically and durably. Raises RunError, and changes nothing, if the disk fails."""
        with files.replacing(self.path) as beside, open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.size = self.synced = len(content)
        self.entered = False

    def sync(self) -> None:
        """Wait until everything written is on disk, so that it survives a loss of power. Raises RunError."""
        if self.synced != self.size:
            with files.writing(self.path), open(self.path, "rb+") as file:
                os.fsync(file.fileno())
            self.synced = self.size
        if not self.entered:
            files.sync_folder(self.path.parent)
            self.entered = True
