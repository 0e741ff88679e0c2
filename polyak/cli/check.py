"""`polyak check`: try an environment before it is trained."""

import dataclasses
import sys

from polyak.cli import env_flags
from polyak.cli.flags import parse, until_flag
from polyak.cli.tables import one_object
from polyak.envs.stdout import keeping_quiet
from polyak.envs.trial import Effort
from polyak.errors import UsageError

USAGE = "polyak check ENVIRONMENT"


@dataclasses.dataclass(frozen=True)
class Check(Effort):
    """Try an environment: what it is, and what would go wrong. `--env.KEY VALUE` gives it an argument."""

    json: bool = False
    """Print one JSON object and nothing else."""


def run(words: list[str]) -> None:
    """Check an environment. Exit code 2 where training is refused, 1 where it would fail."""
    named = until_flag(words)
    rest, env_kwargs = env_flags.take(words[len(named) :])
    if "-h" in words or "--help" in words or len(named) == 1:
        options = parse(Check, rest, USAGE)
    if len(named) != 1:
        raise UsageError("name one environment to check, for example: polyak check CartPole-v1")
    from polyak.runs.check import check_env

    effort = {field.name: getattr(options, field.name) for field in dataclasses.fields(Effort)}
    with keeping_quiet(options.json):
        report = check_env(named[0], env_kwargs=env_kwargs or None, **effort)
    print(one_object(report.to_json()) if options.json else report)
    if report.exit_code:
        sys.exit(report.exit_code)
