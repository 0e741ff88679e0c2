"""Trees of arrays in safetensors files; a file's header is verified before any array is read."""

import dataclasses
import hashlib
import io
import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors.numpy import save_file

from polyak.errors import UsageError, reason, shortened
from polyak.lazy import jax
from polyak.runs import files
from polyak.runs.conditions import is_count, is_word
from polyak.tree import from_named_leaves, named_leaves
from polyak.types import Array, Json, Tree

T = TypeVar("T")
LARGEST_HEADER = 2**22  # bytes: tens of thousands of arrays


def save_arrays(path: Path, tree: Tree) -> dict[str, str]:
    """Save a tree of arrays atomically as safetensors; return the file's name and digest for a JSON file.

    Raises RunError if it cannot be written.
    """
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in named_leaves(tree).items()}
    with files.replacing(path) as beside:
        beside.touch()
        mode = beside.stat().st_mode  # the user's; safetensors would make the file private
        save_file(arrays, beside)
        beside.chmod(mode)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
            return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def save_set(folder: Path, name: str, facts: Mapping[str, object], trees: Mapping[str, Tree]) -> None:
    """Save trees beside the earlier ones, then the JSON file that names them, then remove the earlier ones.

    A kill at any moment therefore leaves either the earlier set or the new one complete. Other files in the folder are
    kept. Raises RunError.
    """
    ours = re.compile(
        rf"(?P<beside>\.\d+\.)?({re.escape(name)}|({'|'.join(trees)})-(?P<number>\d{{1,18}})\.safetensors)"
    )
    found = {path: match for path in _files_in(folder) if (match := ours.fullmatch(path.name))}
    number = 1 + max((int(match["number"] or 0) for match in found.values()), default=0)
    entries = {which: save_arrays(folder / f"{which}-{number}.safetensors", tree) for which, tree in trees.items()}
    files.write_json(folder / name, {**facts, "files": entries}, sealed=True)
    files.sync_folder(folder)  # otherwise a power loss could undo the renaming but not the removal
    with files.writing(folder):
        for path in found:
            if path.name != name:
                path.unlink(missing_ok=True)


def _files_in(folder: Path) -> list[Path]:
    """List the regular files in a folder, which need not exist. Raises RunError."""
    with files.writing(folder):
        if folder.is_symlink():
            raise OSError("it is a link")
        paths = folder.iterdir() if folder.exists() else ()
        return [path for path in paths if path.is_file() and not path.is_symlink()]


@dataclasses.dataclass(frozen=True)
class Free:
    """Arrays whose shape may differ from the template's, by the prefix of their names."""

    most: Mapping[str, int]  # prefix → maximum bytes of each array
    by_part: Sequence[str] = ()  # prefixes of arrays that are read in slices later
    only: str = ""  # the template's prefix: other arrays in the file are ignored

    def bytes_of(self, name: str) -> int | None:
        """Return the maximum bytes of an array, or None if it must have the template's shape."""
        return next((most for prefix, most in self.most.items() if name.startswith(prefix)), None)


def load_arrays(folder: Path, entry: Json, template: T, free: Free | None = None) -> T:
    """Load a tree with the structure of `template` from the file that `entry` names.

    Raises UsageError if the file is missing, damaged or changed. Arrays larger than allowed are never read.
    """
    path, recorded = _named_by(folder, entry)
    free, leaves = free or Free({}), named_leaves(template)
    try:
        with files.opened(path) as file:
            stored = _arrays_in(path, file)
            _compare(path, stored, leaves, free)
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != recorded:
                raise UsageError(f"{path} was changed or damaged: its checksum is not the recorded one")
        return from_named_leaves(template, stored, lambda name, _, array: _taken(name, array, free))
    except FileNotFoundError:
        raise UsageError(f"{path} is missing") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}") from error


def _named_by(folder: Path, entry: Json) -> tuple[Path, str]:
    """Return the file in this folder that an entry of a JSON file names, and its digest."""
    match entry:
        case {"file": str(name), "sha256": str(digest)} if is_word(name) and Path(name).name == name:
            if "\0" not in name and name.isprintable():
                return folder / name, digest
    raise UsageError(
        f"the arrays in {folder} cannot be found: the JSON file beside them, which names them, is damaged or was edited"
    )


DTYPES = {
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
    **{f"{code.upper()}{8 * size}": f"<{code}{size}" for code in "iu" for size in (1, 2, 4, 8)},
    "BOOL": "?",
}


def _dtype(code: str) -> np.dtype | None:
    if code == "BF16":
        return np.dtype(jax.numpy.bfloat16)
    return np.dtype(DTYPES[code]) if code in DTYPES else None


@dataclasses.dataclass(frozen=True)
class Stored:
    """An array in a file, read in slices along its first axis; safetensors' reader would load all of it."""

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """The size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, part: slice) -> np.ndarray:
        """Read the rows `[start:stop]`, or all of an array without axes."""
        start, stop, _ = part.indices(self.shape[0] if self.shape else 1)
        row = math.prod(self.shape[1:])
        offset = self.offset + start * row * self.dtype.itemsize
        numbers = np.fromfile(self.path, self.dtype, (stop - start) * row, offset=offset)
        if self.dtype == bool:
            numbers = numbers.view(np.uint8) != 0  # NumPy allows only the bytes 0 and 1 in a bool
        return numbers.reshape((stop - start, *self.shape[1:]) if self.shape else ())


def _arrays_in(path: Path, file: io.BufferedReader) -> dict[str, Stored]:
    """List the arrays in a safetensors file from its JSON header, which gives their offsets.

    Raises UsageError unless they fill the rest of the file without gaps or overlaps.
    """
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LARGEST_HEADER):
        raise UsageError(f"{path} is damaged: its header is said to have {length} bytes")
    try:
        header = files.parsed_json(file.read(length))
    except ValueError as error:
        raise UsageError(f"{path} is damaged: its header cannot be read ({shortened(str(error))})") from error
    if not isinstance(header, dict):
        raise UsageError(f"{path} is damaged: its header is not a dictionary")
    header.pop("__metadata__", None)
    stored = {name: _described(path, name, entry, 8 + length) for name, entry in header.items()}
    places = sorted((array.offset, array.offset + array.size) for array in stored.values())
    ends = [8 + length, *(end for _, end in places)]
    if any(begin != before for before, (begin, _) in zip(ends, places, strict=False)) or ends[-1] != size:
        raise UsageError(f"{path} is damaged: its {size} bytes are not those of the arrays that its header lists")
    return stored


def _described(path: Path, name: str, entry: Json, begin: int) -> Stored:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(end)]}:
            numbers = (*shape, start, end)
            known = _dtype(dtype)
            if known is not None and len(shape) <= 32 and all(map(is_count, numbers)):
                stored = Stored(path, known, tuple(shape), begin + start)
                if stored.size == end - start:
                    return stored
    raise UsageError(f"{path} is damaged: its header describes no array {shortened(name)!r}")


def _compare(path: Path, stored: dict[str, Stored], leaves: Mapping[str, Array], free: Free) -> None:
    """Raise UsageError if the arrays in a file do not match the template."""
    for name in itertools.chain(leaves, stored):
        if name not in stored:
            raise UsageError(f"{path} lacks {name}: it is damaged or was changed")
        if name not in leaves:
            if not name.startswith(free.only):
                continue
            raise UsageError(f"{path} has an array {shortened(name)!r} too many: it is damaged or was changed")
        found, expected, most = stored[name], leaves[name], free.bytes_of(name)
        fits = found.shape == tuple(expected.shape) if most is None else _may_be(found, expected, most)
        if found.dtype != expected.dtype or not fits:
            raise UsageError(
                f"{path}: {name} is {found.dtype}{found.shape}, expected {expected.dtype}{tuple(expected.shape)}"
            )


def _may_be(found: Stored, expected: Array, most: int) -> bool:
    rows = tuple(expected.shape)
    alike = rows == (0,) or (len(found.shape), *found.shape[1:]) == (len(rows), *rows[1:])  # an empty array has no row
    return alike and found.size <= most


def _taken(name: str, array: Stored, free: Free) -> Stored | np.ndarray:
    return array if name.startswith(tuple(free.by_part)) else array[:]
