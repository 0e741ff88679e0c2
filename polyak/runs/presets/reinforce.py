"""Presets of REINFORCE."""

from polyak.runs.presets.preset import Preset, Presets

PRESETS: Presets = {
    "default": (
        Preset(
            "long rollouts of eight environments",
            environments=("CartPole-v1",),
            config={"lr_decay": 1.0},
            plan={"env_steps": 500_000, "envs": 8, "rollout_length": 125},
        ),
        Preset("a good start on any task", plan={"env_steps": 500_000, "envs": 8, "rollout_length": 250}),
    ),
}
