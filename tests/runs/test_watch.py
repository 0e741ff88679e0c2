"""Seeing an agent: recorded here, where there is no window."""

import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
from gymnasium import spaces

import polyak
from polyak import RunError, UsageError
from polyak.runs import display
from polyak.runs.watch import watch
from tests.fixtures import small
from tests.fixtures.envs import Lopsided


def test_a_recording_has_a_frame_for_each_step(finished: polyak.Run):
    said = watch(finished.policy, small.ENV, "films/agent.gif", episodes=2, episode_seed=0)
    frames = imageio.imread("films/agent.gif")
    assert frames.shape[1:] == (48, 64, 3)
    assert 5 < len(frames) <= 40
    assert (frames.mean((1, 2, 3)) > 0).all()
    assert said.startswith("films/agent.gif: 2 episodes, mean return ")


def test_a_recording_is_where_it_was_asked_for_though_the_environment_goes_to_another_folder(
    finished: polyak.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "away").mkdir()
    render = Lopsided.render

    def leave(env: Any) -> Any:
        os.chdir(tmp_path / "away")
        return render(env)

    monkeypatch.setattr(Lopsided, "render", leave)
    assert watch(finished.policy, small.ENV, "agent.gif", 1, 0).startswith("agent.gif: ")
    assert (tmp_path / "agent.gif").exists()


def undrawn() -> Any:
    return Lopsided()


def test_a_callable_that_takes_a_render_mode_can_be_watched(finished: polyak.Run):
    said = watch(finished.policy, "tests.fixtures.envs:Lopsided", "agent.gif", 1, 0)
    assert said.startswith("agent.gif: 1 episode of seed ")


def seen(capsys: pytest.CaptureFixture[str], policy: polyak.Policy, *words: Any) -> list[str]:
    """Record some episodes; return what was said of each."""
    watch(policy, small.ENV, "agent.gif", *words)
    return capsys.readouterr().out.splitlines()


def test_a_recording_repeats(finished: polyak.Run, capsys: pytest.CaptureFixture[str]):
    first = seen(capsys, finished.policy, 1, 4)
    assert seen(capsys, finished.policy, 1, 4) == first
    assert seen(capsys, finished.policy, 1, 5) != first


def test_each_episode_is_told_as_it_ends(finished: polyak.Run, capsys: pytest.CaptureFixture[str]):
    lines = seen(capsys, finished.policy, 3, 0)
    assert [line.partition(":")[0] for line in lines] == ["episode 0", "episode 1", "episode 2"]
    assert all(re.fullmatch(r"episode \d: return -?\d+\.\d in \d+ steps", line) for line in lines)


def test_an_episode_without_end_is_cut_and_said_to_be(
    finished: polyak.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("polyak.runs.watch.MOST_STEPS", 3)
    assert seen(capsys, finished.policy, 1, 0)[0].endswith(" in 3 steps, where it was cut")


def test_an_environment_is_read_as_in_training(
    finished: polyak.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    before, step, observe = seen(capsys, finished.policy, 1, 0), Lopsided.step, Lopsided.observe

    def answer(env: Any, action: Any) -> Any:
        obs, reward, *ends, _ = step(env, action)
        return obs, [reward], *map(float, ends), None

    monkeypatch.setattr("tests.fixtures.envs.Lopsided.step", answer)
    monkeypatch.setattr("tests.fixtures.envs.Lopsided.observe", lambda env: observe(env)[None].tolist())
    assert seen(capsys, finished.policy, 1, 0) == before
    monkeypatch.setattr("tests.fixtures.envs.Lopsided.observe", lambda env: observe(env) * np.nan)
    with pytest.raises(RunError, match=r"at step 1 of episode 0: ValueError: observation .* is not finite"):
        watch(finished.policy, small.ENV, "agent.gif", 1, 0)


def test_exploring_is_another_episode(finished: polyak.Run, capsys: pytest.CaptureFixture[str]):
    assert seen(capsys, finished.policy, 5, 0, True) != seen(capsys, finished.policy, 5, 0, False)
    assert watch(finished.policy, small.ENV, "agent.gif", 1, 0, True).endswith("policy, with exploration")


@pytest.mark.parametrize("fps", ["fast", "", 0, -5, np.nan, np.inf, 1e300, None, [30], "25"])
def test_pictures_per_second_that_are_no_number_are_the_usual_ones(
    finished: polyak.Run, monkeypatch: pytest.MonkeyPatch, fps: Any
):
    monkeypatch.setattr("tests.fixtures.envs.Lopsided.metadata", {"render_modes": ["rgb_array"], "render_fps": fps})
    watch(finished.policy, small.ENV, "agent.gif", 1, 0)
    assert imageio.immeta("agent.gif")["duration"] == pytest.approx(1000 / 25 if fps == "25" else 1000 / 30, abs=10)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_without_a_display_it_says_how_to_record(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UsageError, match=r'no display to open a window on: record instead, with record="agent\.gif"'):
        watch(finished.policy, small.ENV, None, 1, 0)


def test_a_display_that_does_not_answer_is_no_display(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", ":64999")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-64999")
    says = r"no display answers at WAYLAND_DISPLAY=wayland-64999 and DISPLAY=:64999: record instead, with record="
    with pytest.raises(UsageError, match=says):
        watch(finished.policy, small.ENV, None, 1, 0)


@pytest.mark.parametrize("name", ["nonsense", "localhost:", ":x", "::", "[::1]:70000", "nowhere.invalid:0", "a\tb:0"])
def test_a_display_that_cannot_be_one_does_not_answer(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", name)
    with pytest.raises(UsageError, match="no display answers"):
        display.prepare()


def test_windows_open_only_where_a_display_answers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("SDL_VIDEODRIVER", "")
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-64999")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{server.getsockname()[1] - 6000}.0")
        display.prepare()
    assert os.environ["SDL_VIDEODRIVER"] == "x11"  # never SDL's offscreen driver, which shows nothing


def test_a_window_that_cannot_be_opened_is_a_wrong_request(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    no_window = type("error", (RuntimeError,), {"__module__": "pygame"})
    monkeypatch.setattr(display, "prepare", lambda: None)
    monkeypatch.setattr("tests.fixtures.envs.Lopsided.metadata", {"render_modes": ["human"]})
    monkeypatch.setattr("tests.fixtures.envs.Lopsided.step", raises(no_window("x11 not available")))
    with pytest.raises(UsageError, match=r"no window can be opened \(x11 not available\): record instead"):
        watch(finished.policy, small.ENV, None, 1, 0)


@pytest.mark.parametrize(
    ("env", "record", "episodes", "says"),
    [
        (small.ENV, "agent.avi", 1, "use a name ending in .gif or .mp4"),
        (small.ENV, "agent.gif", 0, "at least 1"),
        ("tests.runs.test_watch:undrawn", "agent.gif", 1, "let it take render_mode as a keyword argument"),
        ("Nowhere-v0", "agent.gif", 1, "unknown environment"),
    ],
)
def test_what_cannot_be_recorded_is_refused(finished: polyak.Run, env: str, record: str, episodes: int, says: str):
    with pytest.raises(UsageError, match=says):
        watch(finished.policy, env, record, episodes, 0)
    assert not Path(record).exists()


def test_an_environment_without_pictures_is_refused(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.fixtures.envs.Lopsided.metadata", {"render_modes": ["ansi"]})
    with pytest.raises(UsageError, match="cannot be rendered as rgb_array: its render modes are ansi"):
        watch(finished.policy, small.ENV, "agent.gif", 1, 0)


def test_an_mp4_says_what_to_install(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("ffmpeg")

    monkeypatch.setattr(imageio, "imwrite", missing)
    with pytest.raises(UsageError, match=r'pip install "imageio-ffmpeg>=0.5", or record a .gif'):
        watch(finished.policy, small.ENV, "agent.mp4", 1, 0)


def test_frames_of_a_quick_environment_are_thinned(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.fixtures.envs.Lopsided.metadata", {"render_modes": ["rgb_array"], "render_fps": 100})
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
    monkeypatch.setattr("tests.fixtures.envs.Lopsided.step", None)
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
        ("render", lambda _: None, r"render\(\) returned a NoneType, not an image"),
        ("render", lambda _: [np.zeros((4, 4, 3), np.uint8)], "returned a list"),
        ("render", lambda _: np.zeros((7, 9), np.float32), r"float32\(7, 9\), not an image"),
        (
            "render",
            lambda env: np.zeros((4 + env.time, 4, 3), np.uint8),
            r"an image of shape \(5, 4, 3\) after one of shape \(4, 4, 3\)",
        ),
        ("reset", raises(KeyError("x")), "the environment failed in the reset of episode 0: KeyError"),
        ("step", lambda env, _: (env.observe(), None, False, False, {}), "failed at step 1 of episode 0: TypeError"),
        ("observe", lambda _: np.zeros(7), r"ValueError: observation has shape \(7,\), its space says \(3,\)"),
    ],
)
def test_an_environment_that_fails_is_a_run_error_and_leaves_no_file(
    finished: polyak.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str, does: Any, says: str
):
    monkeypatch.setattr(f"tests.fixtures.envs.Lopsided.{method}", does)
    with pytest.raises(RunError, match=says):
        watch(finished.policy, small.ENV, "agent.gif", 1, 0)
    assert not list(tmp_path.iterdir())


def test_an_old_recording_outlives_a_new_one_that_fails(finished: polyak.Run, monkeypatch: pytest.MonkeyPatch):
    Path("agent.gif").write_text("old")
    monkeypatch.setattr(imageio, "imwrite", raises(OSError(28, "No space left on device")))
    with pytest.raises(RunError, match=r"cannot write .*agent\.gif: No space left on device"):
        watch(finished.policy, small.ENV, "agent.gif", 1, 0)
    assert Path("agent.gif").read_text() == "old"


@pytest.mark.parametrize(
    "changed", [{"observation": spaces.Box(-4, 4, (5,))}, {"action": spaces.Box(-1, 1, (2,))}], ids=str
)
def test_an_environment_that_has_changed_is_refused(
    finished: polyak.Run, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
):
    for name, space in changed.items():
        monkeypatch.setattr(f"tests.fixtures.envs.Lopsided.{name}_space", space)
    with pytest.raises(UsageError, match=r"the policy was made for observations .* the environment now has"):
        watch(finished.policy, small.ENV, "agent.gif", 1, 0)
