"""The tables of speed in the documentation: what the committed files hold, and how they are filled."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def table() -> Any:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    found = runpy.run_path(str(ROOT / "benchmarks" / "performance_table.py"))
    sys.path.remove(str(ROOT / "benchmarks"))
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a project with a page for each table, and two ratios."""
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    marks = "\n".join(f"<!-- {mark}:begin -->\n<!-- {mark}:end -->\n" for mark in ("ratios", "scaling", "start"))
    (tmp_path / "docs" / "performance.md").write_text(f"before\n{marks}after\n")
    (tmp_path / "README.md").write_text("<!-- speed:begin -->\n<!-- speed:end -->\n")
    reached = {"median": 7.04, "min": 6.0, "max": 8.0, "must": 6.0, "aim": 9.0}
    ratios = [
        {"task": "DDPG, small", "ratio": "polyak / SBX, 1 core", **reached},
        {"task": "DDPG, small", "ratio": "polyak, 4 seeds / SBX, 4 seeds", **reached, "median": 5.9, "must": 6.0},
        {"task": "DDPG, small", "ratio": "polyak, 4 seeds / polyak", **reached, "must": None},
    ]
    (tmp_path / "benchmarks" / "results" / "throughput.json").write_text(json.dumps({"ratios": ratios}))
    points = {"batch": {"32": [{"seconds_per_update": 2e-4, "flops": 1e6, "flops_per_second": 1e10}] * 2}}
    (tmp_path / "benchmarks" / "results" / "scaling.json").write_text(json.dumps({"points": points}))
    return tmp_path


def test_the_documentation_shows_the_committed_measurements(table: Any) -> None:
    assert table["main"](["--check"]) == 0


def test_pages_are_out_of_date_then_written(table: Any, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table["main"](["--check"], root) == 1
    assert "out of date: docs/performance.md" in capsys.readouterr().out
    assert table["main"]([], root) == 0
    assert table["main"](["--check"], root) == 0
    page = (root / "docs" / "performance.md").read_text()
    assert "| DDPG, small: polyak / SBX, 1 core | 7.0 [6.0, 8.0] | 6 | 9 | reached |" in page
    assert "| DDPG, small: polyak, 4 seeds / SBX, 4 seeds | 5.9 [6.0, 8.0] | 6 | 9 | **missed** |" in page
    assert "| batch | 32 |  | 200 µs | 2.00 [2.00, 2.00] |" in page  # 1e6 operations at 1e10 a second take 100 µs
    readme = (root / "README.md").read_text()
    assert "| DDPG, small | 7.0 [6.0, 8.0] | – | – |" in readme
    assert "polyak, 4 seeds / polyak" not in readme  # which is no peer
    assert {path.name for path in (root / "docs" / "images").iterdir()} == {"throughput.png", "scaling.png"}


def test_a_page_without_a_mark_is_named(table: Any, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "README.md").write_text("no marks")
    assert table["main"]([], root) == 1
    assert "README.md must have the line <!-- speed:begin --> once" in capsys.readouterr().err
