"""Watch an agent act, in a window or recorded as GIF or MP4."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import SupportsFloat

import numpy as np

from polyak.envs.gymnasium import Environment
from polyak.envs.make import EnvSource, Maker, closed_on_error
from polyak.envs.observations import refuse_nonfinite
from polyak.envs.spaces import AnyEnv, to_json
from polyak.errors import RunError, UsageError, describe, installing, reason
from polyak.runs import display, folder
from polyak.runs.files import replacing
from polyak.runs.policy import Policy

DEFAULT_FPS, SLOWEST, FASTEST = 30.0, 0.1, 1_000.0  # frames per second
MOST_STEPS = 2_000


def watch(
    policy: Policy, env: Maker, record: str | None, episodes: int, episode_seed: int, explore: bool = False
) -> str:
    """Show or record episodes, and print the return of each when it ends; return a sentence that summarizes them.

    Raises UsageError if there is no display, if the environment cannot be rendered or has changed, or if the recording
    cannot be written; RunError if the environment fails.
    """
    _check_request(record, episodes, episode_seed)
    path = None if record is None else folder.absolute(Path(record))  # an environment may change the working directory
    if record is not None:
        _try_writing(Path(record))
    drawn = _drawn(EnvSource.of(env), "human" if record is None else "rgb_array")
    try:
        _refuse_unlike(policy, drawn)
        seeds = range(episode_seed, episode_seed + episodes)
        frames, returns = _play(drawn, policy, seeds, explore, keep=path is not None)
    finally:
        drawn.close()
    heard = f"{episodes} episodes, mean return {np.mean(returns):.1f}" if episodes > 1 else "1 episode"
    heard += f" of seed {policy.seed}'s policy{', with exploration' * explore}"
    if path is None:
        return heard
    _write(path, frames, _fps((drawn.env.metadata or {}).get("render_fps")))
    return f"{record}: {heard}"


def _check_request(record: str | None, episodes: int, episode_seed: int) -> None:
    for name, value, least in (("episodes", episodes, 1), ("episode_seed", episode_seed, 0)):
        if value < least:
            raise UsageError(f"{name} = {value} is too small: it must be at least {least}")
    if record is not None and Path(record).suffix not in (".gif", ".mp4"):
        raise UsageError(f"cannot record to {record}: use a name ending in .gif or .mp4")
    if record is None:
        display.prepare()


def _drawn(source: EnvSource, mode: str) -> Environment:
    if not isinstance(source.found, str):
        made = Environment(source, mode)
        with closed_on_error(made):
            if (found := made.env.render_mode) != mode:
                raise UsageError(
                    f"{source.name} made an environment with render_mode = {found!r}, not {mode!r}: let it"
                    " take render_mode as a keyword argument, and pass it to the environment"
                )
        return made
    with contextlib.closing(Environment(source)) as plain:
        modes = (plain.env.metadata or {}).get("render_modes") or []
    if mode not in modes:
        raise UsageError(
            f"{source.name} cannot be rendered as {mode}: its render modes are {', '.join(modes) or 'none'}"
        )
    return Environment(source, mode)


def _refuse_unlike(policy: Policy, env: Environment) -> None:
    """Raise UsageError if the environment's spaces are not those that the policy was made for."""
    bounds = to_json(env.action_space)
    if env.spec != policy.spec or bounds != to_json(policy.action_space):
        raise UsageError(
            f"the policy was made for observations {policy.observation_space} and actions {policy.action_space};"
            f" the environment now has {env.observation_space} and {env.action_space}"
        )


def _play(
    env: Environment, policy: Policy, seeds: range, explore: bool, keep: bool
) -> tuple[list[np.ndarray], list[float]]:
    frames: list[np.ndarray] = []
    returns = []
    for episode, seed in enumerate(seeds):
        with _blaming(f"in the reset of episode {episode}", not keep):
            obs = env.reset(seed)
        total, ended, steps = 0.0, False, 0
        while not ended and steps < MOST_STEPS:
            with _blaming(f"at step {steps + 1} of episode {episode}", not keep):
                if keep:
                    frames.append(_frame(env.env, frames))
                refuse_nonfinite(rows := env.spec.batch_of(obs))
                action = policy.act(rows, episode_start=steps == 0, deterministic=not explore)[0]
                obs, reward, terminated, truncated = env.step(action)
                total, ended, steps = total + reward, bool(terminated or truncated), steps + 1
        cut = "" if ended else ", where it was cut"
        print(f"episode {episode}: return {total:.1f} in {steps:,} steps{cut}", flush=True)
        returns.append(total)
    return frames, returns


@contextlib.contextmanager
def _blaming(where: str, in_window: bool) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if in_window and type(error).__module__.partition(".")[0] in ("pygame", "glfw"):  # what opens windows
            raise UsageError(f"no window can be opened ({error}): {display.recording()}") from error
        told = f"the environment failed {where}: {describe(error)}"
        if "mujoco" in type(error).__module__:  # MuJoCo's physics only warns, so this comes from rendering
            told += "; without a display, MuJoCo renders if MUJOCO_GL=egl or MUJOCO_GL=osmesa is set in the shell"
        raise RunError(told) from error


def _frame(env: AnyEnv, before: list[np.ndarray]) -> np.ndarray:
    """Render an image `[height, width, 3 or 4]` of bytes, of the same size as those before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing display: rendering works or fails regardless
        frame = env.render()
    if not isinstance(frame, np.ndarray):
        raise TypeError(f"render() returned a {type(frame).__name__}, not an image")
    if frame.ndim != 3 or frame.shape[2] not in (3, 4) or frame.dtype != np.uint8:
        raise TypeError(f"render() returned {frame.dtype}{frame.shape}, not an image: uint8(height, width, 3)")
    if before and frame.shape != before[0].shape:
        raise ValueError(f"render() returned an image of shape {frame.shape} after one of shape {before[0].shape}")
    return frame


def _try_writing(path: Path) -> None:
    """Check, before any episode is played, that the recording can be written, and leave no file behind."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        new = not path.exists()
        open(path, "ab").close()
        if new:
            path.unlink()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {path}: {reason(error)}") from error


def _fps(declared: object) -> float:
    """Return the frame rate that an environment declares, or a default if it is not reasonable."""
    try:
        fps = float(declared) if isinstance(declared, SupportsFloat | str) else DEFAULT_FPS
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_FPS
    return fps if SLOWEST <= fps <= FASTEST else DEFAULT_FPS


def _write(path: Path, frames: list[np.ndarray], fps: float) -> None:
    import imageio.v3 as imageio

    with replacing(path) as beside:
        if path.suffix == ".mp4":
            _write_film(beside, frames, fps)
            return
        # GIF durations are multiples of 10 ms; at most 25 frames per second and half the resolution keep it small
        every = max(round(fps / 25), 1)
        smaller = [frame[::2, ::2] if frame.shape[0] > 400 else frame for frame in frames[::every]]
        imageio.imwrite(beside, np.stack(smaller), duration=1000 * every / fps, loop=0)


def _write_film(path: Path, frames: list[np.ndarray], fps: float) -> None:
    import imageio.v3 as imageio

    try:
        with warnings.catch_warnings():
            # JAX warns of any fork because of its threads, but this child runs ffmpeg at once
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
            imageio.imwrite(path, np.stack(frames), plugin="FFMPEG", fps=fps, macro_block_size=2)
    except ImportError as error:
        raise UsageError(f"an .mp4 needs ffmpeg: {installing('video')}, or record a .gif") from error
