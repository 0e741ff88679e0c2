"""Seeing an agent: recorded here, where there is no window."""

import sys
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest

import polyak
from polyak import UsageError
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
