"""Seeing an agent: recorded here, where there is no window."""

import sys
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
from gymnasium import spaces

import polyak
from polyak import RunError, UsageError
from polyak.runs.watch import watch
from tests.runs import small


def test_a_recording_has_a_frame_for_each_step(finished: polyak.Run):
    said = watch(finished.policy, small.ENV, "films/agent.gif", episodes=2, episode_seed=0)
    frames = imageio.imread("films/agent.gif")
    assert frames.shape[1:] == (48, 64, 3)
    assert 5 < len(frames) <= 40
    assert (frames.mean((1, 2, 3)) > 0).all()
    assert said.startswith("films/agent.gif: 2 episodes, return ")


def test_a_recording_repeats(finished: polyak.Run):
    said = {watch(finished.policy, small.ENV, "agent.gif", 1, episode_seed=seed) for seed in (4, 4, 5)}
    assert len(said) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_without_a_display_it_says_how_to_record(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UsageError, match=r"no display to open a window on: record instead, with --record agent\.gif"):
        watch(finished.policy, small.ENV, None, 1, 0)


@pytest.mark.parametrize(
    ("env", "record", "episodes", "says"),
    [
        (small.ENV, "agent.avi", 1, "use a name ending in .gif or .mp4"),
        (small.ENV, "agent.gif", 0, "at least 1"),
        ("tests.runs.worlds:Lopsided", "agent.gif", 1, "register it with Gymnasium"),
        ("Nowhere-v0", "agent.gif", 1, "unknown environment"),
    ],
)
def test_what_cannot_be_recorded_is_refused(finished: polyak.Run, env: str, record: str, episodes: int, says: str):
    with pytest.raises(UsageError, match=says):
        watch(finished.policy, env, record, episodes, 0)
    assert not Path(record).exists()


def test_an_environment_without_pictures_is_refused(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.runs.worlds.Lopsided.metadata", {"render_modes": ["ansi"]})
    with pytest.raises(UsageError, match="cannot be drawn as rgb_array: it offers ansi"):
        watch(finished.policy, small.ENV, "agent.gif", 1, 0)


def test_an_mp4_says_what_to_install(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("ffmpeg")

    monkeypatch.setattr(imageio, "imwrite", missing)
    with pytest.raises(UsageError, match=r'pip install "imageio-ffmpeg>=0.5", or record a .gif'):
        watch(finished.policy, small.ENV, "agent.mp4", 1, 0)


def test_frames_of_a_quick_environment_are_thinned(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.runs.worlds.Lopsided.metadata", {"render_modes": ["rgb_array"], "render_fps": 100})
    watch(finished.policy, small.ENV, "agent.gif", 1, 0)
    assert np.asarray(imageio.imread("agent.gif")).shape[0] <= 5


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("folder.gif", "cannot write folder.gif: it is a folder"),
        ("file/agent.gif", "cannot write file/agent.gif: "),
        ("a\0b.gif", "cannot write "),
        (f"{'x' * 300}.gif", "cannot write x"),
    ],
    ids=["folder", "file", "null", "long"],
)
def test_a_recording_that_cannot_be_written_is_refused_before_anything_is_played(
    finished: polyak.Run, monkeypatch: pytest.MonkeyPatch, record: str, says: str
):
    Path("folder.gif").mkdir()
    Path("file").touch()
    monkeypatch.setattr("tests.runs.worlds.Lopsided.step", None)
    with pytest.raises(UsageError, match=says):
        watch(finished.policy, small.ENV, record, 1, 0)


def raises(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


FatalError = type("FatalError", (Exception,), {"__module__": "mujoco"})


@pytest.mark.parametrize(
    ("method", "does", "says"),
    [
        ("render", raises(RuntimeError("no GL")), "at step 1 of episode 0: RuntimeError: no GL"),
        ("render", raises(FatalError("no platform library")), "MUJOCO_GL=egl or MUJOCO_GL=osmesa"),
        ("render", lambda _: None, r"render\(\) returned a NoneType, not a picture"),
        ("render", lambda _: [np.zeros((4, 4, 3), np.uint8)], "returned a list"),
        ("render", lambda _: np.zeros((7, 9), np.float32), r"float32\(7, 9\), not a picture"),
        (
            "render",
            lambda env: np.zeros((4 + env.time, 4, 3), np.uint8),
            r"a picture \(5, 4, 3\) after one \(4, 4, 3\)",
        ),
        ("reset", raises(KeyError("x")), "the environment failed in the reset of episode 0: KeyError"),
        ("step", lambda env, _: (env.observe(), None, False, False, {}), "failed at step 1 of episode 0: TypeError"),
        ("observe", lambda _: np.zeros(7), "an observation has shape"),
    ],
)
def test_an_environment_that_fails_is_a_run_error_and_leaves_no_file(
    finished: polyak.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str, does: Any, says: str
):
    monkeypatch.setattr(f"tests.runs.worlds.Lopsided.{method}", does)
    with pytest.raises(RunError, match=says):
        watch(finished.policy, small.ENV, "agent.gif", 1, 0)
    assert not list(tmp_path.iterdir())


def test_an_old_recording_outlives_a_new_one_that_fails(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    Path("agent.gif").write_text("old")
    monkeypatch.setattr(imageio, "imwrite", raises(OSError(28, "No space left on device")))
    with pytest.raises(RunError, match=r"cannot write agent\.gif: No space left on device"):
        watch(finished.policy, small.ENV, "agent.gif", 1, 0)
    assert Path("agent.gif").read_text() == "old"


@pytest.mark.parametrize(
    "changed", [{"observation": spaces.Box(-4, 4, (5,))}, {"action": spaces.Box(-1, 1, (2,))}], ids=str
)
def test_an_environment_that_has_changed_is_refused(
    finished: polyak.Run, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
):
    for name, space in changed.items():
        monkeypatch.setattr(f"tests.runs.worlds.Lopsided.{name}_space", space)
    with pytest.raises(UsageError, match=r"the policy was made for observations .* the environment now has"):
        watch(finished.policy, small.ENV, "agent.gif", 1, 0)
