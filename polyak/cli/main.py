"""The command: `polyak train | resume | evaluate | watch | plot | check | list`; its flags come from dataclasses."""

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from typing import Literal, TextIO, cast

from polyak.cli import env_flags, flags, listing
from polyak.cli.flags import folder_and, parse, until_flag, value_of
from polyak.cli.tables import one_object, report, table
from polyak.cli.terminal import write_plainly
from polyak.envs.stdout import keeping_quiet, occupy_standard_streams, point
from polyak.errors import Interrupted, RunError, UsageError, command_line, nearest
from polyak.runs.forgiving import Forgiving
from polyak.runs.interrupts import active, end_at_once, listening

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
            COMMANDS[words[0]](words[1:])


def trusting_here() -> None:
    """Let modules in the current folder be found, after all others, for a name that the user typed or trusts."""
    if not sys.flags.safe_path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def train(words: list[str]) -> None:
    """Train agents."""
    from polyak import algorithms
    from polyak.runs import run as runs
    from polyak.runs import starting
    from polyak.runs.other_words import explained
    from polyak.training import devices
    from polyak.training.plan import Plan

    named = until_flag(words)[:2]
    rest, env_kwargs = env_flags.take(words[len(named) :])
    explain = "-h" in words or "--help" in words
    trust, others = "--trust" in flags.names_in(rest), (value_of(flag, rest) for flag in ("--like", "--from"))
    repeated, donor = (None if folder is None else runs.load(folder, trust=trust) for folder in others)
    typed, env = told_apart(named, repeated is not None)
    algorithm = repeated.record.algorithm if repeated and typed is None else typed
    if explain and algorithm is None:
        listing.explain_train()
        return
    if algorithm is None or not (env or explain or repeated):
        raise UsageError("name an algorithm and an environment, for example: polyak train ddpg Pendulum-v1")
    if ":" in (env or "") or (typed and not algorithms.registered(typed)) or trust:
        trusting_here()
    usual = len(repeated.record.seeds) if repeated else 1
    devices.prepare(flags.number_of_seeds(rest, usual))  # before modules of the user's own start JAX
    named_in = repeated.folder / "run.json" if repeated and not typed and not trust else None
    name, module = algorithms.find(algorithm, named_in)
    start = starting.begun_with(name, module, env or "", value_of("--preset", rest), repeated, donor)
    offered = flags.training(flags.asking(module.Config, Plan, start))
    usage = f"polyak train {algorithm} {env or 'ENVIRONMENT'}"
    options = parse(offered, rest, usage, lambda word: explained(word, module))
    with keeping_quiet(options.json):
        run = runs.train(
            typed,
            env,
            env_kwargs=env_kwargs or None,
            **options.asked(rest),
            backend=options.backend if "--backend" in flags.names_in(rest) else None,
            like=options.like,
            start_from=options.start_from,
            trust=options.trust,
            out=options.out,
            force=options.force,
            quiet=options.quiet or options.json,
            stop_at=options.stop_at,
        )
    report(run, options)


def told_apart(named: list[str], repeats: bool) -> tuple[str | None, str | None]:
    """Tell the algorithm and the environment apart, in either order; None for what is not named."""
    from polyak import algorithms
    from polyak.runs.starting import in_order

    first, second = [*named, None, None][:2]
    if second is None and repeats and first and not algorithms.registered(first):
        return None, first
    return in_order(first, second)


@dataclasses.dataclass(frozen=True)
class Resume:
    """Continue a run from its checkpoint."""

    steps: int | None = None
    """Environment steps for each seed in all, those before included, if not as planned: a finished run goes on, too."""
    workers: int | None = None
    """Processes that step the environments, if not as many as before."""
    stop_at: float | None = None
    """Stop when the mean return of an evaluation, over all seeds, reaches this."""
    quiet: bool = False
    """Print nothing while training."""
    json: bool = False
    """Print one JSON object with the scores, and nothing else."""
    trust: bool = False
    """Let the run's files name modules to import: you trust whoever made them to run code here."""


def resume(words: list[str]) -> None:
    """Continue a run."""
    folder, options = folder_and(Resume, words, "polyak resume RUN")
    from polyak.runs import run as runs

    if options.trust:
        trusting_here()
    with keeping_quiet(options.json):
        run = runs.resume(
            folder,
            steps=options.steps,
            workers=options.workers,
            quiet=options.quiet or options.json,
            stop_at=options.stop_at,
            trust=options.trust,
        )
    report(run, options)


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a run's policies on fresh episodes."""

    episodes: int = 100
    """Episodes of each seed's policy."""
    which: Literal["best", "final"] = "best"
    """The policy that did best in the run's periodic evaluations, or the one at the end of training."""
    explore: bool = False
    """Act with exploration noise."""
    seed: int = 0
    """Choose other episodes."""
    json: bool = False
    """Print one JSON object and nothing else."""
    trust: bool = False
    """Let the run's files name modules to import: you trust whoever made them to run code here."""


def evaluate(words: list[str]) -> None:
    """Score policies."""
    folder, options = folder_and(Evaluate, words, "polyak evaluate RUN")
    from polyak.runs import run as runs

    if options.trust:
        trusting_here()
    run = runs.load(folder, trust=options.trust)
    with keeping_quiet(options.json):
        result = run.evaluate(options.episodes, options.which, not options.explore, options.seed)
    if options.json:
        print(one_object(result))
    else:
        table({options.which: result})


@dataclasses.dataclass(frozen=True)
class Watch:
    """Show a run's agent in a window, or record it."""

    record: str | None = None
    """Write a .gif or .mp4 instead of opening a window."""
    episodes: int = 1
    """Episodes to show."""
    which: Literal["best", "final"] = "best"
    """The best or the final policy."""
    seed: int | None = None
    """The seed whose agent to show; by default the one that did best in its periodic evaluations."""
    episode_seed: int = 0
    """Seed of the first episode."""
    explore: bool = False
    """Act with exploration, as in training."""
    trust: bool = False
    """Let the run's files name modules to import: you trust whoever made them to run code here."""


def watch(words: list[str]) -> None:
    """Show an agent."""
    folder, options = folder_and(Watch, words, "polyak watch RUN")
    from polyak.runs import run as runs
    from polyak.runs.watch import watch as show

    if options.record is not None:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws without a screen, and does not ask for one
    active().starting = False  # there is a window, or a film under way, to be closed when Ctrl-C is pressed
    if options.trust:
        trusting_here()
    run = runs.load(folder, trust=options.trust)
    policy = run.saved.policy(options.which, options.seed)
    print(show(policy, run.source(), options.record, options.episodes, options.episode_seed, options.explore))


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw the learning curves of runs."""

    out: str = "curves.png"
    """The picture: .png, .svg or .pdf."""
    what: str = "evaluation"
    """What to draw: evaluation, training (returns with exploration), or a column of metrics.csv, as critic_loss."""
    labels: tuple[str, ...] = ()
    """Names of the runs in the legend, in their order."""
    title: str | None = None
    """Title of the picture."""
    smooth: int = 1
    """Draw at each point the mean of the newest this many."""


def plot(words: list[str]) -> None:
    """Draw learning curves."""
    folders = [word for word in until_flag(words)]
    options = parse(Plot, words[len(folders) :], "polyak plot RUN [RUN ...]")
    if not folders:
        raise UsageError("name the runs to plot, for example: polyak plot runs/a runs/b --out curves.png")
    from polyak.runs import plot as plots
    from polyak.runs import run as runs

    plots.plot([runs.load(folder).folder for folder in folders], **vars(options))
    print(options.out)


def check(words: list[str]) -> None:
    """Check an environment."""
    from polyak.cli import checking

    trusting_here()
    checking.check(words)


def list_(words: list[str]) -> None:
    """List what there is."""
    parse(dataclasses.make_dataclass("List", [], namespace={"__doc__": "List what there is."}), words, "polyak list")
    listing.algorithms()
    listing.environments()


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": train,
    "resume": resume,
    "evaluate": evaluate,
    "watch": watch,
    "plot": plot,
    "check": check,
    "list": list_,
}
