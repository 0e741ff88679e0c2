"""Files: whole or not there, refused with one clear line when damaged, and never pickled."""

import ast
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import polyak
from polyak import RunError, UsageError
from polyak.runs import arrays, files
from tests.fixtures import tampering

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": (np.array(7, np.uint32), np.array([True]))}


def test_json_comes_back_with_numbers_that_json_knows(tmp_path: Path):
    path = tmp_path / "x.json"
    files.write_json(path, {"a": np.float32(0.5), "b": np.array([1, 2]), "c": [np.nan, -np.inf], "d": (np.int64(3),)})
    assert files.read_json(path, {}) == {"format": files.FORMAT, "a": 0.5, "b": [1, 2], "c": [None, None], "d": [3]}


def test_arrays_come_back_bit_for_bit(tmp_path: Path):
    entry = arrays.save_arrays(tmp_path / "x.safetensors", ARRAYS)
    loaded = arrays.load_arrays(tmp_path, json.loads(json.dumps(entry)), ARRAYS)
    assert loaded["a"].dtype == np.float32
    assert loaded["b"][0].dtype == np.uint32
    for got, expected in ((loaded["a"], ARRAYS["a"]), (loaded["b"][0], ARRAYS["b"][0]), (loaded["b"][1], [True])):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str):
    files.write_json(tmp_path / "x.json", {"value": 1})
    entry = arrays.save_arrays(tmp_path / "x.safetensors", ARRAYS)
    monkeypatch.setattr(os, broken, _fail)
    with pytest.raises(RunError, match=r"cannot write .*x.json: no space left"):
        files.write_json(tmp_path / "x.json", {"value": 2})
    with pytest.raises(RunError, match=r"cannot write .*x.safetensors: no space left"):
        arrays.save_arrays(tmp_path / "x.safetensors", {"a": np.zeros(9)})
    assert {path.name for path in tmp_path.iterdir()} == {"x.json", "x.safetensors"}
    assert files.read_json(tmp_path / "x.json", {})["value"] == 1
    np.testing.assert_array_equal(arrays.load_arrays(tmp_path, entry, ARRAYS)["a"], ARRAYS["a"])


def test_a_file_that_grows_too_large_is_one_line(tmp_path: Path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(RunError, match=r"cannot write .*x.safetensors: .*File too large"):
            arrays.save_arrays(tmp_path / "x.safetensors", {"a": np.zeros(9999)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_may_be_read_by_whom_the_user_lets(tmp_path: Path, mask: int):
    before = os.umask(mask)
    try:
        arrays.save_set(tmp_path / "set", "x.json", {}, {"a": ARRAYS})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "set").iterdir()} == {0o666 & ~mask}


def test_arrays_of_another_shape_or_type_are_refused(tmp_path: Path):
    entry = arrays.save_arrays(tmp_path / "x.safetensors", ARRAYS)
    for other in (np.zeros((3, 2), np.float32), np.zeros((2, 3))):
        with pytest.raises(UsageError, match=r"a is float32\(2, 3\), expected"):
            arrays.load_arrays(tmp_path, entry, {**ARRAYS, "a": other})
    with pytest.raises(UsageError, match="lacks more: it is damaged or was changed"):
        arrays.load_arrays(tmp_path, entry, {**ARRAYS, "more": np.zeros(1)})


def test_only_the_length_that_may_differ_does(tmp_path: Path):
    entry = arrays.save_arrays(tmp_path / "x.safetensors", ARRAYS)
    template = {**ARRAYS, "a": np.zeros((0, 3), np.float32)}
    assert arrays.load_arrays(tmp_path, entry, template, arrays.Free({"a": 100}))["a"].shape == (2, 3)


@pytest.mark.parametrize(
    "kind", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", jnp.bfloat16], ids=str
)
def test_every_kind_of_number_comes_back_whole_and_by_part(tmp_path: Path, kind: Any):
    rows = np.arange(24).reshape(4, 3, 2).astype(kind)
    tree = {"before": np.ones(3, np.int8), "rows": rows, "none": rows[:0], "one": rows[1, 1, 1]}
    entry = arrays.save_arrays(tmp_path / "x.safetensors", tree)
    whole = arrays.load_arrays(tmp_path, entry, tree)
    for name, array in tree.items():
        assert (whole[name].dtype, whole[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(whole[name], array)
    stored = arrays.load_arrays(tmp_path, entry, tree, arrays.Free({}, ("rows",)))["rows"]
    assert stored.shape == (4, 3, 2)
    np.testing.assert_array_equal(stored[1:3], rows[1:3])
    np.testing.assert_array_equal(stored[3:9], rows[3:])


def test_an_entry_cannot_point_out_of_its_folder(tmp_path: Path):
    (tmp_path / "inside").mkdir()
    entry = arrays.save_arrays(tmp_path / "x.safetensors", ARRAYS)
    with pytest.raises(UsageError, match="cannot be found"):
        arrays.load_arrays(tmp_path / "inside", {**entry, "file": "../x.safetensors"}, ARRAYS)


def _fail(*_: Any) -> None:
    raise OSError("no space left")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1 if path.suffix == ".safetensors" else 0x80  # in text: not UTF-8 any more
    path.write_bytes(content)


def _make_newer(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": files.FORMAT + 1}))


def _make_older(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": files.FORMAT - 1}))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": _cut,
    "flipped": _flip,
    "garbage": lambda path: path.write_bytes(os.urandom(300)),
}
JSON_DAMAGES: dict[str, Callable[[Path], Any]] = {
    "newer": _make_newer,
    "older": _make_older,
    "another's": lambda path: path.write_text('{"format": "wav"}'),
    "a list": lambda path: path.write_text("[1, 2]"),
    "nothing in it": lambda path: path.write_text('{"format": 1}'),
}
READERS: dict[str, Callable[[Path], Any]] = {
    "run.json": polyak.load,
    "policy/policy.json": lambda folder: polyak.load(folder).policy,
    "policy/best-*.safetensors": lambda folder: polyak.load(folder).policy,
    "policy/final-*.safetensors": lambda folder: polyak.load(folder).evaluate(2, "final"),
    "checkpoint/checkpoint.json": polyak.resume,
    "checkpoint/arrays-*.safetensors": polyak.resume,
}
CASES = [
    (name, damage) for name in READERS for damage in (DAMAGES | JSON_DAMAGES if name.endswith(".json") else DAMAGES)
]


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_a_damaged_file_is_refused_in_one_line_that_names_it(stopped: Path, name: str, damage: str):
    (path,) = stopped.glob(name)
    (DAMAGES | JSON_DAMAGES)[damage](path)
    with pytest.raises(UsageError) as refused:
        READERS[name](stopped)
    assert str(path.name) in str(refused.value)
    assert "\n" not in str(refused.value)
    if damage == "older":
        assert "polyak 0.1" in str(refused.value)
    if damage == "newer":
        assert "pip install -U polyak" in str(refused.value)


WRONG_VALUES = [
    ("run.json", "algorithm", ""),
    ("run.json", "algorithm", "dpg"),
    ("run.json", "env", 3),
    ("run.json", "status", "paused"),
    ("run.json", "device", None),
    ("run.json", "backend", ["host"]),
    ("run.json", "seeds", None),
    ("run.json", "devices", "two"),
    ("run.json", "devices", 0),
    ("run.json", "seeds", []),
    ("run.json", "seeds", ["zero"]),
    ("run.json", "config", None),
    ("run.json", "config", {"gamma": 2.0}),
    ("run.json", "config", {"gamma": "high"}),
    ("run.json", "config", {"actor_layers": None}),
    ("run.json", "config", {"speed": 1}),
    ("run.json", "plan", {"env_steps": "many"}),
    ("run.json", "env_steps", {}),
    ("run.json", "env_steps", "os"),
    ("run.json", "fitted", None),
    ("run.json", "exploring_returns", ["high"]),
    ("run.json", "stop_at", "high"),
    ("run.json", "plan", {"rollout_length": 1.5}),
    ("policy/policy.json", "seeds", None),
    ("policy/policy.json", "best_seed", 9),
    ("policy/policy.json", "best_seed", "first"),
    ("policy/policy.json", "algorithm", ["ddpg"]),
    ("policy/policy.json", "files", None),
    ("policy/policy.json", "config", {"actor_layers": "wide"}),
    ("policy/policy.json", "action_space", {"box": {"shape": [2]}}),
    ("policy/policy.json", "action_space", {"discrete": {"n": 2, "start": 0}, "more": 1}),
    ("policy/policy.json", "seeds", [-1, 1]),
    ("policy/policy.json", "seeds", [None, {}]),
    ("checkpoint/checkpoint.json", "seconds", 3),
    ("checkpoint/checkpoint.json", "log", {"logged": 40}),
    ("checkpoint/checkpoint.json", "log", 5),
    ("checkpoint/checkpoint.json", "settings", "other"),
    ("checkpoint/checkpoint.json", "seconds", {"training": "x"}),
    ("checkpoint/checkpoint.json", "pending", 1),
    ("checkpoint/checkpoint.json", "files", {"arrays": {"file": ["arrays-1.safetensors"], "sha256": None}}),
    ("checkpoint/checkpoint.json", "files", None),
    ("checkpoint/checkpoint.json", "files", {"arrays": {"file": "arrays-1.safetensors"}}),
]


@pytest.mark.parametrize(("name", "key", "value"), WRONG_VALUES)
def test_a_tampered_value_is_refused_in_one_line(stopped: Path, name: str, key: str, value: Any):
    content = json.loads((stopped / name).read_text())
    changed = {**content[key], **value} if key in ("config", "plan") and isinstance(value, dict) else value
    tampering.change(stopped, name, **{key: changed})
    with pytest.raises(UsageError) as refused:
        polyak.resume(stopped) if "policy" not in name else polyak.load(stopped).policy(np.zeros(3))
    assert "\n" not in str(refused.value)


def test_nothing_that_runs_code_is_saved_or_loaded(finished: polyak.Run):
    suffixes = {path.suffix for path in finished.folder.rglob("*") if path.is_file() and "tfevents" not in path.name}
    assert suffixes == {".json", ".safetensors", ".csv", ".png"}
    forbidden = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    for path in Path(files.__file__).parents[1].rglob("*.py"):
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = {name for node in tree for name in _imported(node)}
        assert not names & forbidden, path
        assert "allow_pickle" not in path.read_text(encoding="utf-8")


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [str(node.module).partition(".")[0]] if isinstance(node, ast.ImportFrom) else []


def _file(header: bytes, length: int | None = None, data: bytes = b"") -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def _entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> bytes:
    return json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


FOUR = bytes(4)
DAMAGED = {
    "empty": b"",
    "shorter than its length": b"\x01\x02",
    "a header of 10 GB": _file(b"{}", 10 * 2**30),
    "a header of 2^64 bytes": _file(b"{}", 2**64 - 1),
    "a header that is a number": _file(b"3"),
    "a header that is no text": _file(b"\xff\xfe"),
    "a deep header": _file(b"[" * 100_000),
    "a number of 5000 digits": _file(b'{"a": ' + b"9" * 5000 + b"}"),
    "an array that is none": _file(b'{"a": 1}'),
    "a shape of 10^18": _file(_entry(shape=[10**18], offsets=[0, 4 * 10**18]), data=FOUR),
    "shapes whose product is too large": _file(_entry(shape=[2**62, 2**62]), data=FOUR),
    "a negative shape": _file(_entry(shape=[-1, -1]), data=FOUR),
    "a shape that is a truth value": _file(_entry(shape=[True]), data=FOUR),
    "offsets that are not the array's": _file(_entry(offsets=[0, 8]), data=bytes(8)),
    "offsets out of the file": _file(_entry(offsets=[2**62, 2**62 + 4]), data=FOUR),
    "offsets that overflow": _file(_entry(offsets=[10**30, 10**30 + 4]), data=FOUR),
    "bytes that are no array's": _file(_entry(), data=bytes(12)),
    "an unknown type": _file(_entry("F128"), data=FOUR),
    "a type that is a list": _file(_entry(["F32"]), data=FOUR),
    "a long name": _file(_entry().replace(b'"a"', b'"' + b"x" * 300 + b'"'), data=FOUR),
    "another array": _file(_entry().replace(b'"a"', b'"b"'), data=FOUR),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_file_of_arrays_is_checked_before_it_is_read(damage: str, tmp_path: Path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(DAMAGED[damage])
    entry = {"file": path.name, "sha256": hashlib.sha256(DAMAGED[damage]).hexdigest()}
    with pytest.raises(UsageError) as refused:
        arrays.load_arrays(tmp_path, entry, {"a": np.zeros(1, np.float32)})
    assert "x.safetensors" in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "20 GB"])
def test_only_ordinary_files_of_the_expected_size_are_read(kind: str, tmp_path: Path):
    path = tmp_path / "x.safetensors"
    entry = arrays.save_arrays(path, ARRAYS)
    content = path.read_bytes()
    path.unlink()
    if kind == "20 GB":
        with open(path, "wb") as file:
            file.write(content)
            file.truncate(20 * 2**30)
    else:
        make: dict[str, Callable[[], Any]] = {
            "pipe": lambda: os.mkfifo(path),
            "device": lambda: path.symlink_to("/dev/zero"),
            "folder": path.mkdir,
        }
        make[kind]()
    with pytest.raises(UsageError, match="is not an ordinary file" if kind != "20 GB" else "bytes are not those"):
        arrays.load_arrays(tmp_path, entry, ARRAYS)
    if kind != "20 GB":
        with pytest.raises(UsageError, match="is not an ordinary file"):
            files.read_json(path, {})


def test_arrays_of_any_length_are_no_larger_than_the_run_can_make_them(tmp_path: Path):
    entry = arrays.save_arrays(tmp_path / "x.safetensors", {"a": np.zeros((5, 3), np.float32)})
    template = {"a": np.zeros((0, 3), np.float32)}
    assert arrays.load_arrays(tmp_path, entry, template, arrays.Free({"a": 60}))["a"].shape == (5, 3)
    for free, other in ((59, template["a"]), (60, np.zeros((0, 5), np.float32)), (60, np.zeros((0, 3, 1), np.float32))):
        with pytest.raises(UsageError, match=r"a is float32\(5, 3\), expected"):
            arrays.load_arrays(tmp_path, entry, {"a": other}, arrays.Free({"a": free}))


@pytest.mark.parametrize(
    "text",
    ["[" * 5_000, '{"a":' * 200 + "1" + "}" * 200, "9" * 5_000, "[1e999]", "[NaN]", "[-Infinity]", "\x00", "{}x"],
)
def test_json_that_others_may_have_written_is_refused_in_one_way(text: str, tmp_path: Path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=r"x\.json cannot be read \(.*\): it is damaged or was not written by polyak"):
        files.read_json(tmp_path / "x.json", {})


def test_json_that_is_enormous_is_not_read(tmp_path: Path):
    with open(tmp_path / "x.json", "wb") as file:
        file.truncate(20 * 2**30)
    with pytest.raises(UsageError, match="is larger than 32 MiB"):
        files.read_json(tmp_path / "x.json", {})


@pytest.mark.parametrize(
    ("name", "key"), [("checkpoint/checkpoint.json", "seconds"), ("policy/policy.json", "best_seed")]
)
def test_json_beside_arrays_has_a_checksum_of_its_own(stopped: Path, name: str, key: str):
    path = stopped / name
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, key: {"training": 1.0, "evaluation": 1.0} if key == "seconds" else 1}))
    if key == "best_seed" and content[key] == 1:
        path.write_text(json.dumps({**content, key: 0}))
    with pytest.raises(UsageError, match="was changed or damaged: its checksum is not that of its content"):
        polyak.resume(stopped) if key == "seconds" else polyak.load(stopped).policy
    path.write_text(json.dumps(dict(reversed(content.items()))))  # the same content in another order
    assert polyak.load(stopped).policy(np.zeros(3)).shape == (2,)
