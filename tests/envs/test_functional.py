"""Functional environments as the device loop uses them: units, time limit, and what is refused before compilation."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from polyak import UsageError
from polyak.envs.classic import CartPole
from polyak.envs.functional import CompiledEnv, find
from polyak.envs.make import make
from polyak.envs.spaces import ActionScale
from polyak.types import Box, Discrete, EnvSpec, vector
from tests.fixtures.functions import Choice, Drift, Pictured

KEY = jax.random.key(0)


def world(env: Any = Drift, **members: Any) -> CompiledEnv:
    """Make a functional environment with some members replaced."""
    return CompiledEnv("Odd", type("Odd", (env,), members)(), env.max_episode_steps)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"initial": lambda self, rng, params=None: "place"}, "Odd.initial failed on JAX arrays: TypeError"),
        ({"initial": lambda self, rng, params=None: ()}, "Odd.initial returned a state without arrays"),
        (
            {"observation": lambda self, state, rng, params=None: jnp.zeros(3)},
            "Odd.observation returned float32[3], but the observation space has the shape (2,)",
        ),
        (
            {"transition": lambda self, state, action, rng, params=None: {"place": state["place"]}},
            "Odd.transition returned PyTreeDef({'place': *}), but a state is PyTreeDef({'place': *, 'steps': *})",
        ),
        (
            {"transition": lambda self, state, action, rng, params=None: {**state, "steps": 1.0 * state["steps"]}},
            "Odd.transition turned an array of the state from int32[] into float32[]: it must stay the same",
        ),
        (
            {"transition": lambda self, state, action, rng, params=None: {**state, "place": state["place"][None]}},
            "from float32[] into float32[1]",
        ),
        (
            {"reward": lambda self, state, action, next_state, rng, params=None: action},
            "Odd.reward returned float32[1], but a number has the shape ()",
        ),
        (
            {"reward": lambda self, state, action, next_state, rng, params=None: float(action.sum())},
            "Odd.reward failed on JAX arrays: ConcretizationTypeError",
        ),
        (
            {"action_space": spaces.Box(-1e300, 1e300, (1,), np.float64)},
            "whose bounds float32 cannot hold: choose bounds of smaller magnitude",
        ),
        (
            {"terminal": lambda self, state, rng, params=None: (True, False)},
            "Odd.terminal returned",
        ),
        (
            {"terminal": lambda self, state, rng, params=None: 0.5 * state["steps"]},
            "Odd.terminal returned float32[]: it must be True or False",
        ),
        (
            {
                "observation_space": spaces.Dict({"eye": spaces.Box(0, 255, (8, 9), np.uint8)}),
                "observation": lambda self, state, rng, params=None: {"eye": jnp.ones((8, 9))},
            },
            "Odd.observation returned float32[8, 9], but part 'eye' of the observation space has bytes: convert to",
        ),
        ({"observation_space": None}, "Odd has no observation_space: a FuncEnv must have one"),
        ({"observation_space": spaces.Discrete(3)}, "Odd has Discrete observations"),
        ({"action_space": spaces.Box(-np.inf, np.inf, (1,))}, "unbounded"),
    ],
)
def test_refuses_a_broken_member_and_names_it(members: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        world(**members)
    assert message in str(error.value)


def test_a_part_may_have_an_empty_name() -> None:
    unit, both = spaces.Box(-9, 9, (2,), np.float32), spaces.Dict({"": Drift.observation_space, "b": spaces.Box(0, 1)})
    for space in (both, spaces.Dict({"": unit})):
        odd = world(
            observation_space=space,
            observation=lambda self, state, rng, params=None: {"": jnp.ones(2), "b": jnp.zeros(1)},
        )
        obs = odd.start(KEY).obs
        assert {name: len(part) for name, part in obs.items()} == {name: space[name].shape[0] for name in space}


def test_knows_its_spec() -> None:
    assert world().spec == EnvSpec(vector(2), Box(1))
    assert world(Choice).spec == EnvSpec(vector(2), Discrete(2))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(np.array([-2, 0], np.float32), np.array([4, 1], np.float32)),
        spaces.Box(-1, 1, (2, 1), np.float32),
        spaces.Box(-3, 3, (2,), np.int32),
        spaces.Discrete(4, start=-1),
        spaces.MultiDiscrete([3, 2], start=[1, -1]),
        spaces.MultiBinary(2),
    ],
    ids=str,
)
def test_actions_arrive_in_the_environments_own_units(space: Any) -> None:
    """What the environment is given is what the host loop would give it."""

    def observation(self: Any, state: Any, rng: Any, params: Any = None) -> Any:
        return state["action"].astype(jnp.float32).reshape(-1)

    like = jnp.asarray(space.sample())
    env = world(
        action_space=space,
        observation_space=spaces.Box(-9, 9, (like.size,), np.float32),
        initial=lambda self, rng, params=None: {"action": jnp.zeros_like(like), "place": jnp.zeros(())},
        observation=observation,
        transition=lambda self, state, action, rng, params=None: {**state, "action": action.astype(like.dtype)},
        reward=lambda self, state, action, next_state, rng, params=None: jnp.zeros(()),
    )
    kind = env.spec.action
    if isinstance(kind, Box):
        given = np.array([[-1.0, 1.0], [0.3, -0.4], [1.0, 0.99]], np.float32)[:, : kind.size]
    else:
        given = np.array([0, 3, 2]) if isinstance(kind, Discrete) else np.array([[0, 0], [1, 1], [0, 1]])
    found = jax.vmap(lambda a: env.step(env.start(KEY), a, KEY)[1].next_obs)(jnp.asarray(given))
    np.testing.assert_allclose(found, np.reshape(ActionScale(space)(given), (3, -1)), rtol=1e-6)


def test_the_time_limit_is_counted_in_steps_and_none_means_none() -> None:
    still = {"terminal": lambda self, state, rng, params=None: jnp.zeros((), bool)}

    def ends(limit: int | None) -> list[bool]:
        env = CompiledEnv("Odd", type("Odd", (Drift,), still)(), limit)
        now, found = env.start(KEY), []
        for _ in range(7):
            now, outcome = env.step(now, jnp.zeros(1), KEY)
            found.append(bool(outcome.truncated))
            now = env.start(KEY) if outcome.ended else now
        return found

    assert ends(3) == [False, False, True, False, False, True, False]
    assert not any(ends(None))


def test_parameters_of_an_environment_are_handed_to_every_member() -> None:
    seen: list[Any] = []

    class Parametrized(Drift):
        def get_default_params(self, **options: Any) -> Any:
            return {"wind": 0.5}

        def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
            seen.append(params)
            return super().transition(state, action, rng)

    CompiledEnv("Parametrized", Parametrized(), None)
    assert seen == [{"wind": 0.5}]


def test_finds_twins_by_id_and_functional_environments_by_what_a_callable_makes() -> None:
    found = find("CartPole")
    assert found is not None
    assert (found.name, found.limit) == ("CartPole-v1", 500)
    assert isinstance(found.env, CartPole)
    own = find(Drift)
    assert own is not None
    assert own.limit == 7
    assert find("LunarLander-v3") is None
    assert find(lambda: gymnasium.make("CartPole-v1")) is None  # it may be another CartPole


def test_a_functional_environment_can_be_stepped_from_the_host() -> None:
    env = make(Drift)
    obs, _ = env.reset(seed=3)
    assert np.shape(obs) == (2,)
    truncated = terminated = False
    for _ in range(7):
        _, reward, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
        assert isinstance(reward, float)
        if terminated or truncated:
            break
    assert terminated or truncated


def test_a_functional_environment_is_drawn_by_its_own_pictures() -> None:
    env: Any = make(Pictured, render_mode="rgb_array")
    env.reset(seed=3)
    first = env.render()
    env.step(np.full(1, 3.0, np.float32))
    assert first.shape == (8, 8, 3)
    assert (env.render() != first).all()


@pytest.mark.parametrize(
    ("env", "mode", "says"),
    [
        (Drift, "rgb_array", "Drift cannot be rendered: it has no render_init"),
        (Pictured, "human", "Pictured cannot be rendered as human: a FuncEnv can only be recorded"),
    ],
)
def test_a_functional_environment_that_cannot_be_drawn_is_refused(env: Any, mode: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make(env, render_mode=mode)


@pytest.mark.parametrize("limit", ["10", 10.0, 0, -1, True])
def test_a_time_limit_that_is_none_is_refused(limit: Any) -> None:
    env = type("Odd", (Drift,), {"max_episode_steps": limit})
    for use in (find, make):
        with pytest.raises(UsageError, match=r"Odd.max_episode_steps = .* must be a whole number of steps"):
            use(env)
