"""Run folders changed by somebody who makes the checksums right again."""

import hashlib
import json
from pathlib import Path
from typing import Any

from polyak.runs import checkpoint, files

SEALED = ("policy/policy.json", "checkpoint/checkpoint.json")


def change(folder: Path, name: str, **changes: Any) -> None:
    """Change values of a JSON file of a run."""
    content = json.loads((folder / name).read_text())
    content.pop("sha256", None)
    files.write_json(folder / name, {**content, **changes}, sealed=name in SEALED)
    if name == "run.json":
        _agree(folder)


def change_arrays(folder: Path, content: bytes) -> None:
    """Replace the arrays of a run's checkpoint."""
    (path,) = (folder / "checkpoint").glob("*.safetensors")
    path.write_bytes(content)
    entry = {"file": path.name, "sha256": hashlib.sha256(content).hexdigest()}
    change(folder, "checkpoint/checkpoint.json", files={"arrays": entry})


def _agree(folder: Path) -> None:
    """Let the checkpoint be of the settings that run.json has now, where it has any."""
    try:
        settings = checkpoint.settings_of(json.loads((folder / "run.json").read_text()))
    except (AttributeError, KeyError):
        return
    change(folder, "checkpoint/checkpoint.json", settings=settings)
