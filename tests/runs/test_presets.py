"""Presets: all of them can be made, and the named recipes are what they say."""

from typing import Any

import pytest

from polyak import UsageError
from polyak.algorithms import REGISTRY
from polyak.runs import presets
from polyak.training import learn
from polyak.training.plans import plan_for

ALL = [
    (algorithm, name, preset)
    for algorithm, named in presets.PRESETS.items()
    for name, group in named.items()
    for preset in group
]
TWO_STREAMS = {"critic_state_layers": (64,), "critic_action_layers": (64,), "critic_joint_layers": (32,)}
RECIPES: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    ("ddpg", "tutorial"): (
        {
            **TWO_STREAMS,
            **{"actor_layers": (128, 64), "bound": "tanh", "actor_learning_rate": 5e-4, "critic_learning_rate": 1e-3},
            **{"gamma": 0.99, "tau": 0.005, "loss": "huber", "reward_scale": 1 / 100, "batch_norm": "off"},
            **{"noise": "ornstein-uhlenbeck", "noise_theta": 0.1, "noise_sigma": 0.1 / 2, "noise_dt": 0.01},
        },
        {
            **{"batch": 32, "capacity": 50_000, "warmup": 2_000, "env_steps": 3_000 * 200},
            **{"updates": 10, "updates_per": "episode", "rollout_length": 200},
        },
    ),
    ("ddpg", "tutorial-per-step"): (
        {
            **TWO_STREAMS,
            **{"actor_layers": (128, 64), "bound": "clip", "actor_learning_rate": 1e-3, "critic_learning_rate": 5e-4},
            **{"gamma": 0.99, "tau": 0.001, "loss": "huber", "reward_scale": 1, "noise": "ornstein-uhlenbeck"},
        },
        {
            **{"batch": 256, "capacity": 50_000, "warmup": 2_000, "env_steps": 200 * 200},
            **{"updates": 1, "updates_per": "step"},
        },
    ),
    ("ddpg", "paper"): (
        {
            **{"actor_layers": (400, 300), "bound": "tanh", "actor_learning_rate": 1e-4, "critic_learning_rate": 1e-3},
            **{"critic_state_layers": (400,), "critic_action_layers": (), "critic_joint_layers": (300,)},
            **{"gamma": 0.99, "tau": 0.001, "loss": "mse", "critic_weight_decay": 1e-2, "reward_scale": 1},
            **{"noise": "ornstein-uhlenbeck", "noise_theta": 0.15, "noise_sigma": 0.2},
            **{"batch_norm": "renorm", "final_init": 3e-3},
        },
        {"batch": 64, "capacity": 1_000_000, "updates": 1, "updates_per": "step"},
    ),
    ("dqn", "tutorial"): (
        {
            **{"layers": (128, 128), "learning_rate": 5e-4, "gamma": 0.98, "loss": "huber", "reward_scale": 1 / 100},
            **{"tau": 1.0, "target_period": 20 * 10, "double": False, "dueling": False, "n_step": 1},
            **{
                "epsilon_start": 0.08,
                "epsilon_end": 0.03,
                "priority_alpha": None,
                "layer_norm": False,
            },
        },
        {
            **{"batch": 32, "capacity": 50_000, "warmup": 2_000, "updates": 10, "updates_per": "episode"},
            **{"warmup_actions": "policy", "episodes": 1_000},
        },
    ),
    ("a2c", "tutorial"): (
        {
            **{"shared_layers": (256,), "actor_layers": (), "value_layers": (), "activation": "relu"},
            **{"learning_rate": 2e-4, "gamma": 0.98, "lam": 0.0, "value_loss": "huber", "value_coefficient": 1.0},
            **{"entropy_coefficient": 0.0, "reward_scale": 1 / 100, "optimizer": "adam"},
        },
        {"rollout_length": 10, "envs": 1},
    ),
    ("sac", "tutorial"): (
        {
            **TWO_STREAMS,
            **{
                "actor_layers": (128,),
                "sigma_bound": "softplus",
                "num_critics": 2,
                "loss": "huber",
                "reward_scale": 1 / 10,
            },
            **{"actor_learning_rate": 5e-4, "critic_learning_rate": 1e-3, "alpha_learning_rate": 1e-3},
            **{"gamma": 0.98, "tau": 0.01, "alpha": 0.01, "target_entropy": -1.0, "learn_alpha": True},
        },
        {
            **{"batch": 32, "capacity": 50_000, "warmup": 1_000, "rollout_length": 200, "env_steps": 10_000 * 200},
            **{"updates": 20, "updates_per": "episode"},
        },
    ),
}


@pytest.mark.parametrize(("algorithm", "name", "preset"), ALL)
def test_a_preset_can_be_made_and_changes_what_it_names(algorithm: str, name: str, preset: presets.Preset):
    config, plan = presets.settings(REGISTRY[algorithm], preset)
    for settings, values in ((config, preset.config), (plan, preset.plan)):
        assert {key: getattr(settings, key) for key in values} == values
    assert preset.about
    for environment in preset.environments or ("Anything-v0",):
        assert presets.find(algorithm, name, environment) is preset


@pytest.mark.parametrize(("algorithm", "name"), RECIPES)
def test_a_recipe_has_its_known_settings(algorithm: str, name: str):
    config, plan = presets.settings(REGISTRY[algorithm], presets.find(algorithm, name, "Pendulum-v1"))
    for settings, expected in zip((config, plan), RECIPES[algorithm, name], strict=True):
        assert {key: getattr(settings, key) for key in expected} == expected


def test_every_algorithm_has_a_default_for_any_environment():
    for algorithm in (*REGISTRY, "somebody.elses"):
        assert presets.find(algorithm, "default", "Anything-v0").environments == ()


@pytest.mark.parametrize("algorithm", REGISTRY)
def test_an_algorithm_without_presets_has_a_plan_that_fits_it(algorithm: str):
    _, plan = presets.settings(REGISTRY[algorithm], presets.find("somebody.elses", "default", "X-v0"))
    assert type(plan) is plan_for(REGISTRY[algorithm].learns_from)


@pytest.mark.parametrize(("algorithm", "name", "preset"), ALL)
def test_a_preset_fits_its_algorithm(algorithm: str, name: str, preset: presets.Preset):
    learn.validate(REGISTRY[algorithm], *presets.settings(REGISTRY[algorithm], preset))


def test_steps_replace_the_presets():
    _, plan = presets.settings(REGISTRY["ddpg"], presets.find("ddpg", "paper", "Ant-v5"), steps=5_000)
    assert (plan.env_steps, plan.batch) == (5_000, 64)


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UsageError, match="ddpg has no preset 'tutorials': did you mean 'tutorial'"):
        presets.find("ddpg", "tutorials", "Pendulum-v1")
    with pytest.raises(UsageError, match="choose one of: default"):
        presets.find("somebody.elses", "tutorial", "Pendulum-v1")
    for wrong in (None, 3, ["paper"]):
        with pytest.raises(UsageError, match="ddpg has no preset"):
            presets.find("ddpg", wrong, "Pendulum-v1")  # type: ignore[arg-type]


def test_an_id_without_a_version_has_the_preset_of_the_newest():
    assert presets.find("ddpg", "default", "Pendulum") is presets.find("ddpg", "default", "Pendulum-v1")


def test_what_the_default_settings_do_not_solve_is_known():
    says = "ddpg is known not to solve MountainCarContinuous-v0 with its default settings: its noise"
    assert str(presets.warning("ddpg", "default", "MountainCarContinuous")).startswith(says)
    assert presets.warning("ddpg", "default", "Pendulum-v1") is None
    assert presets.warning("ddpg", "paper", "MountainCarContinuous-v0") is None
    for algorithm, envs in presets.NOT_SOLVED.items():
        assert all(not presets.find(algorithm, "default", env).environments for env in envs)
