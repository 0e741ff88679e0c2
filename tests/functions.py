"""Small functional environments, for tests of what is compiled around them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv


class Drift(FuncEnv[Any, Any, Any, Any, Any, Any, Any]):
    """A point that the action pushes and chance shakes; the task ends beyond 1, or by the time limit of 7 steps."""

    observation_space = spaces.Box(-9, 9, (2,), np.float32)
    action_space: Any = spaces.Box(-2, 4, (1,), np.float32)
    max_episode_steps: int | None = 7

    def initial(self, rng: jax.Array, params: Any = None) -> Any:
        return {"place": jax.random.uniform(rng, (), minval=-1.0, maxval=0.5), "steps": jnp.int32(0)}

    def transition(self, state: Any, action: Any, rng: jax.Array, params: Any = None) -> Any:
        push = 0.2 * action.sum() + 0.1 * jax.random.normal(rng)
        return {"place": state["place"] + push, "steps": state["steps"] + 1}

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.stack([state["place"], 0.1 * state["steps"]])

    def reward(self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None) -> Any:
        return next_state["place"] - 0.1 * action.sum() ** 2

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.abs(state["place"]) > 1.0


class Choice(Drift):
    """The same point, pushed to the left or to the right."""

    action_space: Any = spaces.Discrete(2, start=-1)


class Breaking(Drift):
    """A point whose rewards stop being numbers after some steps."""

    def reward(self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.where(next_state["steps"] > 5, jnp.nan, 1.0)


class Keyed(Drift):
    """The same point, whose chance comes from a key of its own, and in whole numbers."""

    def initial(self, rng: jax.Array, params: Any = None) -> Any:
        return {**super().initial(rng), "key": rng}

    def transition(self, state: Any, action: Any, rng: jax.Array, params: Any = None) -> Any:
        key, draw = jax.random.split(state["key"])
        moved = super().transition({"place": state["place"], "steps": state["steps"]}, action, rng)
        return {**moved, "place": moved["place"] + 0.01 * jax.random.poisson(draw, 1.0), "key": key}


class Pictured(Drift):
    """The same point, as a picture whose color is where it is."""

    def render_init(self, params: Any = None, **asked: Any) -> Any:
        return {"pictures": 0}

    def render_image(self, state: Any, render_state: Any, params: Any = None) -> Any:
        color = int(128 + 50 * float(state["place"]))
        return {"pictures": render_state["pictures"] + 1}, np.full((8, 8, 3), color, np.uint8)
