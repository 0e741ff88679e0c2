"""Presets of PPO."""

from polyak.runs.presets.preset import Preset, Presets

# an on-policy algorithm learns once from each rollout, and has no warm-up
ON_POLICY = {"warmup": 0, "updates": 1, "updates_per": "chunk"}

PRESETS: Presets = {
    "default": (
        Preset(
            "eight environments, short rollouts, large minibatches",
            environments=("CartPole-v1",),
            config={
                "gamma": 0.98,
                "lam": 0.8,
                "learning_rate": 1e-3,
                "anneal": 1.0,
                "anneal_clip": 1.0,
                "epochs": 20,
                "minibatch": 256,
            },
            plan={**ON_POLICY, "env_steps": 99_840, "envs": 8, "chunk": 32},
        ),
        Preset(
            "four environments, a short horizon, everything normalized",
            environments=("Pendulum-v1",),
            config={
                "gamma": 0.9,
                "learning_rate": 1e-3,
                "anneal": 1.0,
                "normalize_observations": True,
                "normalize_rewards": True,
            },
            plan={**ON_POLICY, "env_steps": 98_304, "envs": 4, "chunk": 512},
        ),
        Preset("a sound start on any task", plan={**ON_POLICY, "env_steps": 1_015_808, "envs": 8, "chunk": 256}),
    ),
}
