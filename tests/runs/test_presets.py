"""Presets: all of them can be made, and the named recipes are what they say."""

from typing import Any

import pytest

from polyak import UsageError
from polyak.algorithms import REGISTRY
from polyak.runs import presets

ALL = [
    (algorithm, name, preset)
    for algorithm, named in presets.PRESETS.items()
    for name, group in named.items()
    for preset in group
]
TWO_STREAMS = {"critic_state_layers": (64,), "critic_action_layers": (64,), "critic_joint_layers": (32,)}
RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tutorial": (
        {
            **TWO_STREAMS,
            **{"actor_layers": (128, 64), "bound": "tanh", "actor_learning_rate": 5e-4, "critic_learning_rate": 1e-3},
            **{"gamma": 0.99, "tau": 0.005, "loss": "huber", "reward_scale": 1 / 100, "batch_norm": "off"},
            **{"noise": "ornstein-uhlenbeck", "noise_theta": 0.1, "noise_sigma": 0.1 / 2, "noise_dt": 0.01},
        },
        {
            **{"batch": 32, "capacity": 50_000, "warmup": 2_000, "env_steps": 3_000 * 200},
            **{"updates": 10, "updates_per": "episode", "chunk": 200},
        },
    ),
    "review": (
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
    "paper": (
        {
            **{"actor_layers": (400, 300), "bound": "tanh", "actor_learning_rate": 1e-4, "critic_learning_rate": 1e-3},
            **{"critic_state_layers": (400,), "critic_action_layers": (), "critic_joint_layers": (300,)},
            **{"gamma": 0.99, "tau": 0.001, "loss": "mse", "critic_weight_decay": 1e-2, "reward_scale": 1},
            **{"noise": "ornstein-uhlenbeck", "noise_theta": 0.15, "noise_sigma": 0.2},
            **{"batch_norm": "renorm", "final_init": 3e-3},
        },
        {"batch": 64, "capacity": 1_000_000, "updates": 1, "updates_per": "step"},
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


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_its_known_settings(name: str):
    config, plan = presets.settings(REGISTRY["ddpg"], presets.find("ddpg", name, "Pendulum-v1"))
    for settings, expected in ((config, RECIPES[name][0]), (plan, RECIPES[name][1])):
        assert {key: getattr(settings, key) for key in expected} == expected


def test_every_algorithm_has_a_default_for_any_environment():
    for algorithm in (*REGISTRY, "somebody.elses"):
        assert presets.find(algorithm, "default", "Anything-v0").environments == ()


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
