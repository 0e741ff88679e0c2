"""Public functions say what they take and return: `Any` stands in their signatures only where nothing else is true."""

import ast
from collections.abc import Iterator
from pathlib import Path

import polyak

ROOT = Path(polyak.__file__).parent

# functions whose signatures have `Any`, and why
EXCEPTIONS = {
    "cli/train_flags.py:asking": "returns a class that is made at run time, to derive from",
    "cli/train_flags.py:training": "takes and returns such classes",
    "envs/flatten.py:parts_of": "takes a Dict or a Tuple space, which its callers know by exclusion",
    "envs/spaces.py:from_json": "reads a description whose structure depends on the kind of space",
    "envs/witness.py:reset": "passes on whatever arguments an environment takes",
    "envs/witness.py:unlike": "indexes observations of any structure",
    "runs/starting.py:in_order": "returns its arguments in an order that depends on their values",
    "tree.py:static": "without a default it fits any annotation, as dataclasses.field",
}


def with_any(source: str) -> Iterator[str]:
    """Yield the public functions of a module whose signature has the name `Any`."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef) or (node.name.startswith("_") and not node.name.startswith("__")):
            continue
        arguments = ast.walk(node.args)
        annotations = [part.annotation for part in arguments if isinstance(part, ast.arg)] + [node.returns]
        names = [part for note in annotations if note is not None for part in ast.walk(note)]
        if any(isinstance(part, ast.Name) and part.id == "Any" for part in names):
            yield node.name


def test_any_is_found() -> None:
    source = "def f(x: Any): ...\ndef _g(x: Any): ...\nclass A:\n    def __call__(self, *x: int) -> list[Any]: ..."
    assert list(with_any(source)) == ["f", "__call__"]


def test_public_signatures_have_types() -> None:
    files = sorted(ROOT.rglob("*.py"))
    found = {f"{path.relative_to(ROOT).as_posix()}:{name}" for path in files for name in with_any(path.read_text())}
    assert found == EXCEPTIONS.keys()
