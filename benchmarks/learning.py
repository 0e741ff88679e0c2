"""How well polyak learns: trains several seeds, then scores final and best policies on many fresh episodes.

  python benchmarks/learning.py ddpg Pendulum-v1 --preset default --steps 20000 --seeds 10 --episodes 100
  python benchmarks/learning.py --all          every run that the documentation quotes, each in its own process

Every setting is a flag, as in `polyak train`: --config.gamma 0.98, --plan.batch 128. Flags after --all change all its
runs. Each run writes learning-NAME.json into the folder of --out.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import measuring

CLAIMS = (
    "ddpg Pendulum-v1 --preset default --steps 20000 --seeds 10 --name ddpg-pendulum-20k",
    "ddpg Pendulum-v1 --preset default --steps 10000 --seeds 10 --name ddpg-pendulum-10k",
    "ddpg Pendulum-v1 --preset tutorial --steps 600000 --seeds 5 --name ddpg-pendulum-tutorial",
    "ddpg Pendulum-v1 --preset paper --steps 30000 --seeds 5 --name ddpg-pendulum-paper",
    "ddpg Pendulum-v1 --preset tutorial-per-step --steps 40000 --seeds 5 --name ddpg-pendulum-tutorial-per-step",
    "ddpg HalfCheetah-v5 --preset default --steps 100000 --seeds 3 --name ddpg-halfcheetah-100k",
    "td3 Pendulum-v1 --preset default --steps 20000 --seeds 10 --name td3-pendulum-20k",
    "sac Pendulum-v1 --preset default --steps 20000 --seeds 10 --name sac-pendulum-20k",
    "crossq Pendulum-v1 --preset default --steps 20000 --seeds 10 --name crossq-pendulum-20k",
    "ppo Pendulum-v1 --preset default --steps 100000 --seeds 10 --name ppo-pendulum-100k",
    "dqn CartPole-v1 --preset default --steps 50000 --seeds 10 --name dqn-cartpole-50k",
    "soft_q CartPole-v1 --preset default --steps 50000 --seeds 10 --name soft_q-cartpole-50k",
    "sac CartPole-v1 --preset default --steps 50000 --seeds 10 --name sac-cartpole-50k",
    "ppo CartPole-v1 --preset default --steps 100000 --seeds 10 --name ppo-cartpole-100k",
    "a2c CartPole-v1 --preset default --steps 500000 --seeds 10 --name a2c-cartpole-500k",
    "reinforce CartPole-v1 --preset default --steps 500000 --seeds 10 --name reinforce-cartpole-500k",
    "sac MountainCarContinuous-v0 --preset default --steps 50000 --seeds 10 --name sac-mountaincar-50k",
    "td3 MountainCarContinuous-v0 --preset default --steps 300000 --seeds 10 --name td3-mountaincar-300k",
    "td3 HalfCheetah-v5 --preset default --steps 100000 --seeds 3 --name td3-halfcheetah-100k",
    "sac HalfCheetah-v5 --preset default --steps 100000 --seeds 3 --name sac-halfcheetah-100k",
    "crossq HalfCheetah-v5 --preset default --steps 100000 --seeds 3 --name crossq-halfcheetah-100k",
    "sac Hopper-v5 --preset default --steps 100000 --seeds 3 --name sac-hopper-100k",
    "crossq Hopper-v5 --preset default --steps 100000 --seeds 3 --name crossq-hopper-100k",
    "sac Walker2d-v5 --preset default --steps 100000 --seeds 3 --name sac-walker2d-100k",
    "crossq Walker2d-v5 --preset default --steps 100000 --seeds 3 --name crossq-walker2d-100k",
    "dqn CartPole-v1 --preset tutorial --seeds 10 --name dqn-cartpole-tutorial",
    "a2c CartPole-v1 --preset tutorial --steps 500000 --seeds 5 --name a2c-cartpole-tutorial",
    "sac Pendulum-v1 --preset tutorial --steps 200000 --seeds 5 --name sac-pendulum-tutorial",
)


def main(words: list[str]) -> None:
    """Run what the command line asks for."""
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
    elif words[0] == "--all":
        run_all(words[1:])
    elif len(words) < 2 or any(word.startswith("-") for word in words[:2]):
        sys.exit("learning.py: name an algorithm and an environment, or --all; see --help")
    else:
        run_one(*words[:2], words[2:])


def run_all(flags: list[str]) -> None:
    """Run every claim in a process of its own; go on after one that fails, and fail at the end."""
    failed = []
    for claim in CLAIMS:
        words = [*claim.split(), *flags]
        measuring.say(f"python benchmarks/learning.py {' '.join(words)}")
        code = subprocess.run([sys.executable, __file__, *words]).returncode
        if code == 130:
            sys.exit(130)
        failed += [claim] if code else []
    if failed:
        sys.exit("failed:\n" + "\n".join(failed))


def run_one(algorithm: str, env: str, flags: list[str]) -> None:
    """Train, score, print and write. Exits with one line for a wrong request or a failing environment."""
    import polyak

    try:
        options = parse(algorithm, env, flags)
        asked = asked_for(options, flags)
        if options.episodes < 1:
            raise polyak.UsageError(f"episodes = {options.episodes} is too small: it must be at least 1")
        facts = {**measuring.provenance(), "algorithm": algorithm, "env": env, "preset": options.preset}
        with tempfile.TemporaryDirectory() as folder:
            results = measured(algorithm, env, asked, options, options.run or Path(folder) / "run")
    except (polyak.UsageError, polyak.RunError) as error:
        sys.exit(f"learning.py: {error}")
    except KeyboardInterrupt:
        # the library's message might name the temporary folder, which is gone by now
        sys.exit(f"interrupted: the same command goes on with {options.run}" if options.run else 130)
    print(report(algorithm, env, options.preset, results))
    out = options.out / f"learning-{options.name or default_name(algorithm, env, options, results)}.json"
    measuring.write_json(out, {**facts, **results})
    measuring.say(f"written: {out}")


def parse(algorithm: str, env: str, flags: list[str]) -> Any:
    """Read the flags, whose defaults are the preset's."""
    from polyak import algorithms
    from polyak.cli.flags import parse, value_of
    from polyak.runs import presets

    name, module = algorithms.find(algorithm)
    preset = presets.find(name, value_of("--preset", flags) or "default", env)
    return parse(flags_of(module, preset), flags, f"python benchmarks/learning.py {algorithm} {env}")


def flags_of(module: Any, start: Any) -> Any:
    """Make the dataclass of the flags."""
    from polyak.cli.train_flags import asking

    @dataclasses.dataclass(frozen=True)
    class Learning(asking(module, start)):  # type: ignore[misc]
        """Train an algorithm on an environment and score it well."""

        seeds: tuple[int, ...] = (5,)
        """Number of independent agents, or their seeds."""
        episodes: int = 100
        """Fresh episodes, without exploration, that score each seed's policy."""
        name: str | None = None
        """Name of the result; by default made of algorithm, environment, preset and steps."""
        out: Path = measuring.RESULTS
        """Folder of the result."""
        run: Path | None = None
        """Folder of the run, which is kept, and gone on with if it was interrupted; by default a temporary one."""

    return Learning


def asked_for(options: Any, flags: list[str]) -> dict[str, Any]:
    """Return the arguments of `polyak.train` that the flags give, with the defaults of this script."""
    from polyak.cli.flags import names_in
    from polyak.cli.train_flags import seeds_of

    seeds = seeds_of(options.seeds, options.seed, names_in(flags))
    return {**options.asked(flags), "preset": options.preset, "seeds": seeds}


def measured(algorithm: str, env: str, asked: dict[str, Any], options: Any, folder: Path) -> dict[str, Any]:
    """Train into a folder and return what came of it."""
    import polyak

    if (folder / "run.json").exists():
        run = polyak.load(folder)
        refuse_another(run, algorithm, env, asked)
        run = run if run.record.status == "finished" else polyak.resume(folder, quiet=False)
    else:
        run = polyak.train(algorithm, env, **asked, out=folder, quiet=False)
    seconds = run.record.seconds
    return {
        "config": run.record.config,
        "plan": run.record.plan,
        "seeds": run.record.seeds,
        "env_steps": run.record.env_steps,
        "updates": run.record.updates,
        "seconds": {"whole": round(sum(seconds[part] for part in ("setup", "training", "evaluation")), 3), **seconds},
        "scores": {which: run.evaluate(options.episodes, which) for which in ("final", "best")},
        "exploring_returns": run.record.exploring_returns,
        "curve": curve(folder),
    }


def refuse_another(run: Any, algorithm: str, env: str, asked: dict[str, Any]) -> None:
    """Raise UsageError where a folder holds a run of something else."""
    import polyak
    from polyak import algorithms
    from polyak.runs import presets
    from polyak.runs.settings import Asked, settings_for

    name, module = algorithms.find(algorithm)
    start = presets.find(name, asked["preset"], env)
    wanted = settings_for(name, module, start, Asked(asked["steps"], asked["config"], asked["plan"]))
    settings = {"config": dataclasses.asdict(wanted.config), "plan": dataclasses.asdict(wanted.plan)}
    facts = {"algorithm": name, "env": env, "preset": asked["preset"], "seeds": list(asked["seeds"]), **settings}
    if json.loads(json.dumps(facts)) != {key: getattr(run.record, key) for key in facts}:
        raise polyak.UsageError(f"{run.folder} holds another run: choose another --run")


def curve(folder: Path) -> list[dict[str, Any]]:
    """Return the periodic evaluations: IQM over seeds, its 95 % interval, and each seed's mean."""
    from polyak.runs import scores
    from polyak.runs.records import Records

    records = Records(folder)
    if not len(records.evaluations.seeds):
        return []
    curve = records.curve()
    return [
        {
            "env_steps": int(steps),
            "return_iqm": float(scores.iqm(returns)),
            "ci95": [float(bound) for bound in interval],
            "per_seed": [float(value) for value in returns],
        }
        for steps, returns, interval in zip(curve.steps, curve.values, curve.band, strict=True)
    ]


def report(algorithm: str, env: str, preset: str, results: dict[str, Any]) -> str:
    """Lay the scores out as a table."""
    final = results["scores"]["final"]
    head = (
        f"{algorithm} on {env}, preset {preset}: {results['env_steps']:,} environment steps, "
        f"{len(results['seeds'])} seeds, {results['seconds']['whole']:.0f} s; "
        f"{final['episodes']} fresh episodes per seed, no exploration"
    )
    rows = [
        (
            f"{which} policy",
            f"{score['return_iqm']:.1f}",
            f"[{score['ci95'][0]:.1f}, {score['ci95'][1]:.1f}]",
            f"{score['return_mean']:.1f}",
            f"{min(row['return_mean'] for row in score['per_seed']):.1f}",
        )
        for which, score in results["scores"].items()
    ]
    table = measuring.table(("return", "IQM", f"95 % CI over {final['ci95_over']}", "mean", "worst seed"), rows)
    return f"{head}\n{table}"


def default_name(algorithm: str, env: str, options: Any, results: dict[str, Any]) -> str:
    """Name a result after what was run."""
    words = (algorithm, env, options.preset, str(results["env_steps"]))
    return "-".join(words).lower().replace("/", "-").replace(":", "-")


if __name__ == "__main__":
    main(sys.argv[1:])
