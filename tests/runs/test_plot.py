"""Learning curves drawn from a run's evaluations."""

import html
import subprocess
import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

import polyak
from polyak import UsageError
from polyak.runs import files
from polyak.runs.plot import curve
from tests.runs import small

ROWS = """\
env_steps,seed,episode,return,length
100,0,0,1.0,5
100,0,1,3.0,5
100,1,0,7.0,5
100,1,1,9.0,5
200,0,0,4.0,5
200,0,1,6.0,5
200,1,0,8.0,5
200,1,1,8.0,5
"""


def test_a_curve_is_the_mean_of_each_seed_with_an_interval_over_seeds(tmp_path: Path):
    (tmp_path / "evaluations.csv").write_text(ROWS)
    steps, returns, band = curve(tmp_path)
    assert steps.tolist() == [100, 200]
    assert returns.tolist() == [[2, 8], [5, 8]]
    assert band.tolist() == [[2, 8], [5, 8]]


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_a_curve_leaves_out_an_evaluation_that_was_not_written_whole(tmp_path: Path, lines: int):
    (tmp_path / "evaluations.csv").write_text("".join(ROWS.splitlines(keepends=True)[:-lines]))
    steps, returns, _ = curve(tmp_path)
    assert steps.tolist()[0] == 100
    assert returns[0].tolist() == [2, 8]


def test_a_first_evaluation_that_was_not_written_whole_is_none(tmp_path: Path):
    (tmp_path / "evaluations.csv").write_text("".join(ROWS.splitlines(keepends=True)[:4]))
    with pytest.raises(UsageError, match="has no evaluations to plot"):
        curve(tmp_path)


def test_a_finished_run_has_its_curve(finished: polyak.Run):
    picture = imageio.imread(finished.folder / "curve.png")
    assert picture.shape[:2] == (600, 960)
    assert picture.std() > 0


def test_runs_are_drawn_together(finished: polyak.Run, stopped: Path):
    polyak.plot([finished.folder, stopped], Path("both.png"))
    alone = imageio.imread(finished.folder / "curve.png")
    assert not np.array_equal(imageio.imread("both.png"), alone)
    polyak.plot([finished.folder], Path("one.svg"))
    assert "<svg" in Path("one.svg").read_text()


def test_what_cannot_be_drawn_is_refused(finished: polyak.Run, tmp_path: Path):
    with pytest.raises(UsageError, match=r"cannot draw 'curves.doc': use a name ending in .png"):
        polyak.plot([finished.folder], Path("curves.doc"))
    with pytest.raises(UsageError, match="cannot write"):
        polyak.plot([finished.folder], Path("nowhere/curves.png"))
    with pytest.raises(UsageError, match=r"run\.json is missing"):
        polyak.plot([tmp_path], Path("curves.png"))
    small.train("unjudged", steps=80, plan={"evaluations": 0})
    with pytest.raises(UsageError, match="has no evaluations to plot"):
        polyak.plot([Path("unjudged")], Path("curves.png"))


@pytest.mark.parametrize("out", ["", ".", "curves", "folder/.png"])
def test_a_picture_without_an_ending_is_refused_before_anything_is_read(out: str):
    with pytest.raises(UsageError, match="use a name ending in"):
        polyak.plot(["nowhere"], out)


@pytest.mark.parametrize("out", ["folder.png", "a\0b.png", f"{'x' * 300}.png"], ids=["folder", "null", "long"])
def test_a_picture_that_cannot_be_written_is_refused(finished: polyak.Run, out: str):
    Path("folder.png").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        polyak.plot([finished.folder], out)


def drawable(folder: str, env: str = "World-v0") -> Path:
    """Make the least of a run that can be drawn."""
    Path(folder).mkdir()
    files.write_json(Path(folder, "run.json"), {"algorithm": "ddpg", "env": env, "seeds": [0, 1]})
    Path(folder, "evaluations.csv").write_text(ROWS)
    return Path(folder)


def test_names_are_drawn_as_they_are():
    names = ["_under", "a$b", r"price$_$ \oops{", "σ 日本", "x^2"]
    polyak.plot([drawable(name, env=f"${name}$") for name in names], "all.svg")
    svg = html.unescape(Path("all.svg").read_text())
    for name in names:
        assert f"{name}: ddpg, 2 seeds" in svg
        assert f"${name}$" in svg


@pytest.mark.parametrize("damage", [b"\xff\n", b"inf,0,0,1.0,5\n", b"300,0,0,nan,5\n"], ids=repr)
def test_a_damaged_table_is_refused(damage: bytes):
    folder = drawable("damaged")
    (folder / "evaluations.csv").write_bytes(ROWS.encode() + damage)
    with pytest.raises(UsageError, match=r"evaluations.csv .*damaged or was changed"):
        polyak.plot([folder], "curves.svg")


def test_matplotlib_and_scipy_are_not_imported_before_something_is_drawn():
    code = "import sys, polyak.runs.plot; print([m for m in ('matplotlib', 'scipy.stats') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
