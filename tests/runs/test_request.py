"""Requests that cannot work: refused with code 2 and one line that says what to do, and nothing is written."""

import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import polyak
from polyak import UsageError
from tests.fixtures.small import ENV, command

WORLDS = "tests.fixtures.envs"

WRONG = {
    "trian": "unknown command 'trian': did you mean 'train'?",
    "train": "for example: polyak train ddpg Pendulum-v1",
    "train ddpg": "for example: polyak train ddpg Pendulum-v1",
    "train own/algorithm.py Pendulum-v1": "name the module as Python imports it, not its file: own.algorithm",
    "train ddpg Pendulum-v1 --env-kwargs g=3": "a flag of its own: --env.g 4.0",
    "train dgpd Pendulum-v1": "unknown algorithm 'dgpd': choose one of: a2c, crossq, ddpg, dqn, ppo",
    "train polyak.numerics.draws Pendulum-v1": "is not an algorithm",
    "train ddpg Pendulm-v1": "unknown environment 'Pendulm-v1': did you mean 'Pendulum-v1'?",
    "train ddpg Pendulum-v99": "unknown environment 'Pendulum-v99'",
    "train ddpg no_such_module:Thing-v0": "no module 'no_such_module'",
    "train ddpg :Thing-v0": ":Thing-v0",
    f"train ddpg {WORLDS}:Lopsded-v0": "did you mean 'Lopsided-v0'?",
    "train ddpg CartPole-v1": "ddpg does not take Discrete actions, which CartPole-v1 has (Discrete(2))",
    f"train ddpg {WORLDS}:Unbounded-v0": "is unbounded: set",
    f"train ddpg {WORLDS}:Empty-v0": "leaves no choice",
    f"train ddpg {WORLDS}:Sizeless-v0": "is empty",
    f"train ddpg {WORLDS}:Several-v0": "ddpg does not take MultiDiscrete actions, which",
    f"train ddpg {WORLDS}:Worded-v0": "observations are a Text space",
    "train dqn Pendulum-v1": "dqn does not take Box actions, which Pendulum-v1 has",
    "train ppo CartPole-v1 --config.priority-alpha 0.6": "td3 have it",
    "train ppo CartPole-v1 --config.minibatch 96": "does not divide the rollout of rollout_length × envs = 25 × 8",
    "train a2c CartPole-v1 --steps 90 --plan.rollout-length 100": "is not a multiple of rollout_length × envs = 100",
    "train a2c CartPole-v1 --plan.updates 2": "updates is for algorithms that learn from a replay buffer",
    "train dqn CartPole-v1 --steps 2000 --config.n-step 2001": "n_step = 2001 does not fit the replay buffer",
    "train sac Pendulum-v1 --config.architecture simba --config.actor-layers 8 4": "the blocks of SimBa have one width",
    "train ddpg Pendulum-v1 --confg.gamma 1": "unknown flag --confg.gamma: did you mean --config.gamma?",
    "train ddpg Pendulum-v1 --config.gama 1": "unknown flag --config.gama: did you mean '--config.gamma'?",
    "train ddpg Pendulum-v1 --plan.rollot-length=3": "did you mean '--plan.rollout-length'?",
    "train ddpg Pendulum-v1 --config.gamma 3": "gamma = 3.0 is too large: it must be at most 1",
    "train ddpg Pendulum-v1 --config.gamma nan": "gamma is not a number",
    "train ddpg Pendulum-v1 --config.loss hubr": "'huber'",
    "train ddpg Pendulum-v1 --preset papr": "ddpg has no preset 'papr': did you mean 'paper'?",
    "train ddpg Pendulum-v1 --xyzzy 1": "unknown flag --xyzzy: see polyak train ddpg Pendulum-v1 --help",
    "train ddpg Pendulum-v1 extra": "unexpected word 'extra': write polyak train ddpg Pendulum-v1, then flags",
    "train ddpg Pendulum-v1 --steps": "--steps takes a whole number or None",
    "train ddpg Pendulum-v1 --steps many": "--steps many: it takes a whole number or None",
    "train ddpg Pendulum-v1 --config.gamma much": "--config.gamma much: it takes a number",
    "train ddpg Pendulum-v1 --config.actor-layers a b": "actor-layers a b: it takes whole numbers with spaces between",
    "train ddpg Pendulum-v1 --steps 0": "steps = 0 must be a whole number, at least 1",
    "train ddpg Pendulum-v1 --steps -5": "steps = -5 must be a whole number",
    "train ddpg Pendulum-v1 --seeds 0": "seeds is too small: it must be at least 1",
    "train ddpg Pendulum-v1 --seeds -2": "seeds is too small",
    "train ddpg Pendulum-v1 --seed -1": "from 0 to",
    "train ddpg Pendulum-v1 --plan.batch 0": "batch = 0 is too small",
    "train ddpg Pendulum-v1 --plan.capacity 0": "capacity = 0 is too small",
    "train ddpg Pendulum-v1 --plan.capacity -1": "capacity = -1 is too small",
    "train ddpg Pendulum-v1 --plan.envs 0": "envs = 0 is too small",
    "train ddpg Pendulum-v1 --plan.rollout-length 0": "rollout_length = 0 is too small",
    "train sac CartPole-v1 --config.sigma-bound tanh": "sigma_bound = 'tanh' is for continuous actions only",
    "train sac CartPole-v1 --config.critic-state-layers 64": "critic_state_layers = (64,) is for continuous actions",
    "train sac CartPole-v1 --config.noise-correlation 0.5": "noise_correlation = 0.5 is for continuous actions only",
    "train crossq Pendulum-v1 --config.adam-b1 1": "adam_b1 = 1.0 is too large: it must be below 1",
    "train ddpg Pendulum-v1 --plan.updates 0": "updates = 0.0 is too small",
    "train ddpg Pendulum-v1 --plan.batch 100 --plan.capacity 90": "batch = 100 is larger than capacity = 90",
    "train ddpg Pendulum-v1 --steps 900 --plan.warmup 1000": "warmup = 1000 leaves none of env_steps = 900",
    "train ddpg Pendulum-v1 --plan.warmup 20000": "warmup = 20000 leaves none of env_steps = 20000",
    "train ddpg Pendulum-v1 --plan.envs 3 --steps 2": "env_steps = 2 is not a multiple of envs = 3: use 3",
    "train ddpg Pendulum-v1 --plan.envs 3 --plan.warmup 10": "warmup = 10 is not a multiple of envs = 3: use 12",
    "train ddpg Pendulum-v1 --seeds 3,4 --seed 1": "--seeds lists the seeds: leave out --seed",
    "train ddpg Pendulum-v1 --seeds 3,3": "must be different numbers",
    f"train ddpg Pendulum-v1 --steps {10**12} --plan.capacity {10**12}": "GiB of memory: use a capacity of",
    "train ddpg Pendulum-v1 --plan.updates 1e12": "the minibatches of one iteration, which are drawn at once",
    "train ddpg Pendulum-v1 --plan.updates 1e308": "GiB of memory: lower updates = 1e+308, batch = 64, or",
    "train ddpg Pendulum-v1 --plan.updates 1e300 --plan.updates-per rollout": "lower updates = 1e+300",
    f"train ddpg Pendulum-v1 --steps {10**400}": "env_steps is too large",
    f"train ddpg Pendulum-v1 --out {'x' * 300}": "cannot make the folder xxx",
    "train ddpg Pendulum-v1 --config.loss": "--config.loss takes one of",
    "resume": "polyak resume RUN",
    "resume nowhere": "there is no run folder nowhere",
    "evaluate nowhere": "there is no run folder nowhere",
    "evaluate .": ". holds no run: it has no run.json",
    "evaluate a b": "name one run folder",
    "watch nowhere": "there is no run folder nowhere",
    "plot": "name the runs to plot",
    "plot nowhere": "there is no run folder nowhere",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_request_is_one_line_and_leaves_nothing(words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert command(*words.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("polyak: error: ")
    assert WRONG[words] in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "says"), [({"backend": 3}, "backend = 3 is unknown"), ({"seeds": True}, "seeds = True must be")]
)
def test_a_wrong_type_is_a_wrong_request(wrong: dict[str, Any], says: str):
    with pytest.raises(UsageError, match=says):
        polyak.train("ddpg", "Pendulum-v1", **wrong)


@pytest.mark.parametrize("episodes", ["3", 2.5, True])
def test_episodes_are_counted_in_whole_numbers(finished: polyak.Run, episodes: Any):
    with pytest.raises(UsageError, match=r"episodes = .* must be a whole number"):
        finished.evaluate(episodes)


def test_a_wrong_request_about_a_run_is_one_line(finished: polyak.Run, capsys: pytest.CaptureFixture[str]):
    wrong = {
        "evaluate --which worst": "'best', 'final'",
        "evaluate --episodes 0": "episodes = 0 is too small",
        "evaluate --epsodes 3": "did you mean '--episodes'?",
        "resume": "is finished; to train it further",
        "watch --record agent.txt": "use a name ending in .gif or .mp4",
        "watch --record agent.gif --seed 3": "the run has no seed 3: its seeds are 0, 1",
        "plot --out curves.txt": "use a name ending in .png",
    }
    for words, says in wrong.items():
        name, *flags = words.split()
        assert command(name, str(finished.folder), *flags) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert says in err


@pytest.mark.parametrize(
    ("source", "name", "says"),
    [
        ("import no_such_package", "Unmade-v0", "no_such_package"),
        ("raise ImportError('libGL is missing')", "Unmade-v0", "libGL is missing"),
        ("def oops(:", "Unmade-v0", "invalid syntax"),
        ("import gymnasium as g; g.register('Unmade-v0', entry_point=lambda: open('map'))", "Unmade-v0", "'map'"),
        ("def unmade(): open('map')", "unmade", "'map'"),
    ],
)
def test_a_module_of_the_users_own_that_fails_is_one_line(
    source: str,
    name: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "my_broken_world.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_broken_world", raising=False)
    assert command("train", "ddpg", f"my_broken_world:{name}", "--out", "new") in (1, 2)
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert says in err
    assert not Path("new").exists()


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def missing(*_: Any, **__: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("Box2D is not installed, run `pip install swig`\nand more")

    monkeypatch.setattr(gymnasium, "make", missing)
    assert command("train", "ddpg", "LunarLanderContinuous-v3") == 2
    assert capsys.readouterr().err == (
        'polyak: error: LunarLanderContinuous-v3 needs a package that is missing: pip install "gymnasium[box2d]"\n'
    )


def test_a_folder_that_holds_a_run_is_kept_unless_the_request_is_right_and_forced(
    stopped: Path, capsys: pytest.CaptureFixture[str]
):
    before = (stopped / "run.json").read_bytes()
    assert command("train", "ddpg", ENV, "--out", "stopped") == 2
    assert "stopped already holds a run" in capsys.readouterr().err
    assert command("train", "ddpg", ENV, "--out", "stopped", "--force", "--config.gamma", "7") == 2
    assert (stopped / "run.json").read_bytes() == before


@pytest.mark.parametrize("seeds", [1.5, "three", [0, 1.5]])
def test_seeds_are_whole_numbers(seeds: Any):
    with pytest.raises(polyak.UsageError, match="must be a whole number, or a list of them"):
        polyak.train("ddpg", "Pendulum-v1", seeds=seeds)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"preset": 3}, "ddpg has no preset 3"),
        ({"plan": [1]}, "plan is a list: give a ReplayPlan, or a dictionary of its fields"),
        ({"plan": {1: 2}}, "unknown field 1: "),
        ({"config": 0}, r"config is a int: give ddpg\.Config, or a dictionary of its fields"),
        ({"out": 3}, "out = 3 must be the path of a folder"),
        ({"out": b"x"}, "out = b'x' must be"),
        ({"out": "a\0b"}, "must be the path of a folder"),
        ({"steps": "many"}, "steps = 'many' must be a whole number"),
    ],
    ids=str,
)
def test_a_wrong_request_from_python_is_a_usage_error(wrong: dict[str, Any], says: str, tmp_path: Path):
    with pytest.raises(polyak.UsageError, match=says):
        polyak.train("ddpg", "Pendulum-v1", **wrong)
    assert not list(tmp_path.iterdir())


def test_networks_that_cannot_fit_into_memory_are_refused_before_any_is_made():
    for wide in ((10**9,), (10**6, 10**6), (2**62, 2**62)):
        with pytest.raises(polyak.UsageError, match=r"the networks would take .* of memory: use narrower layers"):
            polyak.train("ddpg", ENV, config={"actor_layers": wide})
