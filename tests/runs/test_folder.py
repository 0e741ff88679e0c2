"""The folder of a run: made once, held by one process, taken over only where nothing in it has value."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak import RunError, UsageError
from polyak.runs import files, folder
from polyak.runs.lock import Lock
from polyak.runs.record import status_of
from tests.fixtures import small
from tests.fixtures.envs import Lopsided

LEFT = (
    "metrics.csv",
    ".7.metrics.csv",
    "curve.png",
    ".7.curve.png",
    "policy/best-3.safetensors",
    "tensorboard/seed-0/events.out.tfevents.1",
)


def make(where: str = "run", status: str = "finished", others: tuple[str, ...] = LEFT) -> Path:
    """Make a folder that looks like a run's."""
    for name in others:
        (Path(where) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(where) / name).write_text("something")
    files.write_json(Path(where) / "run.json", small.record(status=status).to_json())
    return Path(where)


def start(out: str | Path | None = "run", force: bool = False) -> Path:
    """Do with a folder what a training does at its start."""
    with folder.new(folder.Destination(out, force), "ddpg", "Pendulum-v1") as claim:
        claim.start(small.record(status="starting"))
    return claim.shown


def names(path: Path) -> set[str]:
    return {found.relative_to(path).as_posix() for found in path.rglob("*")}


def test_a_run_of_an_older_format_is_replaced_but_not_continued():
    start()
    path = Path("run/run.json")
    path.write_text(
        path.read_text().replace(f'"format": {files.FORMAT}', '"format": 1').replace("starting", "finished")
    )
    with pytest.raises(UsageError, match=r"already holds a run: choose another out=…, or replace it with force=True$"):
        start()
    assert start(force=True) == Path("run")


def test_force_removes_what_polyak_wrote_and_nothing_else_is_there_then():
    run = make()
    with pytest.raises(
        UsageError, match=r"run already holds a run: choose another out=…, or replace it with force=True, or"
    ):
        start()
    assert start(force=True) == run
    assert names(run) == {"run.json"}
    assert status_of(run / "run.json") == "starting"


FOREIGN = (
    "notes.txt", "agent.gif", "src/main.py", "policy/.ipynb_checkpoints/policy.json", "checkpoint/mine.safetensors",
    "tensorboard/seed-0/thesis.txt", "another/run.json", "policy/sub/best-1.safetensors",
)  # fmt: skip


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("status", ["finished", "starting"])
def test_what_is_not_polyaks_is_named_and_nothing_is_removed(foreign: str, status: str):
    run = make(status=status, others=(*LEFT, foreign))
    before = names(run)
    with pytest.raises(UsageError, match=r"run holds .*, which polyak did not write: move it") as refused:
        start(force=True)
    assert Path(foreign).parts[0] in str(refused.value)
    assert names(run) == before


@pytest.mark.parametrize(
    "content", ["{}", '{"format": 1}', '{"name": "webpack", "format": 1, "status": "finished"}', "no json", ""]
)
def test_the_run_json_of_another_program_is_not_replaced(content: str):
    Path("project").mkdir()
    Path("project/run.json").write_text(content)
    for force in (False, True):
        with pytest.raises(UsageError, match=r"project is not replaced: .*; choose another out="):
            start("project", force)
    assert Path("project/run.json").read_text() == content


def test_links_are_neither_followed_nor_removed(tmp_path: Path):
    make("elsewhere")
    Path("link").symlink_to("elsewhere")
    with pytest.raises(UsageError, match=r"link is a link: name the folder itself, out=.*elsewhere"):
        start("link", force=True)
    run = make("run", others=("metrics.csv",))
    (run / "policy").symlink_to(tmp_path / "elsewhere" / "policy")
    with pytest.raises(UsageError, match=r"run/policy is a link: replace it|run holds policy"):
        start("run", force=True)
    assert "policy/best-3.safetensors" in names(Path("elsewhere"))
    Path("empty").mkdir()
    Path("to_empty").symlink_to("empty")
    assert start("to_empty") == Path("to_empty")  # there is nothing that could be lost
    assert names(Path("empty")) == {"run.json"}


def test_the_current_folder_and_disks_are_not_replaced(monkeypatch: pytest.MonkeyPatch):
    run = make("run/inner").parent.absolute()
    monkeypatch.chdir(run / "inner")
    for current in (".", run / "inner"):
        with pytest.raises(UsageError, match="is the current folder, or holds it: go elsewhere"):
            start(current, force=True)
    monkeypatch.chdir(run)
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == "inner")
    with pytest.raises(UsageError, match="inner is a mount point"):
        start("inner", force=True)
    assert "inner/metrics.csv" in names(Path())


@pytest.mark.parametrize("left", [(), (".lock",), (".lock", ".123.run.json")])
def test_a_folder_that_a_kill_left_before_run_json_was_written_is_taken_over(left: tuple[str, ...]):
    Path("run").mkdir()
    for name in left:
        (Path("run") / name).write_text("")
    assert names(start()) == {"run.json"}


def test_a_run_that_never_began_is_taken_over():
    run = make(status="starting", others=("policy/final-1.safetensors", "checkpoint/.7.arrays-1.safetensors"))
    with pytest.raises(
        UsageError, match=r"the training in run has not started: .* otherwise train again with out=.run."
    ):
        polyak.load(run)
    with pytest.raises(UsageError, match="has not started"):
        polyak.resume(run)
    assert names(start()) == {"run.json"}


class Killed(BaseException):
    """Stands for kill -9: no `except` of ours catches it."""


@pytest.mark.parametrize("number", range(1, 10))
def test_a_kill_while_a_run_is_replaced_leaves_what_can_be_taken_over(number: int, monkeypatch: pytest.MonkeyPatch):
    make()
    count = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                raise Killed
            return call(*arguments, **options)

        return calling

    with monkeypatch.context() as patch:
        for place, name in ((os, "fsync"), (os, "replace"), (Path, "unlink"), (Path, "rmdir")):
            patch.setattr(place, name, counted(getattr(place, name)))
        with pytest.raises(Killed):
            start(force=True)
    assert names(start(force=number <= 2)) == {"run.json"}


def test_a_full_disk_at_the_start_leaves_a_folder_that_is_taken_over(monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=r"cannot write .*run\.json: no space left"):
            small.train("run", steps=80)
    assert names(start()) == {"run.json"}


def test_run_json_is_there_before_anything_of_value_is(monkeypatch: pytest.MonkeyPatch):
    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("polyak.runs.session.Session.save", killed)
        with pytest.raises(Killed):
            small.train("run", steps=80)
    assert status_of(Path("run/run.json")) == "starting"
    assert small.train("run", steps=80).record.status == "finished"


def test_a_folder_that_is_being_trained_is_left_alone(stopped: Path):
    lock = Lock(stopped)
    before = names(stopped)
    try:
        for attempt in (lambda: polyak.resume(stopped), lambda: start(stopped, force=True)):
            with pytest.raises(UsageError, match=rf"is being trained by process {os.getpid()}: wait until it ends"):
                attempt()
        assert names(stopped) == before
    finally:
        lock.close()
    assert polyak.resume(stopped).record.status == "finished"
    assert not (stopped / ".lock").exists()


HOLD = (
    "import sys; from pathlib import Path; from polyak.runs.lock import Lock; Lock(Path('.')); print(1, flush=True); "
)


@contextlib.contextmanager
def holding(where: Path, program: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program that locks a folder; it goes on until its standard input is closed."""
    found = {**os.environ, "PYTHONPATH": str(Path(polyak.__file__).parents[1])}
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, cwd=where, env=found)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder, holder.stdin, holder.stdout:
        assert holder.stdout.readline()
        yield holder


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_lock_ends_with_its_process(tmp_path: Path):
    with holding(tmp_path, HOLD + "sys.stdin.read()") as holder:
        with pytest.raises(UsageError, match=f"is being trained by process {holder.pid}: "):
            Lock(tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    Lock(tmp_path).close()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path):
    forking = HOLD.replace("Lock(Path('.'))", "a = Lock(Path('.'))") + (
        "import os, time\nif not os.fork():\n    print(2, flush=True); sys.stdin.read()\n    os._exit(0)\nos._exit(0)"
    )
    with holding(tmp_path, forking) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()  # the child's, which lives on
        holder.wait()
        Lock(tmp_path).close()


def test_folders_without_a_name_differ_also_where_runs_start_together():
    made: list[Path] = []
    together = threading.Barrier(8)

    def one() -> None:
        together.wait()
        made.extend(start(None) for _ in range(5))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 40


@pytest.mark.parametrize("happens", ["replaced", "removed", "moved"])
def test_a_run_json_that_others_change_stops_training_and_is_left_to_them(
    happens: str, monkeypatch: pytest.MonkeyPatch
):
    path = Path("run/run.json")

    def change() -> None:
        if happens == "moved":
            Path("run").rename("other")
        elif happens == "removed":
            path.unlink()
        else:
            path.write_text("mine now")

    with monkeypatch.context() as patch:
        small.before_iteration(patch, 15, change)
        with pytest.raises(RunError, match=r"run/run\.json was changed, moved or removed|cannot write .*: No such"):
            small.train("run", plan={"checkpoint_seconds": 1e-9})
    assert path.exists() == (happens == "replaced")
    if happens == "replaced":
        assert path.read_text() == "mine now"
    if happens == "moved":
        assert polyak.resume("other").record.status == "finished"


def test_an_environment_may_go_to_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "away").mkdir()
    with monkeypatch.context() as patch:
        small.before_iteration(patch, 3, lambda: os.chdir(tmp_path / "away"))
        run = small.train("run", steps=80)
    assert run.folder == Path("run")
    assert run.policy([0.0, 0.0, 0.0]).shape == (2,)
    assert not list((tmp_path / "away").iterdir())
    assert (tmp_path / "run" / "curve.png").exists()


@pytest.mark.parametrize("out", ["run", None])
def test_an_environment_may_go_to_another_folder_when_it_is_made(
    out: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "away").mkdir()
    monkeypatch.setattr(Lopsided, "reset", _leaving(Lopsided.reset, tmp_path / "away"))
    run = small.train(out, steps=80)
    assert not list((tmp_path / "away").iterdir())
    monkeypatch.chdir(tmp_path)
    assert run.folder.parent == tmp_path / ("" if out else "runs")
    assert polyak.resume(run.folder, steps=120).record.env_steps == 120


def _leaving(reset: Any, folder: Path) -> Any:
    def left(env: Any, **given: Any) -> Any:
        os.chdir(folder)
        return reset(env, **given)

    return left


def test_a_folder_that_is_taken_is_refused_before_an_environment_is_made(stopped: Path):
    def never() -> Any:
        raise AssertionError("it was made")

    with pytest.raises(UsageError, match="already holds a run"):
        small.train(stopped, env=never)


@pytest.mark.parametrize("kind", ["folder", "link", "read-only"])
def test_a_lock_that_cannot_be_had_is_one_sentence(kind: str, stopped: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Any, *given: Any) -> int:
        if Path(path).name == ".lock":
            raise PermissionError(13, "Permission denied")
        return opened(path, *given)

    opened = os.open
    if kind == "folder":
        (stopped / ".lock").mkdir()
    elif kind == "link":
        (stopped / ".lock").symlink_to(stopped / "metrics.csv")
    else:
        monkeypatch.setattr("polyak.runs.lock.os.open", refuse)
    told = r"\.lock: Permission denied" if kind == "read-only" else "move it"
    with pytest.raises(RunError if kind == "read-only" else UsageError, match=told):
        polyak.resume(stopped)
    if kind == "link":
        assert (stopped / "metrics.csv").read_text().startswith("env_steps")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_a_name_that_is_not_utf_8_is_one_line(capsys: pytest.CaptureFixture[str]):
    name = os.fsdecode(b"r\xffn")
    os.mkdir(name)
    for words in (("train", "ddpg", small.ENV, "--out", name), ("resume", name), ("evaluate", name)):
        assert small.command(*words) == 2
        assert "cannot be a run folder: its path is not UTF-8" in capsys.readouterr().err


def test_what_others_put_beside_policies_and_checkpoints_stays(stopped: Path):
    for part in ("policy", "checkpoint"):
        (stopped / part / ".ipynb_checkpoints").mkdir()
        (stopped / part / "notes.txt").write_text("mine")
        (stopped / part / ".123.arrays-4.safetensors").write_text("half a file")
        (stopped / part / ".9.best-4.safetensors").write_text("half a file")
    polyak.resume(stopped)
    kept = {"policy": ".123.arrays-4.safetensors", "checkpoint": ".9.best-4.safetensors"}  # not of this folder's kind
    for part, other in kept.items():
        found = names(stopped / part)
        assert found >= {".ipynb_checkpoints", "notes.txt", other}
        assert len(found) == 3 + {"policy": 3, "checkpoint": 2}[part]


def test_resume_does_not_write_through_a_link(stopped: Path, tmp_path: Path):
    (stopped / "policy").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "best-1.safetensors.txt").write_text("mine")
    (stopped / "policy").symlink_to(tmp_path / "elsewhere")
    before = names(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"policy is a link: replace it by the folder that it points to"):
        polyak.resume(stopped)
    assert names(tmp_path / "elsewhere") == before
