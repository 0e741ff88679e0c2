"""Presets of DDPG."""

from polyak.runs.presets.preset import Preset, Presets

NOT_SOLVED = {
    "MountainCarContinuous-v0": "its noise is too short-lived to reach the flag, so the car stays put; use sac or td3",
}

TWO_STREAMS = {"critic_state_layers": (64,), "critic_action_layers": (64,), "critic_joint_layers": (32,)}

PRESETS: Presets = {
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
        Preset("a good start on any continuous task", plan={"warmup": 5_000}),
    ),
    "tutorial": (
        Preset(
            "the small teaching recipe: 10 updates after each 200-step episode",
            config={
                "actor_learning_rate": 5e-4,
                "actor_layers": (128, 64),
                **TWO_STREAMS,
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
                "rollout_length": 200,
                "updates": 10,
                "updates_per": "episode",
                "batch": 32,
                "capacity": 50_000,
                "warmup": 2_000,
                "warmup_actions": "policy",
            },
        ),
    ),
    "tutorial-per-step": (
        Preset(
            "the teaching recipe with one update per step and a clipped, not squashed, action",
            config={
                "tau": 0.001,
                "critic_learning_rate": 5e-4,
                "actor_layers": (128, 64),
                **TWO_STREAMS,
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
                "final_init": None,
            },
            plan={"env_steps": 1_000_000, "updates": 2, "warmup": 5_000},
        ),
    ),
}
