"""Algorithms by name, by module, and by what is wrong with them."""

from pathlib import Path
from typing import Any

import pytest

from polyak.algorithms import REGISTRY, ddpg, find
from polyak.errors import UsageError
from polyak.runs import presets
from tests.fixtures import toys
from tests.fixtures.toys import linear

ROOT = Path(__file__).parents[2]


def test_every_algorithm_module_is_registered_with_presets_a_page_and_tests():
    names = {path.stem for path in (ROOT / "polyak" / "algorithms").glob("*.py")} - {"__init__"}
    assert set(REGISTRY) == set(presets.PRESETS) == names
    for name in names:
        assert find(name) == (name, REGISTRY[name])
        assert (ROOT / "docs" / "algorithms" / f"{name}.md").is_file()
        assert (ROOT / "tests" / "algorithms" / f"test_{name}.py").is_file()
        assert f"docs/algorithms/{name}.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_an_algorithm_is_found_by_its_name_its_module_and_its_path():
    assert find("ddpg") == find(ddpg) == ("ddpg", ddpg)
    assert find("polyak.algorithms.ddpg")[1] is ddpg
    assert find(linear)[1] is linear


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def oops(:", "mine cannot be imported: SyntaxError: "),
        ("from math import tan2", "mine cannot be imported: ImportError: cannot import name 'tan2'"),
        ("1 / 0", "mine cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit", "mine cannot be imported: it called sys.exit()"),
        ("import no_such_package", "mine imports no_such_package, which is not installed"),
        (
            "import dataclasses; Config = dataclasses.make_dataclass('Config', [])",
            "mine is not an algorithm: it has no learns_from",
        ),
    ],
)
def test_a_module_that_is_no_algorithm_is_refused(
    source: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = f"algorithm_{abs(hash(source))}"  # of its own, because Python remembers what it imported
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError) as refused:
        find(name)
    assert str(refused.value).replace(name, "mine").startswith(says)


@pytest.mark.parametrize("config", [dict, None, linear.Config()], ids=["class", "None", "instance"])
def test_a_config_that_is_no_dataclass_is_refused(config: Any):
    with pytest.raises(UsageError, match=r"make its Config a class with the decorator polyak\.tree\.pytree"):
        find(toys.variant(linear, Config=config))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [(None, "name an algorithm"), ("dpg", "did you mean 'ddpg'"), ("a b", "dotted path"), (3, "is not an algorithm")],
)
def test_what_names_no_algorithm_is_refused(wrong: Any, says: str):
    with pytest.raises(UsageError, match=says):
        find(wrong)
