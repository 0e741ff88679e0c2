"""The tables of speed in the documentation: what the committed files hold, and how they are filled."""

import importlib
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
    importlib.import_module("scaling_point")
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
    facts = {"command": "python benchmarks/some.py", "commit": "0123456789", "date": "2026-01-02T03:04:05"}
    reached = {"median": 7.04, "min": 6.0, "max": 8.0, "must": 6.0, "aim": 9.0}
    ratios = [
        {"task": "DDPG, small", "ratio": "polyak / SBX, 1 core", **reached},
        {"task": "DDPG, small", "ratio": "polyak, 4 seeds / SBX, 4 seeds", **reached, "median": 5.9, "must": 6.0},
        {"task": "DDPG, small", "ratio": "polyak, 4 seeds / polyak", **reached, "must": None},
    ]
    (tmp_path / "benchmarks" / "results" / "throughput.json").write_text(json.dumps({"ratios": ratios, **facts}))
    point = {"seconds_per_update": 2e-4, "flops": 1e6, "flops_per_second": 1e10}
    points = {"batch": {"32": [point, point], "256": [point, point]}}
    (tmp_path / "benchmarks" / "results" / "scaling.json").write_text(json.dumps({"points": points, **facts}))
    start = {**facts, "seconds": {"pendulum": {"median": 3.0, "min": 2.0, "max": 4.0}}}
    (tmp_path / "benchmarks" / "results" / "cold_start.json").write_text(json.dumps(start))
    return tmp_path


def test_the_documentation_shows_the_committed_measurements(table: Any) -> None:
    assert table["main"](["--check"]) == 0


def test_pages_are_out_of_date_then_written(table: Any, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table["main"](["--check"], root) == 1
    assert "out of date: docs/performance.md" in capsys.readouterr().out
    assert table["main"]([], root) == 0
    assert table["main"](["--check"], root) == 0
    page = (root / "docs" / "performance.md").read_text()
    assert "| DDPG, small: polyak / SBX, 1 core | 7.0 [6.0, 8.0] | 6 | 9 | met |" in page
    assert "| DDPG, small: polyak, 4 seeds / SBX, 4 seeds | 5.9 [6.0, 8.0] | 6 | 9 | **missed** |" in page
    assert "| batch | 32 |  | 200 µs | 2.00 [2.00, 2.00] |  |" in page  # 1e6 operations at 1e10 a second take 100 µs
    assert "2.00 [2.00, 2.00] | ≤ 1.35, **missed** |" in page
    assert "| `python benchmarks/some.py` | 0123456 | 2026-01-02 |" in page
    assert "| pendulum | 3.00 [2.00, 4.00] |" in page
    readme = (root / "README.md").read_text()
    assert "| DDPG, small | 7.0 [6.0, 8.0] | – | – |" in readme
    assert "polyak, 4 seeds / polyak" not in readme  # which is no peer
    assert {path.name for path in (root / "docs" / "images").iterdir()} == {"throughput.png", "scaling.png"}


def test_what_was_not_measured_is_named(table: Any, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "benchmarks" / "results" / "scaling.json").unlink()
    assert table["main"](["--check"], root) == 1
    assert "scaling.json is missing: python benchmarks/scaling.py makes it" in capsys.readouterr().err


def test_the_products_of_an_update_are_counted(table: Any) -> None:
    count = sys.modules["scaling_point"].operations
    # widths 2-2: actor 3·2 + 2·2 + 2·1 = 12, critic 4·2 + 2·2 + 2·1 = 14; forwards 2·12 + 3·14 = 66; backwards of the
    # critic 2·14 - 4·2 = 20, of the actor 2·12 - 3·2 = 18, through the critic to the action 14 - 3·2 = 8
    assert count((2, 2), 5) == 2 * 5 * (66 + 20 + 18 + 8)


def test_a_page_without_a_mark_is_named(table: Any, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "README.md").write_text("no marks")
    assert table["main"]([], root) == 1
    assert "README.md must have the line <!-- speed:begin --> once" in capsys.readouterr().err
