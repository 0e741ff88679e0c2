"""Several choices at once, from training to a policy in use: MultiDiscrete and MultiBinary actions of two axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak.runs.policy import Saved
from tests.fixtures.envs import IDS

OBS = np.random.default_rng(0).uniform(-2, 2, (200, 3)).astype(np.float32)
CONFIGS: dict[str, dict[str, Any]] = {"ppo": {"minibatch": 8, "epochs": 2}, "a2c": {}}
LAYERS = {"actor_layers": (4,), "value_layers": (4,)}
PLAN = {"envs": 2, "rollout_length": 8, "evaluations": 1, "evaluation_episodes": 1, "score_episodes": 1}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("world", ["Choices-v0", "Switches-v0"])
def test_a_policy_of_several_choices_stays_inside_its_space(name: str, world: str, tmp_path: Path) -> None:
    config, env = {**CONFIGS[name], **LAYERS}, f"tests.fixtures.envs:{world}"
    run = polyak.train(name, env, steps=64, seeds=1, out=tmp_path / "run", config=config, plan=PLAN)
    space = IDS[world][1]["action"]
    saved = Saved(run.folder / "policy")
    assert saved.spaces.action == space
    policy = saved.policy("final", 0)
    one, (many, _) = policy(OBS[0]), policy.predict(OBS, deterministic=False)
    assert space.contains(one)
    assert (one.dtype, many.shape) == (space.dtype, (200, *space.shape))
    assert all(space.contains(action) for action in many)
    np.testing.assert_array_equal(one, run.saved.policy("final", 0)(OBS[0]))
    # exploring, a policy that has hardly learned tries all of each choice
    tried = [len(np.unique(column)) for column in many.reshape(200, -1).T]
    assert tried == list(policy.spec.action.sizes)
    assert run.evaluate(1)["per_seed"][0]["seed"] == 0
