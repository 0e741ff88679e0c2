"""Tuned settings by algorithm, preset name and environment: plain Python, every one constructed by a test."""

from typing import Any

from polyak.envs.make import newest
from polyak.errors import UsageError, nearest
from polyak.runs.presets import a2c, crossq, ddpg, dqn, ppo, reinforce, sac, soft_q, td3
from polyak.runs.presets.preset import ON_POLICY, Preset, Presets
from polyak.training.plan import Plan
from polyak.types import Algorithm

PRESETS: dict[str, Presets] = {
    "reinforce": reinforce.PRESETS,
    "a2c": a2c.PRESETS,
    "ppo": ppo.PRESETS,
    "dqn": dqn.PRESETS,
    "soft_q": soft_q.PRESETS,
    "ddpg": ddpg.PRESETS,
    "td3": td3.PRESETS,
    "sac": sac.PRESETS,
    "crossq": crossq.PRESETS,
}


# what an algorithm does not learn with its default settings, by environment: what happens, and what to use
NOT_SOLVED: dict[str, dict[str, str]] = {
    "a2c": {"Pendulum-v1": "it stays near a return of -1460; ppo and all that learn from replay solve it"},
    "ddpg": {
        "MountainCarContinuous-v0": "its noise is too short-lived to meet the flag, so it stands still; use sac or td3"
    },
}


def warning(algorithm: str, preset: str, environment: str) -> str | None:
    """Say that settings are known not to solve an environment, if they are."""
    env = newest(environment)
    why = NOT_SOLVED.get(algorithm, {}).get(env) if preset == "default" else None
    return None if why is None else f"{algorithm} is known not to solve {env} with its default settings: {why}"


def find(algorithm: str, name: str, environment: str, learns_from: str = "replay") -> Preset:
    """Return a preset made for the environment, else the general one. Raises UsageError for an unknown name.

    What the algorithm learns from decides the default of one that has no presets.
    """
    presets = PRESETS.get(algorithm, {})
    if name == "default" and name not in presets:
        return Preset("the algorithm's own defaults", plan=ON_POLICY if learns_from == "rollout" else {})
    if not isinstance(name, str) or name not in presets:
        raise UsageError(f"{algorithm} has no preset {name!r}: {nearest(str(name), presets or ['default'])}")
    made_for = [preset for preset in presets[name] if newest(environment) in preset.environments]
    return (made_for or [preset for preset in presets[name] if not preset.environments])[0]


def settings(algorithm: Algorithm, preset: Preset, steps: int | None = None) -> tuple[Any, Plan]:
    """Construct the Config and the Plan of a preset, shortened or lengthened to `steps` environment steps."""
    plan = dict(preset.plan) if steps is None else {**preset.plan, "env_steps": steps}
    return algorithm.Config(**preset.config), Plan(**plan)
