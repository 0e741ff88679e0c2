"""What polyak does with damaged run folders: each must end in success or in one sentence, soon, and in little memory.

`python benchmarks/mutations.py --count 10000` trains a tiny run, damages a copy of it in a seeded way, again and again,
and opens each: load, act, draw, and resume up to the first iteration. It prints and writes the outcomes, the longest
time and the most memory. Half of the damages make the checksums right again, as somebody would who means harm.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEALED = ("policy.json", "checkpoint.json")
LONG = "x" * 300
EVIL: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1,
        2**31,
        2**63,
        10**24,
        1e300,
        -0.5,
        "",
        LONG,
        "a\n\x00b",
        "\ud800",
        [],
        {},
        [[]],
        {"": None},
    ),
    *([0] * 50_000, [10**18, 10**18], [-1], ["F32"], "../x", "NaN", float("nan"), float("inf"), "os:abort", "os"),
)
RAW = (
    "[" * 100_000,
    "9" * 5_000,
    "1e999",
    "-Infinity",
    '{"format": ' + "1" * 30 + "}",
    '{"a":' * 2_000,
    "",
    "\x00",
    "[]",
)
ARRAYS_BEGIN = 8  # bytes that hold the length of a safetensors header


def mutate(folder: Path, chance: random.Random) -> str:
    """Damage one file of a run folder; say which, and how."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".csv"))
    path = chance.choice(files)
    kinds = {".json": (_bytes, _value, _value, _raw, _kind), ".safetensors": (_bytes, _header, _header, _kind)}
    how = chance.choice(kinds.get(path.suffix, (_bytes, _cell, _kind)))
    return f"{path.relative_to(folder)}: {how(path, chance)}"


def _bytes(path: Path, chance: random.Random) -> str:
    """Flip, cut, add or fill."""
    content = bytearray(path.read_bytes())
    place, how = chance.randrange(len(content) + 1), chance.choice(("flip", "cut", "add", "zeros", "noise"))
    if how == "flip" and place < len(content):
        content[place] ^= 1 << chance.randrange(8)
    elif how == "cut":
        del content[place:]
    elif how == "add":
        content[place:place] = chance.randbytes(chance.choice((1, 8, 4096)))
    else:
        size = chance.choice((1, 64, 10_000))
        content[place : place + size] = bytes(size) if how == "zeros" else chance.randbytes(size)
    path.write_bytes(content)
    if path.suffix == ".safetensors" and chance.random() < 0.5:
        _record(path)
    return f"{how} at {place}"


def _value(path: Path, chance: random.Random) -> str:
    """Change, remove or add a value anywhere in a JSON file."""
    content = json.loads(path.read_text())
    where = _change(content, chance)
    _write(path, content, seal=chance.random() < 0.7)
    return where


def _change(content: Any, chance: random.Random) -> str:
    places = list(_places(content))
    container, key = chance.choice(places)
    if chance.random() < 0.15:
        del container[key]
        return f"without {key!r}"
    other = chance.choice(places)
    value = other[0][other[1]] if chance.random() < 0.2 else chance.choice(EVIL)
    container[key] = json.loads(json.dumps(value))
    return f"{key!r} is {str(value)[:40]}"


def _places(content: Any) -> Any:
    items = list(content.items()) if isinstance(content, dict) else list(enumerate(content))
    for key, value in items[:200]:
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _write(path: Path, content: Any, seal: bool) -> None:
    if seal and path.name in SEALED and isinstance(content, dict):
        from polyak.runs.files import fingerprint

        content.pop("sha256", None)
        with contextlib.suppress(RecursionError):
            content["sha256"] = fingerprint(content)
    path.write_text(json.dumps(content))


def _raw(path: Path, chance: random.Random) -> str:
    """Write what is hardly JSON, alone or in the place of a value."""
    raw, text = chance.choice(RAW), path.read_text()
    place = text.find(":", chance.randrange(len(text))) + 1
    path.write_text(raw if chance.random() < 0.5 else f"{text[:place]} {raw},{text[text.find(',', place) + 1 :]}")
    return f"{raw[:20]} at {place}"


def _cell(path: Path, chance: random.Random) -> str:
    """Change a row or a field of a CSV file."""
    rows = [line.split(",") for line in path.read_text().splitlines()]
    row = chance.choice(rows)
    row[chance.randrange(len(row))] = chance.choice(
        ("", "nan", "inf", "1e999", LONG, "-1", "1,2", '"', "\x00", "9" * 5_000)
    )
    path.write_text("\n".join(map(",".join, chance.choice((rows, rows[:-1], [*rows, row])))) + "\n")
    return "a field"


def _header(path: Path, chance: random.Random) -> str:
    """Change what a safetensors file says of its arrays, and record its new checksum."""
    content = path.read_bytes()
    size = int.from_bytes(content[:ARRAYS_BEGIN], "little")
    header, data = content[ARRAYS_BEGIN : ARRAYS_BEGIN + size], content[ARRAYS_BEGIN + size :]
    said = "length"
    if chance.random() < 0.25:
        length = chance.choice((0, 1, size - 1, size + 1, len(content), 2**32, 10 * 2**30, 2**63, 2**64 - 1))
    else:
        parsed = json.loads(header)
        said = _change(parsed, chance)
        header = json.dumps(parsed).encode() if chance.random() < 0.9 else chance.choice(RAW).encode()
        length = len(header)
    path.write_bytes(length.to_bytes(ARRAYS_BEGIN, "little") + header + data)
    _record(path)
    return f"header, {said}"


def _record(path: Path) -> None:
    """Make the checksums right again: that of the arrays, and that of the JSON file that has it."""
    for name in SEALED:
        facts = path.parent / name
        if facts.exists():
            content = json.loads(facts.read_text())
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            for entry in content["files"].values():
                if entry["file"] == path.name:
                    entry["sha256"] = digest
            _write(facts, content, seal=True)


def _kind(path: Path, chance: random.Random) -> str:
    """Put something else in the place of a file: nothing, a folder, a pipe, an endless device, an enormous file."""
    size = path.stat().st_size
    path.unlink()
    kinds: dict[str, Callable[[], Any]] = {
        "nothing": lambda: None,
        "a folder": path.mkdir,
        "a link to itself": lambda: path.symlink_to(path),
        "20 GB more": lambda: _enlarge(path, size + 20 * 2**30),
        "200 MB of zeros": lambda: _enlarge(path, 200 * 2**20),
    }
    if hasattr(os, "mkfifo"):
        kinds["a pipe"] = lambda: os.mkfifo(path)
        kinds["an endless device"] = lambda: path.symlink_to("/dev/zero")
    kind = chance.choice(sorted(kinds))
    kinds[kind]()
    return kind


def _enlarge(path: Path, size: int) -> None:
    with open(path, "wb") as file:  # sparse: it takes no space on disk
        file.truncate(size)


def open_all(folder: Path) -> None:
    """Do with a run folder all that reads it, as far as the first iteration of a resumed training."""
    import numpy as np

    import polyak
    from polyak.runs import session
    from polyak.runs.records import Records

    run = polyak.load(folder)
    repr(run)
    run.policy(np.zeros(3))
    run.saved.tree("final")
    Records(run.place).curve("evaluation")
    Records(run.place).curve("training")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before, session.Session.train = session.Session.train, stop  # type: ignore[method-assign]
    try:
        polyak.resume(folder)
    except KeyboardInterrupt:
        pass
    finally:
        session.Session.train = before  # type: ignore[method-assign]


def outcome(act: Callable[[], Any]) -> str:
    """Act; return "success", "refused", or what went wrong."""
    from polyak import RunError, UsageError

    try:
        act()
    except (UsageError, RunError) as error:
        sentence = str(error)
        return "refused" if len(sentence) < 700 and "\n" not in sentence else f"a long sentence: {sentence[:80]}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    return "success"


def peak_mib() -> float:
    """Return the most memory that this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def tiny_run(out: Path) -> None:
    """Train a little, and stop in the middle."""
    import polyak

    polyak.train(
        "ddpg",
        "Pendulum-v1",
        out=out,
        seeds=2,
        config={"actor_layers": (8,), "critic_joint_layers": (8,)},
        plan={
            "env_steps": 400,
            "rollout_length": 10,
            "batch": 8,
            "capacity": 150,
            "warmup": 40,
            "evaluation_episodes": 1,
        },
        on_report=lambda progress: max(progress.env_steps) >= 200,
        quiet=True,
    )
    facts = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**facts, "status": "interrupted"}))


def survey(count: int, seed: int) -> dict[str, Any]:
    """Damage and open `count` copies of a run; return what became of them."""
    outcomes: Counter[str] = Counter()
    others: list[str] = []
    slowest = (0.0, "")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(open(os.devnull, "w")):
        whole, copy = Path(folder) / "whole", Path(folder) / "copy"
        tiny_run(whole)
        shutil.copytree(whole, copy)
        for _ in range(2):  # everything is imported and compiled before anything is measured
            assert outcome(lambda: open_all(copy)) == "success"
        before = peak_mib()
        for number in range(count):
            shutil.rmtree(copy)
            shutil.copytree(whole, copy)
            what = mutate(copy, random.Random(f"{seed}-{number}"))
            began = time.perf_counter()
            became = outcome(lambda: open_all(copy))
            slowest = max(slowest, (time.perf_counter() - began, f"{number} {what}"))
            outcomes[became if became in ("success", "refused") else "other"] += 1
            if became not in ("success", "refused"):
                others.append(f"{number} {what}: {became}")
        return {
            "count": count,
            "seed": seed,
            "outcomes": dict(outcomes),
            "others": others[:50],
            "slowest_seconds": round(slowest[0], 3),
            "slowest": slowest[1],
            "most_memory_mib": round(peak_mib() - before, 1),
        }


def main() -> None:
    """Survey, print, write."""
    import measuring

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="damaged folders")
    parser.add_argument("--seed", type=int, default=0, help="other damages")
    parser.add_argument("--out", type=Path, default=measuring.RESULTS / "mutations.json", help="the JSON file")
    asked = parser.parse_args()
    found = {**measuring.provenance(), **survey(asked.count, asked.seed)}
    asked.out.write_text(json.dumps(found, indent=2) + "\n")
    print(
        json.dumps({key: found[key] for key in ("outcomes", "others", "slowest_seconds", "most_memory_mib")}, indent=2)
    )


if __name__ == "__main__":
    main()
