"""Files that are either whole or not there: JSON and safetensors, written beside and moved into place. No pickle."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from polyak.errors import RunError, UsageError, reason
from polyak.lazy import is_jax_array, jax
from polyak.tree import from_named_leaves, named_leaves

T = TypeVar("T")
FORMAT = 1


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside a file to write to: what is written there then replaces the file.

    Raises RunError if that fails, and leaves the file as it was.
    """
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(exist_ok=True)
        yield beside
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {reason(error)}") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a RunError that names the file or folder."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {path}: {reason(error)}") from error


def sync_folder(folder: Path) -> None:
    """Wait until the names of a folder's files are on disk. Raises RunError."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    with writing(folder):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_text(path: Path, text: str) -> None:
    """Replace a file's content, atomically and durably. Raises RunError."""
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file, atomically; numbers that are not finite become null."""
    write_text(path, json.dumps(plain({"format": FORMAT, **content}), indent=2, allow_nan=False) + "\n")


def read_json(path: Path, keys: Collection[str] = ()) -> dict[str, Any]:
    """Read a JSON file of ours. Raises UsageError if it is missing, damaged, of a newer format, or lacks a key."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): it is damaged or was not written by polyak") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise UsageError(f"{path} was not written by polyak, or was changed since")
    if content["format"] > FORMAT:
        raise UsageError(
            f"{path} has format {content['format']}; this version of polyak reads up to {FORMAT}: pip install -U polyak"
        )
    missing = [key for key in keys if key not in content]
    if missing:
        raise UsageError(f"{path} lacks {', '.join(missing)}: it is damaged or was changed")
    return content


def save_arrays(path: Path, tree: Any) -> dict[str, Any]:
    """Save a tree of arrays as safetensors, atomically; return the file's name and digest, to be kept in a JSON.

    Raises RunError where it cannot be written.
    """
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in named_leaves(tree).items()}
    with replacing(path) as beside:
        beside.touch()
        mode = beside.stat().st_mode  # as the user wants it; safetensors would let nobody else read the file
        save_file(arrays, beside)
        beside.chmod(mode)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        return {"file": path.name, "sha256": _digest(beside)}


def save_set(folder: Path, name: str, facts: dict[str, Any], trees: dict[str, Any]) -> None:
    """Save trees beside those saved before, then the JSON that names them, then remove the earlier ones.

    So a kill at any moment leaves the earlier set or this one whole.
    """
    with writing(folder):
        numbers = [path.stem.rpartition("-")[2] for path in folder.glob("*-*.safetensors")]
    number = 1 + max((int(n) for n in numbers if n.isdigit()), default=0)
    entries = {which: save_arrays(folder / f"{which}-{number}.safetensors", tree) for which, tree in trees.items()}
    write_json(folder / name, {**facts, "files": entries})
    sync_folder(folder)  # else a loss of power might undo the renaming and not the removing
    kept = {name, *(entry["file"] for entry in entries.values())}
    with writing(folder):
        for other in folder.iterdir():
            if other.name not in kept:
                other.unlink(missing_ok=True)


def load_arrays(
    folder: Path, entry: Any, template: T, any_length: Sequence[str] = (), by_part: Sequence[str] = ()
) -> T:
    """Load a tree shaped like `template` from the file that `entry` names.

    Of names that begin as in `any_length` the shape may differ. What begins as in `by_part` is left in the file, to be
    read by slices. Raises UsageError if the file is missing, damaged or changed.
    """
    try:
        path = folder / Path(str(entry["file"])).name
        if not path.exists():
            raise UsageError(f"{path} is missing")
        if _digest(path) != entry["sha256"]:
            raise UsageError(f"{path} was changed or damaged: its checksum is not the recorded one")
        stored = {name: array if _starts(name, by_part) else array[:] for name, array in _arrays_in(path).items()}
        return from_named_leaves(template, stored, lambda *leaf: _fitting(path, any_length, *leaf))
    except (SafetensorError, KeyError, TypeError, OSError) as error:
        raise UsageError(
            f"the arrays in {folder} cannot be read ({error}): they are damaged or were changed"
        ) from error


def _starts(name: str, prefixes: Sequence[str]) -> bool:
    return name.startswith(tuple(prefixes))


def _arrays_in(path: Path) -> "dict[str, Stored]":
    """List the arrays in a safetensors file: its header is JSON, with their places in what follows."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return {
        name: Stored(path, _dtype(entry["dtype"]), tuple(entry["shape"]), 8 + size + entry["data_offsets"][0])
        for name, entry in header.items()
    }


KINDS: dict[str, Any] = {
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
    **{f"{kind.upper()}{8 * size}": f"<{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)},
    "BOOL": "?",
}


def _dtype(kind: str) -> np.dtype[Any]:
    return np.dtype(jax.numpy.bfloat16 if kind == "BF16" else KINDS[kind])


@dataclasses.dataclass(frozen=True)
class Stored:
    """An array in a file, read by slices of its first axis: safetensors' own reader takes all of it into memory."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    def __getitem__(self, part: slice) -> np.ndarray:
        """Read the rows `[start:stop]`; of an array without axes all there is."""
        start, stop, _ = part.indices(self.shape[0] if self.shape else 1)
        row = int(np.prod(self.shape[1:]))
        offset = self.offset + start * row * self.dtype.itemsize
        numbers = np.fromfile(self.path, self.dtype, (stop - start) * row, offset=offset)
        return numbers.reshape((stop - start, *self.shape[1:]) if self.shape else ())


def _fitting(path: Path, any_length: Sequence[str], name: str, template: Any, stored: Any) -> Any:
    if stored.dtype != template.dtype or (not _starts(name, any_length) and stored.shape != template.shape):
        raise UsageError(
            f"{path}: {name} is {stored.dtype}{stored.shape}, expected {template.dtype}{tuple(template.shape)}"
        )
    return stored


def settings_to_json(settings: Any) -> dict[str, Any]:
    """Turn a settings dataclass into plain JSON values."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def settings_from_json(cls: type[T], values: Any, path: Path) -> T:
    """Make a settings dataclass from plain JSON values. Raises UsageError for unknown names and wrong values."""
    if not isinstance(values, dict):
        raise UsageError(f"{path}: {cls.__name__} is damaged")
    tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return cls(**tuples)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: the {cls.__name__} does not fit this version of polyak ({error})") from error


def are_seeds(value: Any) -> bool:
    """Say whether a JSON value is a list of seeds."""
    return isinstance(value, list) and bool(value) and all(type(seed) is int and 0 <= seed < 2**32 for seed in value)


def fingerprint(content: dict[str, Any]) -> str:
    """Return a digest of JSON values that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(value: Any) -> Any:
    """Turn arrays, tuples and keys into what JSON has; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.ndarray) or is_jax_array(value):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
