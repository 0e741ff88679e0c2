"""Presets of CrossQ."""

from polyak.runs.presets.preset import Preset, Presets

PRESETS: Presets = {
    "default": (
        Preset(
            "small networks",
            environments=("Pendulum-v1",),
            config={
                "gamma": 0.98,
                "reward_scale": 0.1,
                "actor_layers": (128, 64),
                "critic_layers": (128, 128),
                "policy_delay": 2,
            },
            plan={"env_steps": 20_000, "batch": 64, "capacity": 20_000},
        ),
        Preset("a good start on any continuous task", plan={"warmup": 5_000}),
    ),
    "paper": (
        Preset(
            "Bhatt et al. 2024: critics of 2048 units in each layer",
            config={"critic_layers": (2048, 2048), "alpha_loss": "paper"},
            plan={"env_steps": 1_000_000, "warmup": 5_000},
        ),
    ),
}
