"""The folder of a run: made, taken over or replaced, and held. Only files that polyak writes are ever removed."""

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from polyak.errors import RunError, UsageError, option, reason
from polyak.runs import files, trust
from polyak.runs.lock import Lock
from polyak.runs.record import RunRecord, Status, status_of
from polyak.runs.sinks import SINKS

FOLDERS = re.compile("|".join([r"policy|checkpoint", *(sink.folders for sink in SINKS.values())]))
WRITTEN = re.compile(  # names that begin with a dot are of files under way
    r"\.lock"
    r"|(\.\d+\.)?(run\.json|curve\.png)"
    r"|policy/(\.\d+\.)?(policy\.json|(final|best)-\d+\.safetensors)"
    r"|checkpoint/(\.\d+\.)?(checkpoint\.json|arrays-\d+\.safetensors)"
    + "".join(rf"|{sink.writes}" for sink in SINKS.values())
)
BEFORE = re.compile(r"\.lock|\.\d+\.run\.json")  # what may be there before run.json is


class Claim:
    """A run folder that only this process writes to. Closing it lets others have it."""

    def __init__(self, shown: Path):
        """Lock an existing folder; `shown` is its path as the user typed it. Raises UsageError where it is held."""
        self.shown, self.folder = shown, absolute(shown)
        self.path = self.folder / "run.json"
        for name in ("policy", "checkpoint"):
            if (self.folder / name).is_symlink():
                raise UsageError(f"{shown / name} is a link: replace it by the folder that it points to")
        self.lock = Lock(self.folder)
        self.text = self._read()

    def start(self, record: RunRecord) -> None:
        """Write the run's first run.json, then remove what an earlier run left. Raises RunError.

        In this order a kill leaves a folder whose status, `starting`, says that it may be taken over.
        """
        left, _ = contents(self.folder)
        self.write(record)
        files.sync_folder(self.folder)
        with files.writing(self.folder):
            for path in left:
                if path not in (self.path, self.lock.path):
                    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)

    def write(self, record: RunRecord) -> None:
        """Replace run.json. Raises RunError where that fails, or where others have changed it."""
        self.refuse_changed()
        self.text = files.write_json(self.path, record.to_json())

    def refuse_changed(self) -> None:
        """Raise RunError where run.json is not what was last written to it: then the folder is another's."""
        if self._read() != self.text:
            raise RunError(
                f"{self.shown / 'run.json'} was changed, moved or removed while its run was training, so nothing more"
                " is written there"
            )

    def _read(self) -> str | None:
        try:
            return files.read_text(self.path)
        except (FileNotFoundError, ValueError):
            return None
        except OSError as error:
            raise RunError(f"cannot read {self.path}: {reason(error)}") from error

    def close(self) -> None:
        """Let others have the folder."""
        self.lock.close()


def path_of(folder: object, what: str = "folder") -> Path:
    """Return a path that can be a run folder. Raises UsageError."""
    if not isinstance(folder, str | os.PathLike) or "\0" in str(folder):
        raise UsageError(f"{what} = {folder!r} must be the path of a folder")
    try:
        str(absolute(Path(folder))).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{str(folder)!a} cannot be a run folder: its path is not UTF-8, rename it") from None
    return Path(folder)


def absolute(folder: Path) -> Path:
    """Return the absolute path, which stays right where an environment goes to another folder. Raises UsageError."""
    try:
        return Path(os.path.abspath(folder))
    except FileNotFoundError:
        raise UsageError("the current folder was removed: go to one that exists, with cd") from None


class Destination:
    """Where a new run is to be: settled before any environment is made, as one may change the current folder."""

    def __init__(self, out: str | Path | None, force: bool):
        """Take a path, or None for a new folder under runs/.

        Raises UsageError if it holds a run (unless `force`), or anything else; nothing is made or removed yet.
        """
        self.named, self.force = out is not None, force
        self.typed = Path("runs") if out is None else path_of(out, "out")
        self.path = absolute(self.typed)
        self.refuse()

    @property
    def shown(self) -> Path:
        """The path as the user typed it, while it leads there; else the absolute one."""
        with contextlib.suppress(UsageError):  # of a current folder that was removed
            if absolute(self.typed) == self.path:
                return self.typed
        return self.path

    def refuse(self) -> None:
        """Raise UsageError where the folder cannot become that of a new run."""
        if self.named:
            with self.making():
                _refuse(self.shown, self.force)

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """Turn what the system refuses into a UsageError."""
        try:
            yield
        except RunError:
            raise
        except (OSError, RuntimeError) as error:  # the latter of links that lead in a circle
            raise UsageError(f"cannot make the folder {self.typed}: {reason(error)}") from error


@contextlib.contextmanager
def new(destination: Destination, name: str, env: str) -> Iterator[Claim]:
    """Make or take the folder of a new run, for this process alone.

    Raises UsageError if it cannot be that or cannot be made, RunError if it cannot be locked; nothing is removed yet.
    """
    shown = destination.shown
    with destination.making():
        if destination.named:
            destination.path.resolve().mkdir(parents=True, exist_ok=True)  # the folder itself, if this is a link to it
        else:
            shown = _unused(shown, name, env)
    with contextlib.closing(Claim(shown)) as claim:
        destination.refuse()  # once more: from now on no other process changes it
        yield claim


def _unused(parent: Path, name: str, env: str) -> Path:
    """Make a folder that was not there. `mkdir` decides, as others may look for one at the same time."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    parts = [part.split(".")[-1].split("/")[-1].split(":")[-1] for part in (name, env)]
    base, number = parent / "-".join([*parts, stamp]), 0
    base.parent.mkdir(exist_ok=True)
    while True:
        folder = base.with_name(f"{base.name}-{number}") if number else base
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path_of(folder)


def contents(folder: Path) -> tuple[list[Path], Path | None]:
    """List what polyak wrote into a folder, folders after what is in them; name the first other thing, if any."""
    ours: list[Path] = []
    for path, written in _walk(folder, folder):
        if not written:
            return ours, path
        ours.append(path)
    return ours, None


def _walk(root: Path, folder: Path) -> Iterator[tuple[Path, bool]]:
    """Go through a folder, and say of each path whether polyak wrote it: never a link, nor a folder on another disk."""
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        if path.is_symlink() or os.path.ismount(path):
            yield path, False
        elif path.is_dir():
            if FOLDERS.fullmatch(name):
                yield from _walk(root, path)
            yield path, bool(FOLDERS.fullmatch(name))
        else:
            yield path, path.is_file() and bool(WRITTEN.fullmatch(name))


def _refuse(folder: Path, force: bool) -> None:
    """Raise UsageError where a folder cannot become that of a new run."""
    elsewhere = f"choose another {option('out')}"
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file and not a run: {elsewhere}")
    ours, foreign = contents(folder)
    status = _status(folder)
    if status is None:
        if foreign is not None or not all(BEFORE.fullmatch(path.name) for path in ours):
            raise UsageError(f"{folder} exists and is not a run: {elsewhere}")
    elif status != "starting":
        if not force:
            others = [elsewhere, f"replace it with {option('force', True)}"]
            with contextlib.suppress(UsageError):  # a run of an older format cannot be continued
                others.append(
                    f"continue it with {trust.command('resume', folder, RunRecord.read(folder / 'run.json'))}"
                )
            raise UsageError(f"{folder} already holds a run: {', or '.join(others)}")
        _refuse_place(folder)
    if foreign is not None:
        raise UsageError(
            f"{folder} holds {foreign.relative_to(folder)}, which polyak did not write: move it, or {elsewhere}"
        )


def _status(folder: Path) -> Status | None:
    """Return the status of the run in a folder; None: there is no run.json. Raises UsageError if it is another's."""
    path = folder / "run.json"
    if not os.path.lexists(path):
        return None
    try:
        return status_of(path)
    except UsageError as error:
        raise UsageError(f"{folder} is not replaced: {error}; choose another {option('out')}") from error


def _refuse_place(folder: Path) -> None:
    """Raise UsageError where replacing a run could mean more than the user sees."""
    here, there = Path.cwd(), absolute(folder)
    if folder.is_symlink():
        raise UsageError(f"{folder} is a link: name the folder itself, {option('out', str(folder.resolve()))}")
    if here == there.resolve() or there.resolve() in here.parents:
        raise UsageError(
            f"{folder} is the current folder, or holds it: go elsewhere to replace it, or give another {option('out')}"
        )
    if os.path.ismount(folder):
        raise UsageError(f"{folder} is a mount point: replace a folder inside it, with another {option('out')}")
