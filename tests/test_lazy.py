"""JAX is imported when it is first used, whoever uses it first, and trees are the same before and after."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from polyak.lazy import is_jax_array
from polyak.networks.layers import PLAIN, Linear
from polyak.tree import PARTS, from_named_leaves, map_leaves, named_leaves
from tests.fixtures import toys

ROOT = Path(__file__).parents[1]


def python(program: str, *arguments: str) -> str:
    """Run a program in a fresh interpreter; return what it printed."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


SLOW = ("jax", "optax", "jaxtyping", "scipy", "matplotlib", "imageio", "tensorboardX", "rich", "tyro")


def test_importing_the_library_imports_nothing_slow() -> None:
    program = "import sys; from polyak import load, resume, train; print(*sys.modules)"
    imported = set(python(program).split())
    assert "polyak.training.host" in imported
    assert imported.isdisjoint(SLOW), imported.intersection(SLOW)


@pytest.mark.parametrize("first", ["import jax", "from polyak.lazy import jax", "import jax.numpy; import jax"])
def test_trees_are_known_to_jax_whoever_imports_it(first: str) -> None:
    program = f"""
import sys
import numpy as np
from polyak.algorithms.ddpg import Config
from polyak.networks.layers import Linear
assert "jax" not in sys.modules
{first}
layer = Linear(np.ones((2, 3)), np.ones(3))
print(len(jax.tree.leaves(layer)), jax.tree.map(lambda leaf: leaf + 1, layer).bias, len(jax.tree.leaves(Config())) > 3)
print(any("polyak" in type(finder).__module__ for finder in sys.meta_path))
"""
    assert python(program) == "2 [2. 2. 2.] True\nFalse\n"


def test_jax_that_cannot_be_imported_is_the_error_it_is_without_polyak() -> None:
    program = """
import sys
from importlib.machinery import PathFinder
import polyak.networks.layers
PathFinder.find_spec = lambda *_: None
sys.path_importer_cache.clear()
try:
    import jax
except ModuleNotFoundError as error:
    print(error)
"""
    assert python(program) == "No module named 'jax'\n"


LAYERS = (Linear(np.ones((2, 3)), np.zeros(3)), Linear(np.ones((3, 1)), np.zeros(1)))
TREES = {
    "nets": toys.Policy(LAYERS, None),  # type: ignore[arg-type]
    "containers": {"b": [np.ones(1), None], "a": (np.zeros(2), {"c": np.ones(3)})},
    "checked": toys.Config(0.5),
    "leaf": np.ones(2),
    "none": None,
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_trees_are_walked_alike_without_jax(tree: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk() -> object:
        doubled = map_leaves(lambda leaf, like: leaf + like, tree, tree)
        named = named_leaves(doubled)
        again = from_named_leaves(tree, named, lambda name, leaf, stored: (name, np.shape(leaf), stored))
        return list(named), again, map_leaves(lambda leaf: np.asarray(leaf).tolist(), doubled)

    with_jax = walk()
    monkeypatch.setitem(sys.modules, "jax", None)  # type: ignore[arg-type]
    assert repr(walk()) == repr(with_jax)


def test_static_fields_are_kept_without_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    from polyak.networks.layers import MLP

    monkeypatch.setitem(sys.modules, "jax", None)  # type: ignore[arg-type]
    net = map_leaves(np.sum, MLP(LAYERS, (), True, PLAIN))
    assert (net.linear_end, net.style, net.layers[0].weight) == (True, PLAIN, 6.0)


def test_nothing_is_an_array_of_jax_before_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax.numpy as jnp

    ones = jnp.ones(2)
    assert is_jax_array(ones)
    assert not is_jax_array(np.ones(2))
    monkeypatch.setitem(sys.modules, "jax", None)  # type: ignore[arg-type]
    assert not is_jax_array(ones)


def test_every_pytree_says_what_its_parts_are() -> None:
    assert PARTS[Linear] == (["weight", "bias"], [])


def test_every_module_is_imported_without_jax() -> None:
    program = """
import importlib, pkgutil, sys
sys.modules["jax"] = sys.modules["optax"] = None
import polyak
for module in pkgutil.walk_packages(polyak.__path__, "polyak."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
    assert python(program) == ""
