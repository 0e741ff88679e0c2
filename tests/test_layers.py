"""Imports only point down: see the picture in docs/architecture.md."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import polyak

ROOT = Path(polyak.__file__).parent

GROUND = {"errors", "fields", "lazy"}
WORDS = {"tree", "types"}
MATHEMATICS = {"numerics", "replay", "networks"}
BELOW = GROUND | WORDS | MATHEMATICS

# a room (a module of polyak, or a folder of modules) → the rooms that it may import besides itself
MAY_IMPORT = {
    **{room: GROUND for room in GROUND},
    **{room: GROUND | WORDS for room in WORDS},
    "numerics": GROUND | WORDS,
    "replay": GROUND | WORDS | {"numerics"},
    "networks": GROUND | WORDS | {"numerics"},
    "algorithms": BELOW,
    "envs": BELOW,
    "training": BELOW,  # it is given the algorithm and the environments
    "runs": BELOW | {"algorithms", "envs", "training"},
    "polyak": BELOW | {"training", "runs"},  # the public names
    "cli": BELOW | {"algorithms", "envs", "training", "runs", "polyak"},
}


def imports(source: str, package: str) -> Iterator[str]:
    """Yield what a module imports, wherever in it: "polyak.tree" or, where that is a module, "polyak.tree.static"."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str | None:
    """Return the part that a dotted name belongs to; None: it is not ours."""
    first, *rest = name.split(".")
    if first != "polyak":
        return None
    ours = rest and ((ROOT / rest[0]).is_dir() or (ROOT / f"{rest[0]}.py").exists())
    return rest[0] if ours else "polyak"


def upward(source: str, part: str, package: str = "polyak") -> list[str]:
    """Return the imports in a module's source that its part may not have."""
    allowed = MAY_IMPORT[part] | {part, None}
    return [name for name in imports(source, package) if part_of(name) not in allowed]


MODULES = {path.relative_to(ROOT.parent): path for path in sorted(ROOT.rglob("*.py"))}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_point_down(module: Path) -> None:
    name = ".".join(module.with_suffix("").parts).removesuffix(".__init__")
    part, package = part_of(name), ".".join(module.parts[:-1])
    assert part in MAY_IMPORT, f"{module} has no place yet: put it into MAY_IMPORT, as low as it can be"
    assert upward(MODULES[module].read_text(), part or "", package) == []


@pytest.mark.parametrize(
    ("part", "source", "package", "found"),
    [
        ("training", "from polyak.algorithms import ddpg", "polyak.training", ["polyak.algorithms.ddpg"]),
        ("training", "import polyak.envs.gymnasium", "polyak.training", ["polyak.envs.gymnasium"]),
        ("training", "from polyak import envs, tree", "polyak.training", ["polyak.envs"]),
        ("training", "from ..envs import gymnasium", "polyak.training", ["polyak.envs.gymnasium"]),
        ("training", "from .. import runs", "polyak.training", ["polyak.runs"]),
        ("training", "from . import plan\nfrom .plan import Plan", "polyak.training", []),
        ("algorithms", "def f():\n    from polyak.envs import probe", "polyak.algorithms", ["polyak.envs.probe"]),
        ("envs", "if True:\n    from polyak.training.plan import Plan", "polyak.envs", ["polyak.training.plan.Plan"]),
        ("networks", "from polyak import training", "polyak.networks", ["polyak.training"]),
        ("networks", "import polyak", "polyak.networks", ["polyak"]),
        ("tree", "from polyak.numerics.maths import huber", "polyak", ["polyak.numerics.maths.huber"]),
        ("errors", "from polyak.tree import pytree", "polyak", ["polyak.tree.pytree"]),
        (
            "networks",
            "import jax\nfrom polyak.numerics import maths",
            "polyak.networks",
            [],
        ),
        ("cli", "from polyak import __version__", "polyak", []),
    ],
)
def test_an_arrow_that_points_up_is_seen(part: str, source: str, package: str, found: list[str]) -> None:
    assert upward(source, part, package) == found


def test_functions_take_at_most_six_parameters() -> None:
    """More of them belong together: bundle what goes together in a class."""
    long = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                parts = node.args
                names = [argument.arg for argument in (*parts.posonlyargs, *parts.args, *parts.kwonlyargs)]
                if len([name for name in names if name not in ("self", "cls")]) > 6:
                    long.append(f"{path.name}: {node.name}")
    assert long == []
