"""Runs on the device backend: chosen, trained, kept, resumed, and scored as those on the host are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak import UsageError
from polyak.envs.make import EnvSource
from polyak.errors import RunError
from polyak.runs import request
from polyak.runs.session import Session
from tests.fixtures.functions import Breaking, Drift

SMALL: dict[str, Any] = {
    "config": {"actor_layers": (8,), "critic_joint_layers": (8,)},
    "plan": {"env_steps": 600, "warmup": 100, "batch": 8, "capacity": 600, "evaluations": 2, "score_episodes": 2},
}


def train(folder: Path, env: Any = "Pendulum-v1", **changes: Any) -> polyak.Run:
    return polyak.train("ddpg", env, **{**SMALL, "backend": "device", "out": folder, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> polyak.Run:
    return train(tmp_path_factory.mktemp("whole"), seeds=2)


def test_a_run_on_the_device_is_a_run_like_any_other(whole: polyak.Run) -> None:
    facts = json.loads((whole.folder / "run.json").read_text())
    assert (facts["backend"], facts["status"], facts["env_steps"], facts["updates"]) == ("device", "finished", 600, 500)
    assert len((whole.folder / "evaluations.csv").read_text().splitlines()) == 1 + 3 * 2 * 10
    assert -2000 < whole.scores["final"]["return_iqm"] < 0
    assert whole.evaluate(2)["episodes"] == 2
    assert whole.policy(np.zeros(3, np.float32)).shape == (1,)
    assert (whole.folder / "curve.png").exists()


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    whole: polyak.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterate, done = Session._iterate, []

    def interrupted(session: Session) -> None:
        iterate(session)
        done.append(1)
        if len(done) == 3:
            session.save()
            raise KeyboardInterrupt

    monkeypatch.setattr(Session, "_iterate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", seeds=2)
    monkeypatch.undo()
    resumed = polyak.resume(tmp_path / "run")
    assert resumed.record.backend == "device"
    for name in ("final", "best"):
        assert resumed.scores[name]["per_seed"] == whole.scores[name]["per_seed"]
    without_seconds = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(run)] for run in (resumed, whole)
    ]
    assert without_seconds[0] == without_seconds[1]


def rows_of(run: polyak.Run) -> list[dict[str, Any]]:
    from polyak.runs.tables import read_table

    return read_table(run.folder / "metrics.csv")


@pytest.mark.parametrize("backend", ["host", "device"])
def test_an_environment_of_the_users_own_works_on_both(backend: str, tmp_path: Path) -> None:
    plan = {**SMALL["plan"], "env_steps": 150, "evaluations": 1}
    run = train(tmp_path / "run", Drift, backend=backend, plan=plan)
    assert run.record.backend == backend
    assert run.record.status == "finished"


def test_numbers_that_are_not_finite_keep_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not finite"):
        train(tmp_path / "run", Breaking)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["status"] == "failed"
    policies = polyak.load(tmp_path / "run").saved.tree("final")
    assert all(np.isfinite(leaf).all() for leaf in leaves(policies))


@pytest.mark.parametrize("backend", ["host", "device"])
@pytest.mark.parametrize("evaluations", [0, 1])
def test_learning_that_diverged_is_no_result(backend: str, evaluations: int, tmp_path: Path) -> None:
    """Of values that are not numbers an index is chosen all the same, so nothing else would show it."""
    config = {"learning_rate": 1e20, "layers": (8,)}
    plan = {"env_steps": 300, "warmup": 50, "batch": 8, "evaluations": evaluations, "score_episodes": 1}
    with pytest.raises(RunError, match=r"policy of seed 0 is not finite.*; nothing that was learned is kept"):
        polyak.train("dqn", "CartPole-v1", config=config, plan=plan, backend=backend, out=tmp_path / "run")
    run = polyak.load(tmp_path / "run")
    assert run.record.status == "failed"
    assert all(np.isfinite(leaf).all() for which in ("final", "best") for leaf in leaves(run.saved.tree(which)))


def leaves(tree: Any) -> list[np.ndarray]:
    import jax

    return jax.tree.leaves(tree)


def test_auto_takes_the_device_where_it_can() -> None:
    def chosen(env: Any, **plan: Any) -> bool:
        return request.compiled_for(EnvSource.of(env), polyak.ReplayPlan(**plan), "auto") is not None

    assert chosen("Pendulum-v1")
    assert chosen(Drift)
    assert not chosen("LunarLander-v3")
    assert not chosen("Pendulum-v1", updates_per="episode", updates=1)


def test_says_why_the_device_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"LunarLanderContinuous-v3 cannot be compiled.*use backend=.host"):
        request.compiled_for(EnvSource.of("LunarLanderContinuous-v3"), polyak.ReplayPlan(), "device")
    with pytest.raises(UsageError, match=r"up to 200 steps, not rollout_length = 128: use backend=.host"):
        train(tmp_path / "run", plan={**SMALL["plan"], "updates_per": "episode", "updates": 1})
    with pytest.raises(UsageError, match="did you mean 'device'"):
        train(tmp_path / "run", backend="devise")
    assert not (tmp_path / "run").exists()
