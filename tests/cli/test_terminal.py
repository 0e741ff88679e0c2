"""Terminals without our characters get plain ones, and never an error."""

import os
import subprocess
import sys

import pytest

SHOW = """
import sys
from types import SimpleNamespace
from polyak.cli import evaluate, flags, main, tables
def show(words):
    print("5.0 ± 1.0 × 2³² – σ √ \\ud800", file=sys.stderr)
    rows = [{"seed": 0, "return_mean": 5.0, "return_std": 1.0}]
    score = {"deterministic": True, "episodes": 3, "per_seed": rows, "return_mean": 5.0, "return_iqm": 5.0}
    tables.table({"final": {**score, "ci95": [4.0, 6.0], "ci95_over": "seeds", "statistic": "iqm"}})
    flags.folder_and(evaluate.Evaluate, ["--help"], "polyak evaluate RUN …")
sys.modules["polyak.cli.show"] = SimpleNamespace(run=show)
main.COMMANDS = (*main.COMMANDS, "show")
main.main(["show"])
"""


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "5.0 +- 1.0 x 2^32 - sigma ? ?"),
        ("latin-1", "5.0 ± 1.0 × 2³² - sigma ? ?"),
        ("cp1252", "5.0 ± 1.0 × 2³² – sigma ? ?"),
        ("cp437", "5.0 ± 1.0 x 2^3² - σ √ ?"),
        ("utf-8", "5.0 ± 1.0 × 2³² – σ √ ?"),
    ],
)
def test_what_cannot_be_shown_is_shown_plainly(encoding: str, shown: str) -> None:
    provenance = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "40"}
    done = subprocess.run([sys.executable, "-c", SHOW], env=provenance, capture_output=True)
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert err.rstrip() == shown
    assert done.returncode == 0
    assert "final policy" in out
    assert "--episodes INT" in out
    assert max(map(len, out.split("fresh episodes.")[1].splitlines())) <= 40


def test_a_name_that_is_no_text_is_written_as_it_is() -> None:
    code = "from polyak.cli.terminal import write_plainly; write_plainly(); print('runs/\\udcff')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"runs/\xff"
