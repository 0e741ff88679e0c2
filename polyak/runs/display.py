"""Find a display on which a window can be opened."""

import os
import socket
import sys
from pathlib import Path

from polyak.errors import UsageError, option

SECONDS = 3.0  # timeout for a display on another computer


def recording() -> str:
    """Say what to do if no window can be opened."""
    return f"record instead, with {option('record', 'agent.gif')}"


def prepare() -> None:
    """Select a display that answers; without one SDL would render off-screen, and GLFW abort the process.

    Raises UsageError if there is none.
    """
    if sys.platform in ("win32", "darwin"):
        return
    named = {name: os.environ[name] for name in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(name)}
    if not named:
        raise UsageError(f"there is no display to open a window on: {recording()}")
    answering = [name for name, display in named.items() if any(map(_answers, _addresses(name, display)))]
    if not answering:
        silent = " and ".join(f"{name}={display}" for name, display in named.items())
        raise UsageError(f"no display answers at {silent}: {recording()}")
    drivers = {"WAYLAND_DISPLAY": "wayland", "DISPLAY": "x11"}
    os.environ.setdefault("SDL_VIDEODRIVER", ",".join(drivers[name] for name in answering))


def _addresses(name: str, display: str) -> list[str | tuple[str, int]]:
    """Return the addresses where a display may listen: socket paths, or a host and port."""
    if name == "WAYLAND_DISPLAY":
        return [str(Path(os.environ.get("XDG_RUNTIME_DIR", "/"), display))]
    host, _, number = display.rpartition(":")
    number = number.partition(".")[0]  # without the screen
    if not number.isdecimal():
        return []
    if host in ("", "unix"):
        path = f"/tmp/.X11-unix/X{number}"
        return [path, f"\0{path}"]  # Linux also has abstract sockets
    return [(host.rpartition("/")[2].strip("[]"), 6000 + int(number))]


def _answers(address: str | tuple[str, int]) -> bool:
    try:
        if isinstance(address, tuple):
            socket.create_connection(address, SECONDS).close()
        else:
            with socket.socket(socket.AF_UNIX) as local:
                local.settimeout(SECONDS)
                local.connect(address)
    except (OSError, ValueError, OverflowError):
        return False
    return True
