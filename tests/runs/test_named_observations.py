"""An image and a vector by name go from the environment to the network, on both backends, and nothing else changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak.runs.session import Session
from polyak.tree import named_leaves
from tests.fixtures import sights
from tests.fixtures.compare import assert_identical
from tests.fixtures.sights import SPACE, Sight, SightOnDevice

PLAN = {"env_steps": 120, "warmup": 40, "batch": 8, "evaluations": 2, "evaluation_episodes": 2, "score_episodes": 2}
BACKENDS = [("host", Sight), ("device", SightOnDevice)]


def train(folder: Path, backend: str, env: Any, **changes: Any) -> polyak.Run:
    plan = {**PLAN, "rollout_length": 8, **changes}
    return polyak.train(sights, env, seeds=2, backend=backend, plan=plan, out=folder)


@pytest.mark.parametrize(("backend", "env"), BACKENDS, ids=["host", "device"])
def test_an_image_and_a_vector_are_trained_on_kept_and_resumed(
    backend: str, env: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", backend, env)
    learned = named_leaves(whole.saved.tree("final"))
    assert learned["encoder.encoders.0.layers.0.weight"].shape == (2, 27, 32)
    iterate = Session._iterate

    def interrupted(session: Session) -> None:
        iterate(session)
        if session.loop.counts.env_steps.max() > 60 and not session.loop.counts.done:
            session.save()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Session, "_iterate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", backend, env)
    resumed = polyak.resume(tmp_path / "run", trust=True)
    for which in ("final", "best"):
        assert_identical(whole.saved.tree(which), resumed.saved.tree(which))
    assert whole.scores == resumed.scores
    assert whole.evaluate(2)["episodes"] == 2
    loaded, obs = polyak.load(tmp_path / "run", trust=True).policy, SPACE.sample()
    action = loaded(obs)
    batch = loaded({name: np.stack([part, part]) for name, part in obs.items()})
    np.testing.assert_allclose(batch, np.stack([action, action]), rtol=1e-5)
    np.testing.assert_allclose(loaded([obs, obs]), batch, rtol=1e-6)
    np.testing.assert_allclose(whole.policy(obs), action, rtol=1e-6)


def test_workers_see_the_same(tmp_path: Path) -> None:
    alone, helped = (train(tmp_path / str(workers), "host", Sight, workers=workers) for workers in (0, 2))
    assert_identical(alone.saved.tree("final"), helped.saved.tree("final"))


ROLLOUTS = {"env_steps": 128, "rollout_length": 64, "evaluations": 1, "score_episodes": 1}


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "env"), BACKENDS, ids=["host", "device"])
@pytest.mark.parametrize("name", ["a2c", "crossq", "ddpg", "ppo", "reinforce", "sac", "td3"])
def test_every_algorithm_reads_them(name: str, backend: str, env: Any, tmp_path: Path) -> None:
    on_policy = name in ("a2c", "ppo", "reinforce")
    config = {} if name == "crossq" else {"normalize_observations": True}
    run = polyak.train(
        name, env, config=config, plan=ROLLOUTS if on_policy else PLAN, backend=backend, out=tmp_path / "run"
    )
    assert run.policy(SPACE.sample()).shape == (1,)
