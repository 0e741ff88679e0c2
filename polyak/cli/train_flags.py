"""The flags of `polyak train`, made from the algorithm's Config and the plan that fits it."""

import dataclasses
import typing
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

from polyak.cli.flags import names_in, plain_numbers, until_flag
from polyak.errors import UsageError
from polyak.fields import own_first
from polyak.runs.presets.preset import Preset
from polyak.training.plans import plan_for
from polyak.types import Algorithm

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def asking(algorithm: Algorithm, start: Preset) -> Any:
    """Make the flags that say what to train, as a dataclass to derive from. `start` is a preset."""
    config_flags: Any = _unchecked(algorithm.Config)
    plan_flags: Any = _unchecked(plan_for(algorithm.learns_from))

    @dataclasses.dataclass(frozen=True)
    class Asking:
        preset: str = "default"
        """Named settings to start from; the other flags change them. `polyak list` names the presets."""
        steps: int | None = None
        """Environment steps for each seed: short for --plan.env-steps."""
        seeds: tuple[int, ...] = (1,)
        """Number of independent agents to train side by side; or the seeds themselves: 3,5,8."""
        seed: int = 0
        """First seed."""
        config: config_flags = dataclasses.field(default_factory=lambda: config_flags(**start.config))
        """The algorithm's settings."""
        plan: plan_flags = dataclasses.field(default_factory=lambda: plan_flags(**start.plan))
        """The loop's settings."""

        def asked(self, words: Sequence[str]) -> dict[str, object]:
            """Return the arguments for `polyak.train` that the words give."""
            names = names_in(words)
            return {
                **({"preset": self.preset} if "--preset" in names else {}),
                **({"seeds": seeds_of(self.seeds, self.seed, names)} if names & {"--seeds", "--seed"} else {}),
                "steps": self.steps,
                "config": _given(self.config, "config", words),
                "plan": _given(self.plan, "plan", words),
            }

    return Asking


def seeds_of(counted: Sequence[int], first: int, names: Collection[str]) -> Sequence[int]:
    """Return the seeds: a single number is their count, several are the seeds themselves."""
    if not counted:
        raise UsageError("--seeds takes whole numbers: how many agents to train, or their seeds")
    if len(counted) == 1:
        return range(first, first + counted[0])
    if "--seed" in names:
        raise UsageError("--seeds lists the seeds: leave out --seed, which is the first one where they are counted")
    return counted


def number_of_seeds(words: list[str], usual: int = 1) -> int:
    """Count the seeds before parsing, because JAX's devices depend on them; return `usual` if none are given."""
    found = max((i for i, word in enumerate(words) if word.partition("=")[0] == "--seeds"), default=None)
    if found is None:
        return usual
    _, *values = plain_numbers([words[found], *until_flag(words[found + 1 :])], {"--seeds": tuple[int, ...]})
    return len(values) if len(values) != 1 else int(values[0]) if values[0].isdecimal() else 1


def _given(settings: "DataclassInstance", group: str, words: Sequence[str]) -> dict[str, object]:
    """Return the fields of parsed settings whose flags are among the words."""
    names, given = names_in(words), dict[str, object]()
    for field in dataclasses.fields(settings):
        flag = field.name.replace("_", "-")
        if names & {f"--{group}.{flag}", f"--{group}.no-{flag}"}:
            given[field.name] = getattr(settings, field.name)
    return given


def training(asking: Any) -> Any:
    """Add the flags of `polyak train` to those that say what to train."""
    import tyro

    folder: Any = typing.Annotated[str | None, tyro.conf.arg(name="from")]

    @dataclasses.dataclass(frozen=True)
    class Train(asking):
        """Train an algorithm on an environment. `--env.KEY VALUE` gives the environment an argument."""

        backend: Literal["auto", "host", "device"] = "host"
        """Step environments in Python, or compile those written in JAX with all the rest; auto: where it can be."""
        out: str | None = None
        """Folder of the run; by default a new one under runs/."""
        force: bool = False
        """Replace the run that the folder holds."""
        like: str | None = None
        """A run whose algorithm, environment, settings, seeds and backend are those that are not given."""
        start_from: folder = None
        """A run of the same algorithm on the same spaces, from whose networks training begins; its config holds."""
        trust: bool = False
        """Let that run's files name modules to import: you trust whoever made them to run code here."""
        stop_at: float | None = None
        """Stop when the mean return of an evaluation, over all seeds, reaches this."""
        quiet: bool = False
        """Print nothing while training."""
        json: bool = False
        """Print one JSON object with the scores, and nothing else."""

        def arguments(self, words: Sequence[str]) -> dict[str, object]:
            """Return the arguments for `polyak.train`."""
            return {
                **self.asked(words),
                "backend": self.backend if "--backend" in names_in(words) else None,
                "like": self.like,
                "start_from": self.start_from,
                "trust": self.trust,
                "out": self.out,
                "force": self.force,
                "quiet": self.quiet or self.json,
                "stop_at": self.stop_at,
            }

    return Train


def _unchecked(settings: type) -> type:
    """Make a class with the same fields and help that accepts any values."""
    skip = {"__post_init__": lambda self: None, "__doc__": settings.__doc__}
    return own_first(dataclasses.dataclass(frozen=True)(type(settings.__name__, (settings,), skip)))
