"""Presets of REINFORCE."""

from polyak.runs.presets.preset import Preset, Presets

# an on-policy algorithm learns once from each rollout, and has no warm-up
ON_POLICY = {"warmup": 0, "updates": 1, "updates_per": "chunk"}

PRESETS: Presets = {
    "default": (
        Preset(
            "long rollouts of eight environments",
            environments=("CartPole-v1",),
            config={"anneal": 1.0},
            plan={**ON_POLICY, "env_steps": 499_712, "envs": 8, "chunk": 128},
        ),
        Preset("a sound start on any task", plan={**ON_POLICY, "env_steps": 499_712, "envs": 8, "chunk": 256}),
    ),
}
