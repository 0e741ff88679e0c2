"""Seeing an agent act: in a window where there is a display, or recorded to a GIF or an MP4."""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from polyak.envs.gymnasium import Maker, from_name, make, name_of
from polyak.errors import UsageError, installing
from polyak.runs.policy import Policy

DEFAULT_FPS = 30
MOST_STEPS = 2_000


def watch(policy: Policy, env_name: str, record: str | None, episodes: int, episode_seed: int) -> str:
    """Show or record some episodes; return a sentence that says what was seen.

    Raises UsageError where there is no display, or the environment cannot be drawn.
    """
    for name, value, least in (("episodes", episodes, 1), ("episode_seed", episode_seed, 0)):
        if value < least:
            raise UsageError(f"{name} = {value} is too small: it must be at least {least}")
    if record is not None and Path(record).suffix not in (".gif", ".mp4"):
        raise UsageError(f"cannot record to {record}: use a name ending in .gif or .mp4")
    if record is None and not has_display():
        raise UsageError("there is no display to open a window on: record instead, with --record agent.gif")
    env = _drawn(from_name(env_name), "human" if record is None else "rgb_array")
    if record is not None:
        _make_room(Path(record))
    try:
        frames, returns = _play(env, policy, episodes, episode_seed, keep=record is not None)
    finally:
        env.close()
    heard = f"{episodes} episode{'s' * (episodes > 1)}, return {', '.join(f'{r:.1f}' for r in returns)}"
    if record is None:
        return heard
    _write(Path(record), frames, env.metadata.get("render_fps") or DEFAULT_FPS)
    return f"{record}: {heard}"


def has_display() -> bool:
    """Say whether a window can be opened."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _drawn(env: Maker, mode: str) -> Any:
    if not isinstance(env, str):
        made = make(env)
        if made.render_mode != mode:
            made.close()
            raise UsageError(
                f"{name_of(env)} makes its environment without render_mode={mode!r}: register it with Gymnasium, and"
                " name it by its id"
            )
        return made
    modes = make(env).metadata.get("render_modes", [])
    if mode not in modes:
        raise UsageError(f"{env} cannot be drawn as {mode}: it offers {', '.join(modes) or 'no way of drawing'}")
    return make(env, render_mode=mode)


def _play(env: Any, policy: Policy, episodes: int, first_seed: int, keep: bool) -> tuple[list[np.ndarray], list[float]]:
    frames, returns = [], []
    for episode in range(episodes):
        obs, _ = env.reset(seed=first_seed + episode)
        total, ended, steps = 0.0, False, 0
        while not ended and steps < MOST_STEPS:
            if keep:
                frames.append(env.render())
            obs, reward, terminated, truncated, _ = env.step(policy(obs))
            total, ended, steps = total + float(reward), terminated or truncated, steps + 1
        returns.append(total)
    return frames, returns


def _make_room(path: Path) -> None:
    """Make sure that the picture can be written, before any episode is played for it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _write(path: Path, frames: list[np.ndarray], fps: float) -> None:
    import imageio.v3 as imageio

    if path.suffix == ".mp4":
        try:
            with warnings.catch_warnings():
                # JAX warns of any fork, because of its threads; this child becomes ffmpeg at once
                warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
                imageio.imwrite(path, np.stack(frames), plugin="FFMPEG", fps=fps, macro_block_size=2)
        except ImportError as error:
            raise UsageError(f"an .mp4 needs ffmpeg: {installing('video')}, or record a .gif") from error
        return
    # a GIF counts in hundredths of a second, and half the frames at most 25 a second keep it small
    every = max(round(fps / 25), 1)
    smaller = [frame[::2, ::2] if frame.shape[0] > 400 else frame for frame in frames[::every]]
    imageio.imwrite(path, np.stack(smaller), duration=1000 * every / fps, loop=0)
