"""Find out by a trial whether an algorithm's `act` works on NumPy arrays, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from polyak.errors import reason
from polyak.lazy import jax
from polyak.numerics.draws import LaneGenerators
from polyak.numerics.keys import key
from polyak.numerics.precision import compiled
from polyak.training import devices
from polyak.tree import map_leaves, named_leaves
from polyak.types import Algorithm, Array, ArraySpec, EnvSpec, Obs, Tree, init_memory

T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """Whether an algorithm's `act` works on NumPy arrays; if not, the reason, and the fix if it is known."""

    in_numpy: bool
    reason: str = ""


def try_in_numpy(algorithm: Algorithm, config: Tree, spec: EnvSpec, policy: Tree) -> Verdict:
    """Try whether `act` gives correct results on NumPy arrays, for two lanes derived from the policy of one.

    The results for both lanes together, with a lane axis, must equal those for each alone without it, and, without
    exploration, those of the compiled program.
    """
    rng = np.random.default_rng(0)
    obs = map_leaves(partial(_made_up, rng), spec.observation())
    memory = map_leaves(lambda leaf: np.tile(leaf, (2, 3, *[1] * np.ndim(leaf))), init_memory(algorithm, config, spec))
    lanes = map_leaves(lambda leaf: leaf[:1] + np.arange(2).reshape(2, *[1] * (leaf.ndim - 1)) * leaf[:1], policy)
    lanes = map_leaves(lambda leaf, like: leaf.astype(like.dtype), lanes, policy)

    def act(explore: bool) -> tuple[Array, Tree]:
        return algorithm.act(config, lanes, memory, obs, LaneGenerators([0, 1], [0, 0]), explore)

    def act_alone(lane: int, explore: bool) -> tuple[Array, Tree]:
        policy, carried = lane_of(lanes, lane), lane_of(memory, lane)
        return algorithm.act(config, policy, carried, lane_of(obs, lane), LaneGenerators([lane], [0]), explore)

    try:
        together = {explore: act(explore) for explore in (True, False)}
        alone = [
            (act_alone(lane, explore), lane_of(together[explore], lane)) for lane in (0, 1) for explore in together
        ]
    except Exception as error:  # written for one lane or for JAX only
        return Verdict(False, _why_raised(error))
    if any(isinstance(leaf, jax.Array) for found in together.values() for leaf in named_leaves(found).values()):
        return Verdict(False, f"given NumPy arrays it returns JAX arrays{JNP}")
    if not all(_agree(one, other) and _agree(other, one) for one, other in alone):
        return Verdict(False, f"on NumPy arrays of two seeds it does not do what it does on those of each alone{AXES}")
    devices.prepare()
    with jax.default_device(devices.to_act_on()):
        program = devices.cached(act_program, algorithm, False, config=config)
        if _agree(together[False], program(config, lanes, memory, obs, np.zeros(2, np.uint32))):
            return Verdict(True)
    return Verdict(False, "on NumPy arrays it does not do what it does compiled")


def _made_up(rng: np.random.Generator, array: ArraySpec) -> np.ndarray:
    """Draw random observations of two lanes with three environments."""
    shape = (2, 3, *array.shape)
    if array.dtype == "float32":
        return rng.standard_normal(shape, dtype=np.float32)
    return rng.integers(256, size=shape, dtype=array.dtype)


KEY = "; draw all its random numbers in one call of polyak.numerics.draws, which needs no JAX key"
AT = "; choose between arrays with np.where or by arithmetic, since NumPy arrays have no `.at`"
JNP = "; use operators and methods of arrays where it calls jax.numpy, such as `x.clip(-1, 1)`"
AXES = "; let it count axes from the last, as in `obs[..., :2]` and `x @ w + b[..., None, :]`"


def _why_raised(error: Exception) -> str:
    message = reason(error)
    fix = ""
    if LaneGenerators.__name__ in message:  # JAX, or unpacking, was given them in place of a key
        fix = KEY
    elif isinstance(error, AttributeError) and error.name == "at":
        fix = AT
    first_line = message.partition("\n")[0]
    return f"on NumPy arrays it raises {type(error).__name__}: {first_line}{fix}"


def _agree(found: Tree, expected: Tree) -> bool:
    """Return whether a tree of NumPy arrays equals another up to rounding."""
    leaves, wanted = list(named_leaves(found).values()), list(named_leaves(expected).values())
    return len(leaves) == len(wanted) and all(
        isinstance(leaf, np.ndarray) and leaf.shape == np.shape(like) and np.allclose(leaf, like, rtol=1e-4, atol=1e-5)
        for leaf, like in zip(leaves, wanted, strict=True)
    )


def lane_of(tree: T, lane: int) -> T:
    """Take one lane of a tree of NumPy arrays; scalars remain arrays."""
    return map_leaves(lambda leaf: leaf[lane, ...], tree)


def act_program(algorithm: Algorithm, explore: bool) -> compiled[tuple[Array, Tree]]:
    """Compile `act` for all lanes: a function of config, policy, memory, observations and 32 random bits per lane."""

    def act(config: Tree, policy: Tree, memory: Tree, obs: Obs, bits: jax.Array) -> tuple[Array, Tree]:
        return algorithm.act(config, policy, memory, obs, key(bits), explore)

    return compiled(jax.vmap(act, in_axes=(None, 0, 0, 0, 0)))
