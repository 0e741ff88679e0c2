"""There is one replay buffer in memory and never a second: not while learning, nor in a checkpoint, nor resuming."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLACK = 0.25  # of a buffer: 97 MB, for what is compiled and for the parts that are read


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is asked of Linux")
def test_there_is_never_a_second_replay_buffer(tmp_path: Path) -> None:
    saved, loaded = (stages(tmp_path, *words) for words in ([], ["load"]))
    for peaks in (saved, loaded):
        assert 0.9 < peaks.pop("make") < 1 + SLACK  # it measures what it should
        assert max(peaks.values()) < SLACK, peaks
    assert (saved.keys(), loaded.keys()) == ({"learn", "save", "learn on"}, {"load", "learn on"})


def stages(folder: Path, *words: str) -> dict[str, float]:
    """Return what each stage took at its peak, in sizes of the buffer."""
    command = [sys.executable, "-m", "tests.fixtures.memory", str(folder / "checkpoint"), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))
