"""Tuned settings by algorithm, preset name and environment.

Each module is named after its algorithm and defines `PRESETS`. It may define `NOT_SOLVED`: the environments that the
default settings are known not to solve, each with what happens and what to use instead.
"""

import importlib
import pkgutil

from polyak.envs.names import newest
from polyak.errors import UsageError, nearest
from polyak.runs.presets.preset import Preset, Presets
from polyak.training.plan import Plan
from polyak.training.plans import plan_for
from polyak.tree import replace
from polyak.types import Algorithm, Tree

_FOUND = {
    found.name: importlib.import_module(f"{__name__}.{found.name}")
    for found in pkgutil.iter_modules(__path__)
    if found.name != "preset"
}

PRESETS: dict[str, Presets] = {name: module.PRESETS for name, module in _FOUND.items()}
NOT_SOLVED: dict[str, dict[str, str]] = {name: getattr(module, "NOT_SOLVED", {}) for name, module in _FOUND.items()}


def warning(algorithm: str, preset: str, environment: str) -> str | None:
    """Return a warning if these settings are known not to solve an environment."""
    env = newest(environment)
    why = NOT_SOLVED.get(algorithm, {}).get(env) if preset == "default" else None
    return None if why is None else f"{algorithm} is known not to solve {env} with its default settings: {why}"


def find(algorithm: str, name: str, environment: str) -> Preset:
    """Return the preset for the environment, else the general one. Raises UsageError for an unknown name."""
    presets = PRESETS.get(algorithm, {})
    if name == "default" and name not in presets:
        return Preset("the algorithm's own defaults")
    if not isinstance(name, str) or name not in presets:
        raise UsageError(f"{algorithm} has no preset {name!r}: {nearest(str(name), presets or ['default'])}")
    made_for = [preset for preset in presets[name] if newest(environment) in preset.environments]
    return (made_for or [preset for preset in presets[name] if not preset.environments])[0]


def settings(algorithm: Algorithm, preset: Preset, steps: int | None = None) -> tuple[Tree, Plan]:
    """Construct the Config and the Plan of a preset, with `steps` environment steps if given."""
    plan = dict(preset.plan) if steps is None else {**preset.plan, "env_steps": steps}
    return algorithm.Config(**preset.config), replace(plan_for(algorithm.learns_from)(), **plan)
