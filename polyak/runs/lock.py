"""A lock for a run folder that is released when its process ends, so that none is left behind."""

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path

from polyak.errors import RunError, UsageError, reason

NAME = ".lock"
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # network file systems without locks


class Lock:
    """Locks a run folder for this process until it is closed or the process ends."""

    def __init__(self, folder: Path):
        """Lock an existing folder. Raises UsageError if another process holds it, RunError if locking fails."""
        self.path = folder / NAME
        self.file = -1
        while self.file < 0:
            file = _open(self.path)
            if not _take(file):
                holder = os.read(file, 200).decode(errors="replace")
                os.close(file)
                raise UsageError(f"{folder} is being trained by {_words(holder)}: wait until it ends, or stop it first")
            if _same(file, self.path):
                self.file = file
            else:  # the holder removed it meanwhile, so others will lock another file
                os.close(file)
        HELD.add(self.file)
        with contextlib.suppress(OSError):  # on a full disk only the process number is missing
            os.ftruncate(self.file, 0)
            os.lseek(self.file, 0, os.SEEK_SET)
            os.write(self.file, f"{os.getpid()} {socket.gethostname()}".encode())

    def close(self) -> None:
        """Release the folder."""
        if self.file in HELD:
            with contextlib.suppress(OSError):
                if _same(self.file, self.path):
                    self.path.unlink()
            HELD.discard(self.file)
            os.close(self.file)


HELD: set[int] = set()


def _leave_to_parent() -> None:
    """Close the locks that a forked child inherited, which would otherwise outlive the parent."""
    for file in HELD:
        os.close(file)
    HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _open(path: Path) -> int:
    if path.is_symlink() or path.is_dir():
        raise UsageError(f"{path} is not a file of polyak: move it")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise RunError(f"cannot write {path}: {reason(error)}") from error


def _take(file: int) -> bool:
    """Try to lock an open file; succeed without a lock if the file system does not support them."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, 1000, os.SEEK_SET)  # others cannot read a locked range, so leave out the process number
            try:
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(file, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in UNSUPPORTED
    return True


def _same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except FileNotFoundError:
        return False


def _words(holder: str) -> str:
    process, _, host = holder.partition(" ")
    if not process.isdecimal():
        return "another process"
    return f"process {process}" + (f" on {host}" if host and host != socket.gethostname() else "")
