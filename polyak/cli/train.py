"""`polyak train`."""

from polyak import algorithms
from polyak.cli import env_flags, listing, train_flags
from polyak.cli.flags import names_in, parse, until_flag, value_of
from polyak.cli.tables import report
from polyak.cli.trust import trusting_here
from polyak.envs.stdout import keeping_quiet
from polyak.errors import UsageError
from polyak.runs import starting
from polyak.runs.other_words import explained
from polyak.runs.run import load
from polyak.runs.train import train
from polyak.training import devices


def run(words: list[str]) -> None:
    """Train agents."""
    named = until_flag(words)[:2]
    rest, env_kwargs = env_flags.take(words[len(named) :])
    trust, folders = "--trust" in names_in(rest), (value_of(flag, rest) for flag in ("--like", "--from"))
    repeated, donor = (None if folder is None else load(folder, trust=trust) for folder in folders)
    typed, env = told_apart(named, repeated is not None)
    algorithm = repeated.record.algorithm if repeated and typed is None else typed
    explain = "-h" in words or "--help" in words
    if explain and algorithm is None:
        listing.explain_train()
        return
    if algorithm is None or not (env or explain or repeated):
        raise UsageError("name an algorithm and an environment, for example: polyak train ddpg Pendulum-v1")
    if ":" in (env or "") or (typed and not algorithms.registered(typed)) or trust:
        trusting_here()
    usual = len(repeated.record.seeds) if repeated else 1
    devices.prepare(train_flags.number_of_seeds(rest, usual))  # before modules of the user's own start JAX
    named_in = repeated.folder / "run.json" if repeated and not typed and not trust else None
    name, module = algorithms.find(algorithm, named_in)
    start = starting.begun_with(name, env or "", value_of("--preset", rest), repeated, donor)
    offered = train_flags.training(train_flags.asking(module, start))
    usage = f"polyak train {algorithm} {env or 'ENVIRONMENT'}"
    options = parse(offered, rest, usage, lambda word: explained(word, module))
    with keeping_quiet(options.json):
        trained = train(typed, env, env_kwargs=env_kwargs or None, **options.arguments(rest))
    report(trained, options)


def told_apart(named: list[str], repeats: bool) -> tuple[str | None, str | None]:
    """Tell the algorithm and the environment apart, in either order; None for what is not named."""
    first, second = [*named, None, None][:2]
    if second is None and repeats and first and not algorithms.registered(first):
        return None, first
    return starting.in_order(first, second)
