"""Presets of PPO."""

from polyak.runs.presets.preset import Preset, Presets

PRESETS: Presets = {
    "default": (
        Preset(
            "eight environments, short rollouts, large minibatches",
            environments=("CartPole-v1",),
            config={
                "gamma": 0.98,
                "lam": 0.8,
                "learning_rate": 1e-3,
                "lr_decay": 1.0,
                "anneal_clip": 1.0,
                "epochs": 20,
                "minibatch": 200,
            },
            plan={"env_steps": 100_000, "envs": 8, "rollout_length": 25},
        ),
        Preset(
            "four environments, a short horizon, everything normalized",
            environments=("Pendulum-v1",),
            config={
                "gamma": 0.9,
                "learning_rate": 1e-3,
                "lr_decay": 1.0,
                "normalize_observations": True,
                "normalize_rewards": True,
                "minibatch": 50,
            },
            plan={"env_steps": 100_000, "envs": 4, "rollout_length": 500},
        ),
        Preset(
            "a good start on any task",
            config={"minibatch": 100},
            plan={"env_steps": 1_000_000, "envs": 8, "rollout_length": 250},
        ),
    ),
}
