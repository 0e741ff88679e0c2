"""Presets of SAC."""

from polyak.runs.presets.preset import Preset, Presets

TWO_STREAMS = {"critic_state_layers": (64,), "critic_action_layers": (64,), "critic_joint_layers": (32,)}

PRESETS: Presets = {
    "default": (
        Preset(
            "fast and good on the pendulum",
            environments=("Pendulum-v1",),
            config={
                "gamma": 0.98,
                "reward_scale": 0.1,
                "actor_learning_rate": 1e-3,
                "critic_learning_rate": 1e-3,
                "alpha_learning_rate": 1e-3,
                "actor_layers": (128, 64),
                "critic_joint_layers": (128, 64),
            },
            plan={"env_steps": 20_000, "batch": 64, "capacity": 20_000},
        ),
        Preset(
            "exploration in long swings",
            environments=("MountainCarContinuous-v0",),
            config={"noise_correlation": 0.99, "actor_layers": (128, 64), "critic_joint_layers": (128, 64)},
            plan={"env_steps": 50_000, "batch": 64},
        ),
        Preset(
            "small networks, fast",
            environments=("CartPole-v1",),
            config={
                "actor_learning_rate": 1e-3,
                "critic_learning_rate": 1e-3,
                "alpha_learning_rate": 1e-3,
                "actor_layers": (64, 64),
                "critic_joint_layers": (64, 64),
            },
            plan={"env_steps": 50_000, "batch": 64, "capacity": 50_000},
        ),
        Preset("a good start on any task", plan={"warmup": 5_000}),
    ),
    "tutorial": (
        Preset(
            "the small teaching recipe: 20 updates after each 200-step episode",
            config={
                "gamma": 0.98,
                "tau": 0.01,
                "actor_learning_rate": 5e-4,
                "critic_learning_rate": 1e-3,
                "alpha_learning_rate": 1e-3,
                "alpha": 0.01,
                "alpha_loss": "paper",
                "target_entropy": -1.0,
                "actor_layers": (128,),
                **TWO_STREAMS,
                "sigma_bound": "softplus",
                "loss": "huber",
                "reward_scale": 0.1,
            },
            plan={
                "env_steps": 2_000_000,
                "rollout_length": 200,
                "updates": 20,
                "updates_per": "episode",
                "batch": 32,
                "capacity": 50_000,
                "warmup": 1_000,
                "warmup_actions": "policy",
            },
        ),
    ),
    "paper": (
        Preset(
            "Haarnoja et al. 2018, appendix D",
            config={"alpha_loss": "paper", "target_share": 0.98},
            plan={"env_steps": 1_000_000, "warmup": 10_000},
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
                "alpha_learning_rate": 1e-4,
                "alpha": 0.01,
                "target_per_dimension": -0.5,
            },
            plan={"env_steps": 1_000_000, "updates": 2, "warmup": 5_000},
        ),
    ),
}
