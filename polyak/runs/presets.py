"""Tuned settings by algorithm, preset name and environment: plain Python, every one constructed by a test."""

from dataclasses import dataclass, field
from typing import Any

from polyak.envs.gymnasium import newest
from polyak.errors import UsageError, nearest
from polyak.training.plan import Plan
from polyak.types import Algorithm


@dataclass(frozen=True)
class Preset:
    """Settings that differ from the algorithm's defaults; `environments` is empty where they are for any."""

    about: str
    environments: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)


TUTORIAL_CRITIC = {"critic_state_layers": (64,), "critic_action_layers": (64,), "critic_joint_layers": (32,)}

PRESETS: dict[str, dict[str, tuple[Preset, ...]]] = {
    "ddpg": {
        "default": (
            Preset(
                "fast and good on the pendulum",
                environments=("Pendulum-v1",),
                config={
                    "gamma": 0.98,
                    "reward_scale": 0.1,
                    "actor_layers": (128, 64),
                    "critic_joint_layers": (128, 64),
                },
                plan={"env_steps": 20_000, "batch": 64, "capacity": 20_000},
            ),
            Preset("a sound start on any continuous task", plan={"warmup": 5_000}),
        ),
        "tutorial": (
            Preset(
                "the small teaching recipe: 10 updates after each 200-step episode",
                config={
                    "actor_learning_rate": 5e-4,
                    "actor_layers": (128, 64),
                    **TUTORIAL_CRITIC,
                    "final_init": None,
                    "loss": "huber",
                    "reward_scale": 0.01,
                    "noise": "ornstein-uhlenbeck",
                    "noise_theta": 0.1,
                    "noise_sigma": 0.05,  # 0.1 in the torque's own units, whose range is ±2
                    "noise_dt": 0.01,
                },
                plan={
                    "env_steps": 600_000,
                    "chunk": 200,
                    "updates": 10,
                    "updates_per": "episode",
                    "batch": 32,
                    "capacity": 50_000,
                    "warmup": 2_000,
                    "warmup_actions": "policy",
                },
            ),
        ),
        "review": (
            Preset(
                "the teaching recipe with one update per step and a clipped, not squashed, action",
                config={
                    "tau": 0.001,
                    "critic_learning_rate": 5e-4,
                    "actor_layers": (128, 64),
                    **TUTORIAL_CRITIC,
                    "bound": "clip",
                    "final_init": None,
                    "loss": "huber",
                    "noise": "ornstein-uhlenbeck",
                    "noise_theta": 0.1,
                    "noise_sigma": 0.05,
                    "noise_dt": 0.01,
                },
                plan={
                    "env_steps": 40_000,
                    "capacity": 50_000,
                    "warmup": 2_000,
                    "warmup_actions": "policy",
                },
            ),
        ),
        "paper": (
            Preset(
                "Lillicrap et al. 2016, section 7, with batch renormalization",
                config={
                    "tau": 0.001,
                    "actor_learning_rate": 1e-4,
                    "actor_layers": (400, 300),
                    "critic_state_layers": (400,),
                    "critic_joint_layers": (300,),
                    "critic_weight_decay": 1e-2,
                    "batch_norm": "renorm",
                    "noise": "ornstein-uhlenbeck",
                    "noise_sigma": 0.2,
                },
                plan={"env_steps": 1_000_000, "batch": 64},
            ),
        ),
    }
}


def find(algorithm: str, name: str, environment: str) -> Preset:
    """Return a preset made for the environment, else the general one. Raises UsageError for an unknown name."""
    presets = PRESETS.get(algorithm, {})
    if name == "default" and name not in presets:
        return Preset("the algorithm's own defaults")
    if not isinstance(name, str) or name not in presets:
        raise UsageError(f"{algorithm} has no preset {name!r}: {nearest(str(name), presets or ['default'])}")
    made_for = [preset for preset in presets[name] if newest(environment) in preset.environments]
    return (made_for or [preset for preset in presets[name] if not preset.environments])[0]


def settings(algorithm: Algorithm, preset: Preset, steps: int | None = None) -> tuple[Any, Plan]:
    """Construct the Config and the Plan of a preset, shortened or lengthened to `steps` environment steps."""
    plan = dict(preset.plan) if steps is None else {**preset.plan, "env_steps": steps}
    return algorithm.Config(**preset.config), Plan(**plan)
