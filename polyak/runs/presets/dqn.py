"""Presets of DQN."""

from polyak.runs.presets.preset import Preset, Presets

PRESETS: Presets = {
    "default": (
        Preset(
            "ten-step returns and LayerNorm, which keep the learned policy stable",
            environments=("CartPole-v1",),
            config={"n_step": 10, "layer_norm": True},
            plan={"env_steps": 50_000, "batch": 64, "capacity": 50_000},
        ),
        Preset("a good start on any task with discrete actions", plan={"batch": 64}),
    ),
    "tutorial": (
        Preset(
            "the small teaching recipe: 10 updates after each episode",
            config={
                "gamma": 0.98,
                "tau": 1.0,
                "target_period": 200,
                "double": False,
                "gradient_norm": None,
                "reward_scale": 0.01,
                "epsilon_start": 0.08,
                "epsilon_end": 0.03,  # .08 to .01 over 1400 episodes, but only 1000 are played
                "epsilon_fraction": 1.0,
            },
            plan={
                "env_steps": 500_000,  # the maximum of 1000 episodes
                "episodes": 1_000,
                "rollout_length": 500,
                "updates": 10,
                "updates_per": "episode",
                "batch": 32,
                "capacity": 50_000,
                "warmup": 2_000,
                "warmup_actions": "policy",
            },
        ),
    ),
}
