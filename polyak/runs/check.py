"""`polyak check`: how polyak sees an environment, and what would go wrong or surprise in training."""

import textwrap
from dataclasses import asdict, dataclass

from polyak import algorithms
from polyak.envs.check import Facts, Finding, check
from polyak.envs.make import EnvSource, Maker
from polyak.envs.trial import Effort
from polyak.runs import interrupts, request
from polyak.training.plan import Plan
from polyak.types import Json


@dataclass(frozen=True)
class Report:
    """The result of `check_env`; its string is what `polyak check` prints.

    `facts` is None if the environment cannot be made. `algorithms` are those that support its actions.
    """

    env: str
    facts: Facts | None
    algorithms: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[str]:
        """Reasons for which training would be refused or would fail."""
        return [found.sentence for found in self.findings if found.kind != "warning"]

    @property
    def warnings(self) -> list[str]:
        """What training accepts, but may surprise."""
        return [found.sentence for found in self.findings if found.kind == "warning"]

    @property
    def exit_code(self) -> int:
        """The command's exit code: 2 if training would be refused, 1 if it would fail, else 0."""
        kinds = {found.kind for found in self.findings}
        return 2 if "refused" in kinds else 1 if "fails" in kinds else 0

    def to_json(self) -> dict[str, Json]:
        """Return the report as JSON values."""
        facts = None if self.facts is None else asdict(self.facts)
        told = {"errors": self.errors, "warnings": self.warnings, "algorithms": list(self.algorithms)}
        return {"env": self.env, "can_be_trained": not self.errors, **told, "facts": facts}

    def __str__(self) -> str:
        """Describe the environment, then list errors and warnings."""
        head = f"polyak can{'not' * bool(self.errors)} train on {self.env}"
        lines = [head, ""] if self.facts is None else [head, "", *_described(self.facts, self.algorithms), ""]
        for name, found in (("error", self.errors), ("warning", self.warnings)):
            if found:
                lines.append(f"{len(found)} {name}{'s' * (len(found) > 1)}:")
                lines += [line for i, sentence in enumerate(found, 1) for line in _item(i, sentence)]
        return "\n".join(lines if self.findings else [*lines, "No problems found."])


@interrupts.listening()
def check_env(
    env: Maker,
    *,
    env_kwargs: dict[str, Json] | None = None,
    episodes: int = 3,
    steps: int = 1_000,
    seconds: float = 10.0,
    seed: int = 0,
) -> Report:
    """Play a few episodes with random actions, and report what would go wrong or surprise in training.

    `env` is an id, "module:Env" or a callable, as for `train`. At least `episodes` episodes and `steps` steps are
    played, but no longer than `seconds`; an episode is cut after `steps`. The environment's output is not shown.
    Raises UsageError for an invalid argument; faults of the environment are in the report.
    """
    effort = Effort(episodes, steps, seconds, seed)
    source = EnvSource.of(env, request.json_kwargs(env_kwargs))
    facts, findings = check(source, effort)
    if facts is None:
        return Report(source.name, None, (), tuple(findings))
    # an environment that truncates episodes has a time limit, even if it does not declare it
    limit = facts.limit or (facts.lengths[1] if facts.truncates else None)
    findings += [Finding("warning", sentence) for sentence in request.warnings_of(source, Plan(), limit)]
    kind = type(facts.spec.action)
    able = tuple(name for name, module in algorithms.REGISTRY.items() if kind in module.acts_on)
    return Report(source.name, facts, able, tuple(findings))


def _described(facts: Facts, able: tuple[str, ...]) -> list[str]:
    limit = "its own, not declared" if facts.truncates else "none"
    rows = {
        "observation": facts.observation,
        "action": facts.action,
        "time limit": limit if facts.limit is None else f"{facts.limit:,} steps",
        "random play": f"{facts.episodes} episode{'s' * (facts.episodes > 1)} of {_range(facts.lengths)} steps,"
        f" return {_range(facts.returns)}",
        "reward": "none seen" if facts.rewards is None else _range(facts.rewards),
        "speed": "unknown" if not facts.steps_per_second else f"{_rounded(facts.steps_per_second)} steps per second",
        "algorithms": ", ".join(able),
        "compiled": "yes, with --backend device" if facts.compiled else "no (--backend device cannot be used)",
    }
    return [f"  {name:12} {value}" for name, value in rows.items()]


def _item(number: int, sentence: str) -> list[str]:
    first, rest = f"  {number}. ", "     "
    return textwrap.wrap(
        sentence, 100, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _range(pair: tuple[float, float]) -> str:
    low, high = (f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" for value in pair)
    return low if low == high else f"{low} to {high}"


def _rounded(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"
