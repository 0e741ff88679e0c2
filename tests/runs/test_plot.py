"""Learning curves drawn from a run's evaluations."""

import html
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest

import polyak
from polyak import UsageError
from polyak.runs import files, plot
from polyak.runs.records import Records
from tests.fixtures import small
from tests.runs.test_curves import METRICS, ROWS


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


def test_a_row_of_another_width_is_refused(stopped: Path):
    with open(stopped / "evaluations.csv", "a") as file:
        file.write("200,0,0,1.5,20,7\n")
    with pytest.raises(UsageError, match=r"evaluations\.csv is damaged .* has 6 fields where there are 5 columns"):
        polyak.plot([stopped], "curves.png")


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
    files.write_json(Path(folder, "run.json"), small.record(env=env, seeds=[0, 1]).to_json())
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


def test_matplotlib_that_cannot_be_imported_is_said_in_a_sentence(finished: polyak.Run):
    code = f"import polyak; polyak.plot({str(finished.folder)!r}, 'picture.png')"
    env = {**os.environ, "MPLBACKEND": "nonsense"}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert (
        "UsageError: matplotlib, which plots need, cannot be imported: ValueError: Key backend: 'nonsense' is not a"
        in (process.stderr.splitlines()[-1])
    )


def test_matplotlib_and_scipy_are_not_imported_before_something_is_drawn():
    code = "import sys, polyak.runs.plot; print([m for m in ('matplotlib', 'scipy.stats') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


class Picture:
    """What a picture was made of, in place of the file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(plot, "_save", lambda figure, out: setattr(self, "figure", figure))

    def draw(self, runs: int, tasks: int = 1, **asked: Any) -> Any:
        """Draw some runs; return the panels that can be seen."""
        folders = [drawable(f"run{i}", env=f"World-v{i % tasks}") for i in range(runs)]
        for folder in folders:
            (folder / "metrics.csv").write_text(METRICS)
        polyak.plot(folders, "picture.png", **asked)
        return [axes for axes in self.figure.axes if axes.get_visible()]


@pytest.fixture
def picture(monkeypatch: pytest.MonkeyPatch) -> Picture:
    return Picture(monkeypatch)


def test_few_runs_show_every_seed_and_the_training_behind_them(picture: Picture):
    (axes,) = picture.draw(3)
    assert len(axes.lines) == 3 * (1 + 2 + 1) + 1  # IQM, two seeds, training; the gray one of the legend
    assert [text.get_text() for text in axes.get_legend().texts][-1] == "training, with exploration"


def test_from_the_fourth_run_on_there_is_one_line_for_each_with_its_band(picture: Picture):
    (axes,) = picture.draw(4)
    assert (len(axes.lines), len(axes.collections)) == (4, 4)


def test_no_two_runs_look_alike(picture: Picture):
    (axes,) = picture.draw(12)
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 12


def test_every_task_has_its_panel_and_runs_of_one_label_have_one_color(picture: Picture):
    panels = picture.draw(6, tasks=3, labels=["a", "a", "a", "b", "b", "b"], title="All")
    assert [axes.get_title() for axes in panels] == ["World-v0", "World-v1", "World-v2"]
    assert len({axes.lines[0].get_color() for axes in panels}) == 1
    assert picture.figure.get_suptitle() == "All"
    (legend,) = picture.figure.legends
    assert [text.get_text() for text in legend.texts][:2] == ["a", "b"]


def test_labels_and_title_replace_the_names(picture: Picture):
    (axes,) = picture.draw(2, labels=["_first", "x" * 200], title="$mine$")
    assert axes.get_title() == "$mine$"
    first, long = [text.get_text() for text in axes.get_legend().texts][:2]
    assert first == "_first"
    assert len(long) < 70


def test_the_axes_say_what_they_show_with_separated_thousands(picture: Picture):
    (axes,) = picture.draw(1)
    assert axes.get_ylabel() == (
        "evaluation return without exploration\nmean of 2 episodes; IQM over seeds, 95 %\ninterval"
    )
    written = [axes.yaxis.get_major_formatter()(value, 0) for value in (-1_234_567.0, 0.1 + 0.2, 20_000.0)]
    assert written == ["−1,234,567", "0.3", "20,000"]


@pytest.mark.parametrize("asked", [{}, {"smooth": 3}, {"what": "training", "smooth": 30}], ids=str)
@pytest.mark.parametrize(("runs", "tasks"), [(1, 1), (6, 1), (4, 4)])
def test_what_the_axes_say_fits_into_the_picture(runs: int, tasks: int, asked: dict[str, Any], picture: Picture):
    axes = picture.draw(runs, tasks, **asked)[0]
    picture.figure.draw_without_rendering()
    label = axes.yaxis.label.get_window_extent()
    assert label.y0 >= 0
    assert label.y1 <= picture.figure.bbox.y1


def test_what_is_drawn_can_be_chosen(picture: Picture):
    (axes,) = picture.draw(2, what="critic_loss")
    assert axes.get_ylabel() == "critic_loss\nIQM over seeds, 95 % interval"
    assert len(axes.lines) == 2 * (1 + 2)


@pytest.mark.parametrize(
    ("asked", "says"),
    [({"labels": ["a", "b"]}, "2 labels for 1 runs: give"), ({"smooth": 0}, "smooth = 0 is too small")],
)
def test_wrong_wishes_are_refused(picture: Picture, asked: dict[str, Any], says: str):
    with pytest.raises(UsageError, match=says):
        picture.draw(1, **asked)


def test_a_single_folder_need_not_be_a_list():
    polyak.plot(drawable("one"), "one.svg")
    with pytest.raises(UsageError, match="at least one"):
        polyak.plot([], "none.svg")


def test_ten_seeds_with_fifty_evaluations_are_read_and_resampled_quickly(tmp_path: Path):
    rows = [f"{i},{seed},{e},{(i * seed) % 7},5" for i in range(50) for seed in range(10) for e in range(10)]
    (tmp_path / "evaluations.csv").write_text("\n".join(["env_steps,seed,episode,return,length", *rows, ""]))
    began = time.process_time()
    assert Records(tmp_path).curve().band.shape == (50, 2)
    assert time.process_time() - began < 1
