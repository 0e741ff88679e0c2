"""Policies that were saved: they act without JAX, in forked processes, as copies, whatever their folder says."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from gymnasium import spaces

import polyak
from polyak import UsageError
from polyak.envs.make import EnvSource
from polyak.envs.spaces import Spaces
from polyak.runs import files, policy
from polyak.runs.policy import Saved
from polyak.training.acting import Behavior, make_acting
from polyak.training.numpy_trial import Verdict
from polyak.types import Box, Discrete, MultiDiscrete
from tests.fixtures import small
from tests.fixtures.agents import Agent, every_agent
from tests.fixtures.envs import Lopsided

ROOT = Path(__file__).parents[2]


def python(program: str, *arguments: object) -> str:
    """Run a program in a fresh interpreter; return what it printed."""
    words = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def action_space(kind: Any) -> Any:
    """Return a space of a kind."""
    if isinstance(kind, Box):
        return spaces.Box(-1, 1, (kind.size,))
    return spaces.Discrete(kind.n) if isinstance(kind, Discrete) else spaces.MultiDiscrete(kind.sizes)


def save(agent: Agent, folder: Path) -> Any:
    """Save an agent's policy as a run does; return the tree."""
    seen = spaces.Box(-np.inf, np.inf, (agent.spec.obs.shape[0],))
    tree = jax.tree.map(lambda leaf: np.asarray(leaf)[None], agent.init().policy)
    facts = {
        "algorithm": agent.name,
        "config": files.settings_to_json(agent.config),
        "seeds": [0],
        "best_seed": 0,
        "acts_in_numpy": True,
        "env": "Some-v0",
    }
    folder.mkdir(parents=True)
    policy.save(folder, facts, {"final": tree, "best": tree}, Spaces(seen, action_space(agent.spec.action)))
    return tree


ACT = """
import sys
sys.modules["jax"] = sys.modules["optax"] = sys.modules["jaxlib"] = None
from pathlib import Path
import numpy as np
from polyak.runs.policy import Saved
for folder in sys.argv[1:]:
    saved = Saved(Path(folder))
    loaded = saved.policy()
    obs = np.random.default_rng(0).standard_normal((3, saved.spec.obs.shape[0]), np.float32)
    for explore in (False, True):
        print(*np.asarray(loaded(obs, deterministic=not explore), float).ravel())
"""


def test_every_algorithm_acts_without_jax(tmp_path: Path) -> None:
    agents = [agent for agent in every_agent() if agent.fullest or agent.variant == "plain"]
    assert {type(agent.spec.action) for agent in agents} == {Box, Discrete, MultiDiscrete}
    trees = [save(agent, tmp_path / str(i)) for i, agent in enumerate(agents)]
    lines = python(ACT, *(tmp_path / str(i) for i in range(len(agents)))).splitlines()
    for i, (agent, tree) in enumerate(zip(agents, trees, strict=True)):
        for explore, line in ((False, lines[2 * i]), (True, lines[2 * i + 1])):
            behavior = Behavior(agent.algorithm, agent.config, agent.spec, num_envs=3, explore=explore)
            acting = make_acting(behavior, [0], tree, Verdict(True))
            acting.seed([int(explore)])  # the policy's second call explores
            obs = np.random.default_rng(0).standard_normal((1, 3, agent.spec.obs.shape[0]), np.float32)
            np.testing.assert_array_equal(np.array(line.split(), float), np.ravel(acting(obs)[0]))


def test_a_run_is_loaded_and_acts_without_jax(finished: polyak.Run) -> None:
    program = """
import sys
sys.modules["jax"] = None
from polyak import load
print(*load(sys.argv[1]).policy([0, 0, 0]))
"""
    np.testing.assert_allclose(np.array(python(program, finished.folder).split(), float), finished.policy(np.zeros(3)))


FORK = """
import multiprocessing, sys, tempfile, warnings
warnings.simplefilter("ignore")
import numpy as np
import jax
import polyak
jax.numpy.ones(3).block_until_ready()  # which starts JAX
run = polyak.load(sys.argv[1], trust=True)
run.policy(np.zeros(3))

def child():
    print(run.policy(np.zeros((7, 3))).shape, polyak.load(sys.argv[1]).policy(np.zeros((2, 3)), False).shape)
    print(run.evaluate(2)["episodes"])
    try:
        polyak.train("ddpg", "Pendulum-v1", steps=2000, out=tempfile.mkdtemp())
    except polyak.UsageError as error:
        print(error, flush=True)

process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(30)
if process.exitcode is None:
    process.kill()
print(process.exitcode)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_process_acts_and_evaluates_and_is_told_that_it_cannot_train(finished: polyak.Run) -> None:
    *acted, refused, code = python(FORK, finished.folder).splitlines()
    assert acted == ["(7, 2) (2, 2)", "2"]
    assert "this process was forked after JAX had started" in refused
    assert code == "0"


def test_a_used_run_and_policy_are_copied_and_pickled(finished: polyak.Run) -> None:
    obs = np.ones((4, 3), np.float32)
    expected = finished.policy(obs)
    for again in (pickle.loads(pickle.dumps(finished)), copy.deepcopy(finished), copy.copy(finished)):
        assert (again.folder, again.record) == (finished.folder, finished.record)
        np.testing.assert_array_equal(again.policy(obs), expected)
    for again in (pickle.loads(pickle.dumps(finished.policy)), copy.deepcopy(finished.policy)):
        np.testing.assert_array_equal(again(obs), expected)
        assert again.algorithm is finished.policy.algorithm


def test_what_makes_the_environment_is_copied_but_pickled_only_by_name(finished: polyak.Run) -> None:
    def make() -> Lopsided:
        return Lopsided()

    source = EnvSource(make)
    run = polyak.Run(finished.folder, finished.record, source)
    assert copy.deepcopy(run).env is copy.copy(run).env is source
    assert pickle.loads(pickle.dumps(run)).env is None
    named = polyak.Run(finished.folder, finished.record, EnvSource(Lopsided))
    assert pickle.loads(pickle.dumps(named)).env.maker is Lopsided


@pytest.fixture
def saved(finished: polyak.Run, tmp_path: Path) -> Path:
    """The policy folder of a run, to be changed."""
    return shutil.copytree(finished.folder / "policy", tmp_path / "policy")


def change(folder: Path, **changes: Any) -> None:
    """Change what a policy folder says, with a checksum that is right."""
    path = folder / "policy.json"
    facts = json.loads(path.read_text())
    del facts["sha256"]
    files.write_json(path, {**facts, **changes}, sealed=True)


def described(folder: Path) -> Any:
    """Read the description of the tree."""
    return json.loads((folder / "policy.json").read_text())["tree"]


def test_a_description_that_is_missing_or_wrong_is_not_needed(saved: Path, finished: polyak.Run) -> None:
    obs = np.ones((4, 3), np.float32)
    tree = described(saved)
    actor = {**tree["actor"], "mlp": {**tree["actor"]["mlp"], "style": {"class": "polyak.networks.layers.Style"}}}
    senseless = {**tree, "actor": {**tree["actor"], "bound": 7, "mlp": {**tree["actor"]["mlp"], "linear_end": "no"}}}
    for changed in (None, 3, {**tree, "class": "os.system"}, {**tree, "actor": actor}, senseless):
        change(saved, tree=changed)
        np.testing.assert_allclose(Saved(saved).policy()(obs), finished.policy(obs), rtol=1e-6)


def test_arrays_that_are_neither_described_nor_the_algorithms_are_refused(saved: Path) -> None:
    wider = json.loads(json.dumps(described(saved)).replace("float32[2,3,8]", "float32[2,3,9]"))
    assert wider != described(saved)
    config = json.loads((saved / "policy.json").read_text())["config"]
    for changed in ({"tree": wider}, {"tree": 3, "config": {**config, "actor_layers": [9]}}):
        change(saved, **changed)
        with pytest.raises(UsageError, match="expected float32"):
            Saved(saved).policy()


def test_a_policy_that_acts_in_jax_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = small.train(
        tmp_path / "run",
        algorithm="tests.fixtures.splitting",
        steps=60,
        seeds=1,
        quiet=False,
    )
    said = [line for line in capsys.readouterr().err.splitlines() if "compiled program" in line]
    assert len(said) == 1
    assert "slower: on NumPy arrays it raises TypeError" in said[0]
    assert json.loads((run.folder / "policy" / "policy.json").read_text())["acts_in_numpy"] is False
    assert run.policy(np.zeros(3)).shape == (2,)


@pytest.mark.parametrize("backend", ["host", "device"])
def test_the_bits_are_the_same_where_64_bits_are_turned_on(backend: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "env": "Pendulum-v1", "steps": 300, "backend": backend, "plan": {"evaluations": 1, "score_episodes": 1}
    }  # fmt: skip
    runs = [small.train(tmp_path / "narrow", **settings)]
    with jax.enable_x64(True):
        runs.append(small.train(tmp_path / "wide", **settings))
        small.assert_same_policies(*runs)
        assert runs[1].scores == runs[0].scores
        np.testing.assert_array_equal(runs[1].policy(np.ones(3)), runs[0].policy(np.ones(3)))
    assert {leaf.dtype for leaf in jax.tree.leaves(runs[1].saved.tree("best"))} == {np.dtype(np.float32)}
