"""What a run starts from: a preset, or another run whose settings it repeats where the caller leaves them open."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polyak import algorithms
from polyak.envs.make import EnvSource, Maker
from polyak.errors import UsageError, option
from polyak.runs import files, presets, request
from polyak.runs.presets.preset import Preset
from polyak.runs.provenance import provenance
from polyak.runs.record import RunRecord
from polyak.runs.settings import Settings
from polyak.types import Algorithm, Json

if TYPE_CHECKING:
    from polyak.runs.run import Run


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a caller names to be trained; None where it is left open."""

    algorithm: Algorithm | str | None = None
    env: Maker | None = None
    env_kwargs: dict[str, Json] | None = None
    seeds: int | Sequence[int] | None = None
    preset: str | None = None
    backend: str | None = None


@dataclasses.dataclass(frozen=True)
class Start:
    """What is trained, with all that was left open filled in."""

    name: str
    module: Algorithm
    source: EnvSource
    lanes: list[int]
    preset: str
    settings: Preset
    backend: str


def _like(run: Run, wish: Wish) -> Wish:
    """Fill in a wish from a run. Raises UsageError where the run's settings would not fit what is wished."""
    record: RunRecord = run.record
    if wish.preset is not None:
        raise UsageError(f"the settings are either those of {run.folder} or of a preset: leave out one of the two")
    kwargs = record.env_kwargs if wish.env_kwargs is None and wish.env is None else wish.env_kwargs
    named_in = None if run.trust else run.folder / "run.json"
    return dataclasses.replace(
        wish,
        algorithm=algorithms.find(record.algorithm, named_in)[1] if wish.algorithm is None else wish.algorithm,
        env=_env_of(run) if wish.env is None else wish.env,
        env_kwargs=kwargs,
        preset=record.preset,
        backend=wish.backend or record.backend,
    )


def _env_of(run: Run) -> Maker:
    """Return a run's environment: by the name that it was given if that is trusted, else what may be made of it."""
    found: Maker = run.source().maker
    return run.record.env if run.trust and run.env is None else found


def settings_of(run: Run) -> Preset:
    """Return a run's settings as a preset."""
    config, plan = (
        {name: tuple(value) if isinstance(value, list) else value for name, value in getattr(run.record, part).items()}
        for part in ("config", "plan")
    )
    return Preset(f"the settings of {run.folder}", config=config, plan=plan)


def in_order(first: object, second: object) -> tuple[Any, Any]:
    """Return algorithm and environment in this order, also where they were named in the other."""
    named = [isinstance(word, str) and algorithms.registered(word) is not None for word in (first, second)]
    return (second, first) if named == [False, True] and first is not None else (first, second)


def begun_with(name: str, env: str, preset: str | None, repeated: Run | None, donor: Run | None) -> Preset:
    """Return the settings to begin with: those of a run that is repeated, else a preset's, with a donor's config.

    Raises UsageError where one of these runs trained another algorithm.
    """
    for run, remedy in ((repeated, "leave out the algorithm"), (donor, "train the same algorithm")):
        if run and name != run.record.algorithm:
            raise UsageError(f"{run.folder} trained {run.record.algorithm}, whose settings do not fit {name}: {remedy}")
    if repeated:
        return settings_of(repeated)
    settings = presets.find(name, "default" if preset is None else preset, env)
    return dataclasses.replace(settings, config=settings_of(donor).config) if donor and preset is None else settings


def lanes_of(wish: Wish, repeated: Run | None = None) -> list[int]:
    """List the seeds: where they are left open those of the run that is repeated, or one."""
    usual = repeated.record.seeds if repeated else 1
    return request.lanes_of(usual if wish.seeds is None else wish.seeds)


def start_of(wish: Wish, repeated: Run | None = None, donor: Run | None = None) -> Start:
    """Find out what is to be trained. Raises UsageError.

    `repeated` is a run whose settings it starts from, `donor` one that gives what it has learned, and its config.
    """
    first, second = in_order(wish.algorithm, wish.env)
    wish = dataclasses.replace(wish, algorithm=first, env=second)
    lanes, wish = lanes_of(wish, repeated), _like(repeated, wish) if repeated else wish
    if wish.algorithm is None or wish.env is None:
        raise UsageError(f"name an algorithm and an environment, or a run to repeat: {option('like', 'runs/a')}")
    source = EnvSource.of(wish.env, request.json_kwargs(wish.env_kwargs))
    name, module = algorithms.find(wish.algorithm)
    settings = begun_with(name, source.name, wish.preset, repeated, donor)
    preset = "default" if wish.preset is None else wish.preset
    return Start(name, module, source, lanes, preset, settings, wish.backend or "host")


def record_of(start: Start, settings: Settings, backend: str) -> RunRecord:
    """Return what run.json says of what is trained; `backend` is the one that was found to fit."""
    env = start.source.name
    return RunRecord(
        status="starting",
        algorithm=start.name,
        env=env,
        env_kwargs=start.source.kwargs,
        preset=start.preset,
        config=files.settings_to_json(settings.config),
        plan=files.settings_to_json(settings.plan),
        warning=presets.warning(start.name, start.preset, env),
        fitted=list(settings.fitted),
        seeds=start.lanes,
        backend=backend,
        **provenance(),
    )
