"""Presets of TD3."""

from polyak.runs.presets.preset import Preset, Presets

PRESETS: Presets = {
    "default": (
        Preset(
            "fast and good on the pendulum",
            environments=("Pendulum-v1",),
            config={"gamma": 0.98, "reward_scale": 0.1, "actor_layers": (128, 64), "critic_joint_layers": (128, 64)},
            plan={"env_steps": 20_000, "batch": 64, "capacity": 20_000},
        ),
        Preset(
            "drifting noise that pushes for many steps",
            environments=("MountainCarContinuous-v0",),
            config={
                "noise": "ornstein-uhlenbeck",
                "noise_sigma": 0.5,
                "noise_dt": 0.01,
                "actor_layers": (128, 64),
                "critic_joint_layers": (128, 64),
            },
            plan={"env_steps": 300_000, "batch": 64, "warmup_actions": "policy"},
        ),
        Preset("a good start on any continuous task", plan={"warmup": 5_000}),
    ),
    "paper": (
        Preset(
            "Fujimoto et al. 2018, section 6.1",
            config={"actor_layers": (400, 300), "critic_joint_layers": (400, 300)},
            plan={"env_steps": 1_000_000, "batch": 100, "warmup": 10_000},
        ),
    ),
    "simba": (
        Preset(
            "Lee et al. 2025: residual blocks with LayerNorm, two updates per step",
            config={
                "architecture": "simba",
                "actor_layers": (128,),
                "critic_joint_layers": (512, 512),
                "actor_learning_rate": 1e-4,
                "critic_learning_rate": 1e-4,
                "weight_decay": 1e-2,
            },
            plan={"env_steps": 1_000_000, "updates": 2, "warmup": 5_000},
        ),
    ),
}
