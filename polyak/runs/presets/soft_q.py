"""Presets of soft Q-learning."""

from polyak.runs.presets.preset import Preset, Presets

PRESETS: Presets = {
    "default": (
        Preset(
            "a temperature that is small compared to the reward of 1 per step",
            environments=("CartPole-v1",),
            plan={"env_steps": 50_000, "batch": 64, "capacity": 50_000},
        ),
        Preset("a good start on any task with discrete actions", plan={"batch": 64}),
    ),
}
