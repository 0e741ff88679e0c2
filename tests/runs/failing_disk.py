"""A disk that fails at its n-th operation under a folder: everything that Python asks of the system can fail there."""

import builtins
import errno
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from polyak.runs import arrays

CALLS = ("mkdir", "replace", "rename", "unlink", "remove", "rmdir", "open", "fsync", "truncate", "chmod", "utime")


class FailingDisk:
    """Within the context, the `number`-th operation raises "no space left", and with `again` every later one.

    Counted are the operations that change something under `folder`, in the order in which they happen; `failed` names
    the one that failed first. What safetensors writes is written by no Python, and fails as a whole.
    """

    def __init__(self, folder: Path, number: int, again: bool = False):
        self.folder, self.number, self.again = os.path.abspath(folder), number, again
        self.count, self.failed = 0, ""
        self.patch = pytest.MonkeyPatch()
        self.opened: dict[int, str] = {}

    def __enter__(self) -> "FailingDisk":
        for name in CALLS:
            self.patch.setattr(os, name, self._failing(name, getattr(os, name)))
        for module in (io, builtins):
            self.patch.setattr(module, "open", self._open)
        self.patch.setattr(arrays, "save_file", self._failing("safetensors", safetensors.numpy.save_file, 1))
        return self

    def __exit__(self, *_: object) -> None:
        self.patch.undo()

    def operation(self, what: str, path: Any) -> None:
        """Count an operation, or fail."""
        within = os.path.abspath(path) if isinstance(path, str | os.PathLike) else self.opened.get(path, "")
        if not within.startswith(self.folder) or threading.current_thread() is not threading.main_thread():
            return
        self.count += 1
        if self.count == self.number or (self.again and self.count > self.number):
            self.failed = self.failed or f"{what} {os.path.basename(within)}"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), within)

    def _failing(self, name: str, call: Callable[..., Any], place: int = 0) -> Callable[..., Any]:
        def checked(*arguments: Any, **options: Any) -> Any:
            reading = name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR)
            if not reading and (name != "mkdir" or not os.path.isdir(arguments[0])):  # what is there needs no space
                self.operation(name, arguments[place])
            result = call(*arguments, **options)
            if name == "open":
                self.opened[result] = os.path.abspath(arguments[0])
            return result

        return checked

    def _open(self, path: Any, mode: str = "r", buffering: int = -1, *text: Any, **options: Any) -> Any:
        """Open as Python does, with a raw file at the bottom that may fail."""
        if not isinstance(path, str | os.PathLike) or not os.path.abspath(path).startswith(self.folder):
            return io.open_code(path) if mode == "code" else _OPEN(path, mode, buffering, *text, **options)
        if set(mode) & set("wax+"):
            self.operation("open", path)
        raw = _File(self, os.fspath(path), mode.replace("b", "").replace("t", ""))
        self.opened[raw.fileno()] = os.path.abspath(path)
        if buffering == 0:
            return raw
        if "+" in mode:
            buffer: Any = io.BufferedRandom(raw)
        else:
            buffer = io.BufferedReader(raw) if "r" in mode else io.BufferedWriter(raw)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, *text, **options)


_OPEN = builtins.open


class _File(io.FileIO):
    """A file whose writing may fail; of one that fails within, half is written, as by a disk that is filled."""

    def __init__(self, disk: FailingDisk, path: str, mode: str):
        super().__init__(path, mode)
        self.disk, self.path = disk, path

    def write(self, content: Any) -> int:
        try:
            self.disk.operation("write", self.path)
        except OSError:
            super().write(bytes(content)[: len(content) // 2])
            raise
        return super().write(content)

    def truncate(self, size: int | None = None) -> int:
        self.disk.operation("truncate", self.path)
        return super().truncate(size)
