"""What an installed polyak is made of."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import polyak

PACKAGE = Path(polyak.__file__).parent


def test_public_names_exist():
    assert sorted(polyak.__all__) == polyak.__all__
    assert all(getattr(polyak, name) is not None for name in polyak.__all__)
    assert not hasattr(polyak, "no_such_name")


def test_the_version_and_the_command_are_the_installed_ones():
    assert importlib.metadata.version("polyak") == polyak.__version__
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="polyak")
    assert command.value == "polyak.cli.main:main"


def test_types_are_published():
    assert (PACKAGE / "py.typed").exists()


TYPES_ONLY = {"_typeshed"}  # which type checkers bring
OPTIONAL = {"mujoco_playground": "mjx"}  # imported where it is asked for: the extra that brings it


def test_every_package_that_is_imported_is_a_dependency():
    pyproject = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    declared = {re.split(r"[\[<>=]", name)[0].lower() for name in pyproject["project"]["dependencies"]}
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
    assert set(OPTIONAL.values()) <= pyproject["project"]["optional-dependencies"].keys()
    assert {
        name.lower() for name in imported - sys.stdlib_module_names - {"polyak", *OPTIONAL, *TYPES_ONLY}
    } <= declared
