"""One process at a time in a run folder: a lock that ends with its process, so that none is left behind."""

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
    """Holds a run folder for this process until it is closed or the process ends."""

    def __init__(self, folder: Path):
        """Lock an existing folder. Raises UsageError where another process holds it, RunError where it cannot be."""
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
            else:  # its holder removed it in the meantime: this is no longer the file that others will lock
                os.close(file)
        HELD.add(self.file)
        with contextlib.suppress(OSError):  # on a full disk only the number of the process is unknown
            os.ftruncate(self.file, 0)
            os.lseek(self.file, 0, os.SEEK_SET)
            os.write(self.file, f"{os.getpid()} {socket.gethostname()}".encode())

    def close(self) -> None:
        """Let others have the folder."""
        if self.file in HELD:
            with contextlib.suppress(OSError):
                if _same(self.file, self.path):
                    self.path.unlink()
            HELD.discard(self.file)
            os.close(self.file)


HELD: set[int] = set()


def _leave_to_parent() -> None:
    """Close what a forked child inherited: the lock ends when the last process that has it open does."""
    for file in HELD:
        os.close(file)
    HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _open(path: Path) -> int:
    if path.is_symlink() or path.is_dir():
        raise UsageError(f"{path} is no file of polyak's: move it")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise RunError(f"cannot write {path}: {reason(error)}") from error


def _take(file: int) -> bool:
    """Try to lock an open file; where the system knows no locks, go on without one."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, 1000, os.SEEK_SET)  # a locked part cannot be read by others: not the process's number
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
