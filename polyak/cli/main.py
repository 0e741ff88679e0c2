"""The command: `polyak train | resume | evaluate | watch | plot | check | list`; its flags come from dataclasses."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO, cast

from polyak.cli.terminal import write_plainly
from polyak.envs.stdout import occupy_standard_streams, point
from polyak.errors import Interrupted, RunError, UsageError, command_line, nearest
from polyak.runs.forgiving import Forgiving
from polyak.runs.interrupts import end_at_once, listening

# Everything slow (JAX, Gymnasium, matplotlib) is imported by the command that needs it: `polyak --help` must be quick.

HELP = """\
polyak: deep reinforcement learning around deterministic policy gradients

  polyak train ALGORITHM ENVIRONMENT   train; for example: polyak train ddpg Pendulum-v1 --seeds 5
  polyak train --like RUN              repeat a run's settings; --from RUN starts from what it has learned
  polyak resume RUN                    continue a run that was interrupted, or to more steps: --steps 1e5
  polyak evaluate RUN                  score a run's policies on fresh episodes
  polyak watch RUN                     show the agent in a window, or record it: --record agent.gif
  polyak plot RUN [RUN ...]            draw learning curves: --out curves.png
  polyak check ENVIRONMENT             say what would go wrong with an environment, before it is trained
  polyak list                          algorithms, their presets, environments

`polyak COMMAND --help` explains a command; `polyak train ddpg Pendulum-v1 --help` every setting there.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Exit codes: 0 done, 1 training failed, 2 wrong request, 130 interrupted.

    Without `arguments` the process is the command's own: a second Ctrl-C ends it, whatever it is doing.
    """
    own = arguments is None
    words = list(sys.argv[1:] if arguments is None else arguments)
    occupy_standard_streams()
    write_plainly()
    try:
        with listening(guarded=own) as interrupts:
            obey(words)
            if sys.stdout is not None:
                sys.stdout.flush()
    except (UsageError, RunError) as error:
        complain(f"error: {' '.join(str(error).split())}")
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except Interrupted as interrupt:
        interrupts.tell(str(interrupt))
        if own:
            end_at_once(130)
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has closed it
        if own:
            point(1, os.open(os.devnull, os.O_WRONLY))  # or Python would complain when it flushes the rest
        sys.exit(1)
    except OSError as error:
        complain(f"error: {error}")
        sys.exit(1)
    if own:
        point(1, 2)  # what an environment prints while the process ends is no result


def complain(sentence: str) -> None:
    """Print a sentence to standard error, if that is possible."""
    print(f"polyak: {sentence}", file=cast(TextIO, Forgiving(sys.stderr)), flush=True)


def obey(words: list[str]) -> None:
    """Do what the words of a command ask for."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
    elif words[0] == "--version":
        from polyak import __version__

        print(f"polyak {__version__}")
    elif words[0] not in COMMANDS:
        raise UsageError(f"unknown command {words[0]!r}: {nearest(words[0], COMMANDS)}")
    else:
        with command_line():
            import_module(f"polyak.cli.{words[0]}").run(words[1:])


COMMANDS = ("train", "resume", "evaluate", "watch", "plot", "check", "list")  # a module of this folder each
