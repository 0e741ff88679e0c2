"""Environments by their names: made, named, found again, and what is said where there is none."""

import functools
import pickle
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.wrappers import NormalizeObservation

from polyak.envs import functional
from polyak.envs.gymnasium import Environment, VectorEnv
from polyak.envs.make import EnvSource, make
from polyak.envs.names import from_name, name_of
from polyak.errors import UsageError
from tests.fixtures.walk import Kept, Walk


def test_make_from_id_callable_and_module() -> None:
    assert make("Pendulum-v1").observation_space.shape == (3,)
    assert make("gymnasium:Pendulum-v1").observation_space.shape == (3,)
    assert isinstance(make(Walk), Walk)
    assert isinstance(make("tests.fixtures.walk:Walk"), Walk)


def test_make_an_environment_that_cannot_be_rendered(monkeypatch: Any) -> None:
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    gymnasium.register("PolyakWalk-v0", entry_point="tests.fixtures.walk:Walk")  # takes no render_mode
    assert isinstance(make("PolyakWalk-v0").unwrapped, Walk)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("Pendulun-v1", "unknown environment 'Pendulun-v1': did you mean 'Pendulum-v1'?"),
        ("CartPol", "did you mean 'CartPole-v"),
        ("Pendulum-v0", "unknown environment 'Pendulum-v0': did you mean 'Pendulum-v1'?"),
        ("phys2d/Pendulun-v0", "did you mean 'phys2d/Pendulum-v0'?"),
        ("phis2d/Pendulum-v1", "did you mean 'Pendulum-v1'?"),
        ("HalfCheetah-v3", "HalfCheetah-v3 cannot be made: "),
        ("tests.fixtures.walk:Wolk", "tests.fixtures.walk has no attribute 'Wolk', and no such id is registered; "),
        ("my.py", "my.py: name the module as Python imports it, not its file: my:MyEnvironment"),
        ("my.py:World", "not its file: my:World"),
        ("./envs/my:World", "not its file: envs.my:World"),
        ("no_such_module:Pendulum-v1", "there is no module 'no_such_module'"),
        (Walk(), "give a callable"),
        (lambda: "a string", "returned a str, not a gymnasium.Env"),
        (
            lambda: type("CartPoleEnv", (), {"__module__": "gym.envs.classic_control"})(),
            "returned a CartPoleEnv, not a gymnasium.Env: wrap an environment of Gym's in shimmy.GymV21Compatibility",
        ),
    ],
    ids=[
        *(
            "misspelled",
            "without-version",
            "version",
            "namespace",
            "no-namespace",
            "retired",
            "attribute",
            "file",
            "file:name",
            "path",
            "module",
        ),
        *("instance", "not-an-environment", "old-gym"),
    ],
)
def test_make_refuses(env: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        make(env)
    assert message in str(error.value)


def test_a_module_that_exits_when_it_is_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_script.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"a_script:World cannot be made: it called sys\.exit\(\)"):
        make("a_script:World")


@pytest.mark.parametrize("env", ["Pendulum", "gymnasium:Pendulum"])
def test_an_id_without_a_version_is_the_newest(env: str) -> None:
    assert name_of(env) == f"{env}-v1"
    assert make(env).spec.id == "Pendulum-v1"  # type: ignore[union-attr]


def test_an_older_version_that_can_be_made_is_what_was_asked_for(monkeypatch: Any) -> None:
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    for version in (2, 3, 10):
        gymnasium.register(f"PolyakWalk-v{version}", entry_point="tests.fixtures.walk:Walk")
    assert make("PolyakWalk-v2").spec.id == "PolyakWalk-v2"  # type: ignore[union-attr]


def test_a_missing_package_is_named_with_its_extra(monkeypatch: Any) -> None:
    def missing(*_: Any, **__: Any) -> Any:
        raise gymnasium.error.DependencyNotInstalled('MuJoCo is not installed, run `pip install "gymnasium[mujoco]"`')

    monkeypatch.setattr(gymnasium, "make", missing)
    with pytest.raises(UsageError, match=r'pip install "mujoco==3.17.0"'):
        make("Ant-v5")


def test_names_lead_back_to_what_makes_the_environment() -> None:
    assert from_name(name_of("Pendulum-v1")) == "Pendulum-v1"
    assert name_of(Walk) == "tests.fixtures.walk:Walk"
    assert from_name("tests.fixtures.walk:Walk") is Walk
    assert from_name("no_such_module:Thing-v0") == "no_such_module:Thing-v0"


@pytest.mark.parametrize("env", [functools.partial(Walk, limit=3), lambda: Walk(), Kept(Walk)])
def test_a_name_that_leads_nowhere_never_leads_somewhere_else(env: Any) -> None:
    with pytest.raises(UsageError, match="pass it as env"):
        from_name(name_of(env))


def test_what_is_missing_inside_an_environment_is_named(monkeypatch: Any) -> None:
    monkeypatch.setattr(gymnasium, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium.envs.registration, "registry", gymnasium.registry)
    gymnasium.register("Outer-v0", entry_point=lambda: gymnasium.make("Inner-v0"))
    with pytest.raises(UsageError, match="Outer-v0 cannot be made: NameNotFound: Environment `Inner` doesn't exist"):
        make("Outer-v0")


def test_a_class_inside_a_class_is_found_by_its_name() -> None:
    assert from_name("tests.envs.test_make:Outer.Inner") is Outer.Inner
    assert name_of(Outer.Inner) == "tests.envs.test_make:Outer.Inner"


class Outer:
    class Inner(Walk):
        pass


class Simulator(Walk):
    """Counts those that are open."""

    open = 0

    def __init__(self) -> None:
        super().__init__()
        Simulator.open += 1

    def close(self) -> None:
        Simulator.open -= 1


class Texts(Simulator):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gymnasium.spaces.Text(5)


class Spaceless(Simulator):
    def __init__(self) -> None:
        super().__init__()
        del self.action_space


@pytest.mark.parametrize(
    "env",
    [Texts, Spaceless, lambda: NormalizeObservation(Simulator()), list],
    ids=["observations", "no space", "statistics", "not an environment"],
)
def test_an_environment_that_is_refused_is_closed(env: Any) -> None:
    Simulator.open = 0
    with pytest.raises(UsageError):
        Environment(env)
    assert Simulator.open == 0


def test_copies_made_before_one_that_cannot_be_made_are_closed() -> None:
    def third_fails() -> Simulator:
        if Simulator.open == 2:
            sys.exit("no more licenses")
        return Simulator()

    Simulator.open = 0
    with pytest.raises(UsageError, match=r"third_fails cannot be made: it called sys.exit\('no more licenses'\)"):
        VectorEnv(third_fails, [3, 4], 2)
    assert Simulator.open == 0


def test_a_functional_environment_that_is_looked_for_in_vain_is_closed() -> None:
    Simulator.open = 0
    assert functional.find(Simulator) is None
    assert Simulator.open == 0


@pytest.mark.parametrize("anew", [lambda env: env, lambda env: gymnasium.wrappers.TimeLimit(env, 3)])
def test_a_callable_that_returns_the_same_environment_again_is_refused(anew: Any) -> None:
    shared = Walk()
    with pytest.raises(UsageError, match="returned the same environment twice"):
        VectorEnv(lambda: anew(shared), [3], 2)
    source = EnvSource(lambda: anew(shared))
    source.make().close()
    with pytest.raises(UsageError, match="make a new environment in every call"):
        source.make()


def test_what_a_name_leads_to_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    def look_up(name: str) -> Any:
        looked_up.append(name)
        return from_name(name)

    monkeypatch.setattr("polyak.envs.make.from_name", look_up)
    source = EnvSource("tests.fixtures.walk:Walk")
    envs = VectorEnv(source, [3], 2)
    assert EnvSource.of(source) is source
    assert (source.name, source.found, source.can_be_found) == ("tests.fixtures.walk:Walk", Walk, True)
    assert looked_up == ["tests.fixtures.walk:Walk"]
    envs.close()


def test_a_source_is_sent_to_another_process_without_what_it_found() -> None:
    source = EnvSource("tests.fixtures.walk:Walk", {"limit": 3})
    source.make().close()
    sent = pickle.loads(pickle.dumps(source))
    assert (sent.maker, sent.kwargs, sent.made) == (source.maker, source.kwargs, [])
    assert "found" not in vars(sent)
    assert sent.found is Walk


def test_an_environment_without_spaces_is_refused():
    with pytest.raises(UsageError, match="has no observation_space: an environment must have one"):
        make(gymnasium.Env)


def test_an_id_of_a_namespace_that_nobody_registered_suggests_no_other_environment() -> None:
    with pytest.raises(UsageError, match=r"no module that was imported registers ALE/.*module:ALE/Pong-v5"):
        make("ALE/Pong-v5")
