"""A run: one training on disk, and the four things done with it: train, resume, load, evaluate."""

import dataclasses
import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from polyak import algorithms
from polyak.envs.gymnasium import Environment, Maker, Worlds, episode_seed, from_name, name_of
from polyak.errors import Interrupted, RunError, UsageError, nearest
from polyak.runs import files, presets, scores
from polyak.runs.plot import plot
from polyak.runs.policy import Policy, Saved
from polyak.runs.session import SCORING, Session
from polyak.training import devices
from polyak.training.evaluate import evaluate
from polyak.training.host import Training
from polyak.training.plan import Plan

KEYS = ("algorithm", "env", "config", "plan", "seeds", "status", "seconds")


@dataclasses.dataclass
class Run:
    """One training on disk. `facts` is what its run.json says; the policies are loaded when asked for."""

    folder: Path
    facts: dict[str, Any]

    @property
    def saved(self) -> Saved:
        """The policies of all seeds."""
        return Saved(self.folder / "policy")

    @property
    def policy(self) -> Policy:
        """The best policy of the seed that did best in its periodic evaluations."""
        if "_policy" not in self.__dict__:
            self.__dict__["_policy"] = self.saved.policy()
        return self.__dict__["_policy"]

    @property
    def scores(self) -> dict[str, Any]:
        """The score tables made at the end of training, by "best" and "final"; empty before the end."""
        return self.facts.get("scores", {})

    def evaluate(
        self,
        episodes: int = 100,
        which: str = "best",
        deterministic: bool = True,
        seed: int = 0,
        env: Maker | None = None,
    ) -> dict[str, Any]:
        """Play fresh episodes with every seed's policy and summarize them; `seed` chooses other episodes.

        Raises UsageError for a damaged run, RunError where the environment fails.
        """
        if episodes < 1:
            raise UsageError(f"episodes = {episodes} is too small: it must be at least 1")
        saved = self.saved
        maker = from_name(self.facts["env"]) if env is None else env
        return _score(saved.algorithm, saved.config, saved.tree(which), maker, saved.seeds, episodes, which,
                      deterministic, seed)  # fmt: skip


def train(
    algorithm: Any,
    env: Maker,
    *,
    steps: int | None = None,
    seeds: int | Sequence[int] = 1,
    preset: str = "default",
    config: Any = None,
    plan: Plan | dict[str, Any] | None = None,
    out: str | Path | None = None,
    force: bool = False,
    quiet: bool = True,
) -> Run:
    """Train `seeds` independent agents and return the finished run.

    `algorithm` is a registered name or a module; `env` an id, "module:Id" or a callable that returns an environment.
    `seeds` counts from seed 0, or lists the seeds. `config` and `plan` are settings objects, or dictionaries of what
    differs from the preset. The run is written to `out`, by default a new folder under runs/.

    Raises UsageError for a request that cannot work, before anything is written; RunError where the environment fails;
    KeyboardInterrupt after saving when interrupted.
    """
    devices.prepare()
    name, module = algorithms.find(algorithm)
    lanes = _seeds(seeds)
    settings = settings_for(name, module, env, preset, steps, config, plan)
    worlds = _worlds(name, module, env, lanes, settings[1])
    _refuse_too_large(settings[1], worlds, len(lanes))
    folder = _new_folder(out, name, name_of(env), force)
    facts = {
        "algorithm": name,
        "env": name_of(env),
        "preset": preset,
        "config": files.settings_to_json(settings[0]),
        "plan": files.settings_to_json(settings[1]),
        "seeds": lanes,
        **_circumstances(),
    }
    began = time.monotonic()
    training = Training(module, settings[0], settings[1], worlds, lanes)
    return _sitting(Run(folder, facts), env, training, worlds, began, quiet, resumed=False)


def resume(folder: str | Path, *, env: Maker | None = None, quiet: bool = True) -> Run:
    """Continue a run from its checkpoint to its end. Raises as `train` and `load` do."""
    devices.prepare()
    run = load(folder)
    if run.facts["status"] == "finished":
        raise UsageError(f"{run.folder} is finished: there is nothing to resume")
    path = run.folder / "run.json"
    name, module = algorithms.find(run.facts["algorithm"])
    config = files.settings_from_json(module.Config, run.facts["config"], path)
    plan = files.settings_from_json(Plan, run.facts["plan"], path)
    maker = from_name(run.facts["env"]) if env is None else env
    worlds = _worlds(name, module, maker, run.facts["seeds"], plan)
    began = time.monotonic()
    training = Training(module, config, plan, worlds, run.facts["seeds"])
    return _sitting(run, maker, training, worlds, began, quiet, resumed=True)


def load(folder: str | Path) -> Run:
    """Open a run. Raises UsageError if there is none in the folder, or it is damaged or of a newer format."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no run folder {folder}")
    if not (folder / "run.json").exists():
        raise UsageError(f"{folder} holds no run: it has no run.json")
    return Run(folder, files.read_json(folder / "run.json", KEYS))


def settings_for(
    name: str, module: Any, env: Maker, preset: str, steps: int | None, config: Any, plan: Any
) -> tuple[Any, Plan]:
    """Work out Config and Plan: the preset's, changed by what the caller asks for."""
    found = presets.find(name, preset, name_of(env))
    if isinstance(config, dict) or config is None:
        config = _construct(module.Config, {**found.config, **(config or {})})
    elif not isinstance(config, module.Config):
        raise UsageError(f"config is a {type(config).__name__}: give {name}.Config, or a dictionary of its fields")
    if not isinstance(plan, Plan):
        plan = _construct(Plan, {**found.plan, **(plan or {}), **({} if steps is None else {"env_steps": steps})})
    elif steps is not None:
        plan = dataclasses.replace(plan, env_steps=steps)
    return config, plan


def _construct(cls: Callable[..., Any], values: dict[str, Any]) -> Any:
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise UsageError(f"unknown field {key!r}: {nearest(key, known)}")
    try:
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except TypeError as error:
        raise UsageError(f"a setting has the wrong type: {error}") from error


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    lanes = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not lanes:
        raise UsageError("seeds is too small: it must be at least 1")
    if len(set(lanes)) < len(lanes) or min(lanes) < 0 or max(lanes) >= 2**32:
        raise UsageError(f"seeds {lanes} must be different numbers from 0 to 2³² - 1")
    return lanes


def _worlds(name: str, module: Any, env: Maker, lanes: list[int], plan: Plan) -> Worlds:
    first = Environment(env)
    first.close()
    if not isinstance(first.spec.action, module.acts_on):
        kind = type(first.spec.action)
        others = [other for other, found in algorithms.REGISTRY.items() if kind in found.acts_on]
        remedy = f"use {' or '.join(others)}" if others else "choose one with Box actions, such as Pendulum-v1"
        raise UsageError(
            f"{name} does not take {kind.__name__} actions, which {name_of(env)} has ({first.action_space}): {remedy}"
        )
    return Worlds(env, lanes, plan.envs)


def _refuse_too_large(plan: Plan, worlds: Worlds, lanes: int) -> None:
    capacity = min(plan.capacity, plan.env_steps)
    per_row = 4 * worlds.spec.row_size * lanes
    most = int(devices.memory() * 0.8)
    if capacity * per_row > most:
        raise UsageError(
            f"the replay buffer would take {capacity * per_row / 2**30:.1f} GiB ({lanes} × {capacity:,} transitions) of"
            f" {devices.memory() / 2**30:.1f} GiB of memory: use a capacity of {most // per_row:,} or less"
        )


def _new_folder(out: str | Path | None, name: str, env: str, force: bool) -> Path:
    if out is None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        parts = [part.split(".")[-1].split("/")[-1].split(":")[-1] for part in (name, env)]
        base = Path("runs") / "-".join([*parts, stamp])
        tries = (base.with_name(f"{base.name}-{i}") if i else base for i in range(1000))
        folder = next(path for path in tries if not path.exists())
    else:
        folder = Path(out)
    if (folder / "run.json").exists():
        if not force:
            raise UsageError(f"{folder} already holds a run: choose another --out, --force, or polyak resume {folder}")
        shutil.rmtree(folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not a run: choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from error
    return folder


def _sitting(run: Run, env: Maker, training: Training, worlds: Worlds, began: float, quiet: bool, resumed: bool) -> Run:
    identity = {key: run.facts[key] for key in ("algorithm", "env", "config", "seeds")}
    session = Session(run.folder, env, identity, training, worlds, shown=not quiet)
    if resumed:
        session.resume()
    setup = time.monotonic() - began
    _write(run, "training", setup, session)
    if not resumed:
        session.save()
    try:
        session.train()
    except KeyboardInterrupt:
        _write(run, "interrupted", setup, session)
        steps = f"{run.facts['env_steps']:,} of {training.plan.env_steps:,} steps"
        raise Interrupted(f"stopped at {steps}; everything is saved: polyak resume {run.folder}") from None
    except RunError as error:
        _write(run, "failed", setup, session, error=str(error))
        raise
    finally:
        worlds.close()
    saved = run.saved
    run.facts["scores"] = {
        which: _score(training.algorithm, saved.config, saved.tree(which), env, training.seeds,
                      training.plan.score_episodes, which, True, 0)
        for which in ("final", "best")
    }  # fmt: skip
    _write(run, "finished", setup, session)
    if session.evaluated:
        plot([run.folder], run.folder / "curve.png")
    return run


def _score(
    algorithm: Any, config: Any, policies: Any, env: Maker, lanes: list[int], episodes: int, which: str,
    deterministic: bool, seed: int,
) -> dict[str, Any]:  # fmt: skip
    devices.prepare()
    seeds = [[episode_seed(lane, seed, i, SCORING) for i in range(episodes)] for lane in lanes]
    played = evaluate(algorithm, config, policies, lambda: Environment(env), seeds, explore=not deterministic)
    return scores.summary(played, lanes, which, deterministic)


def _write(run: Run, status: str, setup: float, session: Session, error: str | None = None) -> None:
    run.facts.update(
        status=status,
        error=error,
        env_steps=int(session.training.env_steps.min()),
        updates=session.training.step,
        seconds={"setup": round(setup, 3), **{key: round(value, 3) for key, value in session.seconds.items()}},
        updated=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    files.write_json(run.folder / "run.json", run.facts)


def _circumstances() -> dict[str, Any]:
    packages = ("polyak", "jax", "optax", "numpy", "gymnasium", "mujoco")
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    used = jax.local_devices()[0]
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "commit": _commit(),
        "device": f"{used.platform} ({used.device_kind}), {devices.cores()} cores",
    }


def _commit() -> str | None:
    try:
        here = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=os.getcwd())
    except OSError:
        return None
    return here.stdout.strip() or None
