"""Presets of A2C."""

from polyak.runs.presets.preset import Preset, Presets

NOT_SOLVED = {
    "Pendulum-v1": "its return stays near -1460; ppo and the off-policy algorithms solve it",
}

PRESETS: Presets = {
    "default": (
        Preset(
            "eight environments, rollouts of 20 steps, small rewards",
            environments=("CartPole-v1",),
            config={"lr_decay": 1.0, "lam": 0.95, "entropy_coefficient": 0.01, "reward_scale": 0.05},
            plan={"env_steps": 500_000, "envs": 8, "rollout_length": 20},
        ),
        Preset(
            "eight environments, rollouts of five steps",
            plan={"env_steps": 500_000, "envs": 8, "rollout_length": 5},
        ),
    ),
    "tutorial": (
        Preset(
            "the small teaching recipe: one-step TD actor-critic on a shared trunk, 10-step rollouts",
            config={
                "gamma": 0.98,
                "lam": 0.0,
                "learning_rate": 2e-4,
                "optimizer": "adam",
                "value_coefficient": 1.0,
                "value_loss": "huber",
                "shared_layers": (256,),
                "actor_layers": (),
                "value_layers": (),
                "activation": "relu",
                "gradient_norm": None,
                "reward_scale": 0.01,
            },
            plan={"env_steps": 500_000, "rollout_length": 10},
        ),
    ),
}
