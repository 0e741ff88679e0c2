"""Descriptions of trees: what comes back is what was described, and of what others wrote nothing is run or imported."""

import json
import sys
from typing import Any

import jax
import numpy as np
import pytest

from polyak.runs.structure import Shape, describe, rebuild
from polyak.tree import map_leaves
from tests.fixtures import toys
from tests.fixtures.agents import Agent, every_agent, label


@pytest.mark.parametrize("agent", every_agent(), ids=label)
def test_every_policy_is_described_and_rebuilt(agent: Agent) -> None:
    policy = jax.eval_shape(lambda key: agent.algorithm.init(agent.config, agent.spec, key), jax.random.key(0)).policy
    rebuilt = rebuild(json.loads(json.dumps(describe(policy))), ("polyak",))
    assert jax.tree.structure(rebuilt) == jax.tree.structure(policy)
    assert rebuilt == map_leaves(lambda leaf: Shape(leaf.shape, np.dtype(leaf.dtype)), policy)


def test_containers_and_numbers_without_axes() -> None:
    tree = {"b": (np.ones((), np.uint32), None, ()), "a": {"class": np.zeros((2, 0), bool)}}
    assert rebuild(describe(tree), ()) == map_leaves(lambda leaf: Shape(leaf.shape, leaf.dtype), tree)


def test_what_json_does_not_know_has_no_description() -> None:
    for tree in ([np.ones(1)], {1: np.ones(1)}, toys.Policy(object(), np.ones(1)), 3.0):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="has no description"):
            describe(tree)


LINEAR = {"class": "polyak.networks.layers.Linear", "weight": "float32[3,2]", "bias": "float32[2]"}
WRONG: list[Any] = [
    3,
    True,
    "float32",
    "float32[-1]",
    "float32[1,]",
    "float32[]x",
    "object[3]",
    f"float32[{10**30}]",
    {},
    {"dict": []},
    {"class": 3},
    {"class": "polyak.networks.layers.Linear"},
    {**LINEAR, "more": "float32[2]"},
    {**LINEAR, "class": "polyak.networks.layers.relu"},
    {**LINEAR, "class": "polyak.networks.layers.Lnear"},
    {**LINEAR, "class": "polyak.nowhere.Linear"},
    {**LINEAR, "class": "Linear"},
    {**LINEAR, "class": ""},
    {"class": "polyak.types.Box", "size": 3},  # a dataclass, but no tree
    {"class": "tests.fixtures.toys.Policy", "weight": "float32[1]", "updates": "float32[]"},  # of another package
]


@pytest.mark.parametrize("description", WRONG, ids=str)
def test_what_describes_no_tree_is_refused(description: Any) -> None:
    import polyak.networks.layers

    assert polyak.networks.layers
    for part in (description, [description], {"dict": {"a": description}}, {**LINEAR, "bias": description}):
        with pytest.raises(ValueError, match=r"."):
            rebuild(part, ("polyak",))


def test_a_description_imports_nothing_and_makes_nothing_that_checks_itself() -> None:
    sys.modules.pop("this", None)
    with pytest.raises(ValueError, match="there is no class"):
        rebuild({"class": "this.s"}, ("polyak", "this"))
    assert "this" not in sys.modules
