"""Run the polyak command in a process that kills itself: `benchmarks/kills.py` starts it.

`python benchmarks/killed_run.py KIND AT WORDS...` counts every write, fsync, rename, removal and new folder from the
start. KIND `operation` kills before or in the middle of number AT of these; `second` kills AT seconds after the first;
`never` runs to the end and prints how many operations and seconds there were, as one line of JSON.
"""

import builtins
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

OPERATIONS = ("fsync", "replace", "rename", "unlink", "remove", "mkdir", "rmdir", "ftruncate", "truncate")


class Killer:
    """Counts operations, and kills the process where it was asked to."""

    def __init__(self, kind: str, at: float):
        self.kind, self.at, self.count, self.began = kind, at, 0, 0.0

    def hit(self, what: str) -> bool:
        """Count an operation; say whether it is the last."""
        self.count += 1
        if self.count == 1:
            self.began = time.monotonic()
            if self.kind == "second":
                threading.Timer(self.at, self.kill, ("at random",)).start()
        return self.kind == "operation" and self.count == self.at

    def kill(self, what: str) -> None:
        """End this process as `kill -9` does, after saying where."""
        os.write(1, f"{what}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let a function count; an even number is killed before it does anything, an odd one afterwards."""

        def counted(*arguments: Any, **named: Any) -> Any:
            if not self.hit(name):
                return function(*arguments, **named)
            if self.count % 2:
                with contextlib.suppress(OSError):
                    function(*arguments, **named)
            return self.kill(name)

        return counted

    def opening(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let the files that `open` returns count what is written to them."""

        def opened(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            made = function(file, mode, *arguments, **named)
            return Written(made, self) if set(mode) & set("wax+") else made

        return opened


class Written:
    """A file that counts its writes; the last one writes half."""

    def __init__(self, file: Any, killer: Killer):
        self.file, self.killer = file, killer

    def write(self, content: Any) -> Any:
        """Write, or write half and end."""
        if self.killer.hit("write"):
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            self.killer.kill("write")
        return self.file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "Written":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __iter__(self) -> Any:
        return iter(self.file)


def main() -> None:
    """Run, and end as asked."""
    kind, at, words = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
    from polyak.cli.main import main as polyak
    from polyak.runs import train  # noqa: F401 (what is imported before does not count)

    killer = Killer(kind, at)
    for name in OPERATIONS:
        setattr(os, name, killer.around(name, getattr(os, name)))
    builtins.open = killer.opening(open)  # type: ignore[assignment]
    polyak(words)
    if kind == "never":
        print(json.dumps({"operations": killer.count, "seconds": time.monotonic() - killer.began}))
    else:
        os.write(1, b"too late\n")


if __name__ == "__main__":
    main()
