"""The documentation says what the code is: settings with their defaults, metrics, links that lead somewhere."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from polyak.algorithms import REGISTRY
from polyak.cli import train
from polyak.runs import request
from polyak.training import devices
from tests.fixtures import code_names
from tests.fixtures.agents import clock, every_agent

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
WRITTEN = {True: "on", False: "off", None: "None", (): "none"}
COMMON = {"env_steps", "seed", "seconds", "updates", "episodes", "return", "length"}  # columns of every run


def section(name: str, title: str) -> str:
    """Return the part of an algorithm's page below a heading."""
    text = (ROOT / "docs" / "algorithms" / f"{name}.md").read_text(encoding="utf-8")
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def as_read(cell: str, default: Any) -> Any:
    """Read a cell of the column of defaults as a value of the default's type."""
    if isinstance(default, tuple) and default:
        return tuple(int(part) for part in cell.split())
    return float(cell) if isinstance(default, float | int) and not isinstance(default, bool) else cell


@pytest.mark.parametrize("name", REGISTRY)
def test_settings_are_those_of_the_config(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ?([^|]*?) ?\|", section(name, "Settings"), re.MULTILINE)
    fields = dataclasses.fields(REGISTRY[name].Config)
    assert [row[0] for row in rows] == [field.name for field in fields]
    for (_, default, static), field in zip(rows, fields, strict=True):
        plain = isinstance(field.default, bool | None) or field.default == ()
        wanted = WRITTEN[field.default] if plain else field.default
        assert as_read(default, wanted) == wanted, field.name
        assert static == ("×" if field.metadata.get("static") else ""), field.name


@pytest.mark.parametrize("name", REGISTRY)
def test_metrics_are_those_of_update(name: str) -> None:
    found: set[str] = set()
    for case in (case for case in every_agent() if case.name == name):
        state = jax.eval_shape(lambda key, case=case: case.algorithm.init(case.config, case.spec, key), KEY)
        found |= set(jax.eval_shape(case.algorithm.update, case.config, state, case.data(), KEY, clock(0))[1])
    described = set(re.findall(r"^\| `(\w+)`", section(name, "Metrics"), re.MULTILINE)) - COMMON
    assert described == found


KEY = jax.random.key(0)


def code_cells(text: str) -> Iterator[str]:
    """Yield the cells of every table column that is headed "in the code"."""
    column = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        if "in the code" in cells:
            column = cells.index("in the code")
        elif not line.startswith("|"):
            column = None
        elif column is not None and not set(cells[column]) <= {"-"}:
            yield cells[column]


@pytest.mark.parametrize("name", REGISTRY)
def test_code_that_equations_point_at_exists(name: str) -> None:
    cells = list(code_cells((ROOT / "docs" / "algorithms" / f"{name}.md").read_text(encoding="utf-8")))
    own = ROOT / "polyak" / "algorithms" / f"{name}.py"
    assert len(cells) >= 7
    assert [missing for cell in cells for missing in code_names.wrong(cell, own)] == []


@pytest.mark.parametrize(
    ("cell", "missing"),
    [
        ("`update`: `next_action`, `maths.td_target`", []),
        ("`init`: `next_action`", ["init: next_action"]),  # it is in another function
        ("`update`: `maths.targets`", ["update: maths.targets"]),
        ("`maths.targets`, `_improve_actor`", ["maths.targets"]),
        ("`_polish_actor`", ["_polish_actor"]),
        ("`Config.tau`; `Config.polish`", ["Config.polish"]),
    ],
)
def test_code_that_does_not_exist_is_found(cell: str, missing: list[str]) -> None:
    assert code_names.wrong(cell, ROOT / "polyak" / "algorithms" / "td3.py") == missing


@pytest.mark.parametrize(
    ("path", "broken"),
    [
        ("polyak/training/learn.py: _remember", []),
        ("polyak/replay/ring.py: draw", ["call()  # polyak/replay/ring.py: draw"]),  # `learn` does not call it itself
        ("polyak/replay/ring.py: sample", ["call()  # polyak/replay/ring.py: sample"]),
        ("polyak/replay/rings.py: draw", ["call()  # polyak/replay/rings.py: draw"]),
    ],
)
def test_calls_that_are_not_made_are_found(path: str, broken: list[str]) -> None:
    assert code_names.broken_calls(f"learn()  # polyak/training/learn.py: learn\n    call()  # {path}") == broken


def test_td3_is_followed_from_flag_to_gradient() -> None:
    text = (ROOT / "docs" / "td3-from-flag-to-gradient.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert block.count("# polyak/") >= 20
    assert code_names.broken_calls(block) == []
    rows = re.findall(r"^\| \[[^]]*\]\(\.\./(polyak/[^)]*)\) \|", text, re.MULTILINE)
    cells = list(code_cells(text))
    assert len(rows) == len(cells) >= 10
    assert [code_names.wrong(cell, ROOT / path) for path, cell in zip(rows, cells, strict=True)] == [[]] * len(rows)


@pytest.mark.parametrize(
    "title",
    [
        "an algorithm",
        "an observation kind",
        "a source of data",
        "a sink for metrics",
        "a loop",
        "a network",
        "a preset",
        "a command",
    ],
)
def test_contributing_says_where_a_thing_goes(title: str) -> None:
    assert re.search(rf"^\| {title}\b", PLACES, re.MULTILINE)


def test_places_where_things_go_exist() -> None:
    spelled = {"create", "MAY_IMPORT", "learns_from", "NAME", "ALGORITHM"}
    for name in re.findall(r"`([^`]+)`", PLACES):
        if "/" in name or name.endswith((".py", ".md", ".toml")):
            assert any(word in name for word in ("NAME", "ALGORITHM", "polyak/datasets/")) or list(ROOT.rglob(name)), (
                name
            )
        else:
            first = re.split(r"[ (]", name.removeprefix("@"))[0]
            assert first in spelled or code_names.known(first), name


def test_names_stand_in_the_files_that_are_named_with_them() -> None:
    pairs = re.findall(r"((?:`[^`]+`(?:, | and )?)+) (?:in|of) \[`[^`]+`\]\((polyak/[\w/]+\.py)\)", PLACES)
    assert len(pairs) >= 8
    for names, path in pairs:
        for name in code_names.names_in(names):
            assert code_names.exists(name, ROOT / path), f"{name} in {path}"


def test_the_list_of_files_in_the_architecture_is_complete() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^polyak/\n((?:  .*\n)+)", text, re.MULTILINE)
    names = set(re.findall(r"([\w]+\.py)", listed))
    files = {path for path in (ROOT / "polyak").rglob("*.py") if path.parent.name not in ("algorithms", "presets")}
    assert {path.name for path in files} - names - {"__init__.py", "__main__.py"} == set()


PLACES = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## Where does it go?\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", ["Plan.chunk", "learn.Schedules", "sitting"])
def test_names_that_are_gone_are_not_known(name: str) -> None:
    assert not code_names.known(name)


def test_code_that_the_glossary_names_exists() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    names = {name for name in re.findall(r"`([^`]+)`", text) if not name.startswith("[")}
    files = {name for name in names if name.startswith("polyak ") or name.endswith(".json")}
    assert [name for name in sorted(names - files) if not code_names.known(name)] == []
    words = re.findall(r"^\*\*([^*]+)\*\*: ", text, re.MULTILINE)
    assert len(words) == len(set(words)) >= 30


def anchors(page: Path) -> set[str]:
    """Return the names by which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


NOT_HERE = {
    "own_algorithm": "a module in examples/, where the page says to go first; tests/test_examples.py trains it",
    "your_module": "stands for a module that the reader has written",
}


def commands() -> Iterator[tuple[str, str]]:
    """Yield every command that trains with its page, in a block or in a line; one without an algorithm is a mention."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for found in re.findall(r"^polyak train .*$|(?<=`)polyak train [^`]+(?=`)", text, re.MULTILINE):
            words = shlex.split(found, comments=True)[2:]
            if not words[0].startswith("-"):
                yield page.relative_to(ROOT).as_posix(), shlex.join(word for word in words if word != "--help")


class AcceptedError(Exception):
    """A command was not refused, and has come to make its environments."""


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_commands_are_not_refused(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def accept(*_: Any) -> None:
        raise AcceptedError

    name, *_ = words = shlex.split(re.sub(r"--from \S+", "", command))  # from a run that the page has trained
    if name in NOT_HERE:
        pytest.skip(NOT_HERE[name])
    assert name in REGISTRY
    monkeypatch.setattr(devices, "prepare", lambda lanes: None)  # the tests have chosen
    monkeypatch.setattr(request, "first_of", accept)  # needs what an environment comes with, such as MuJoCo
    for flag in {"--from", "--like"} & set(words):  # the run that is named is not there
        at = words.index(flag)
        del words[at : at + 2]
    with pytest.raises(AcceptedError):
        train.run(words)


def test_commands_are_found() -> None:
    assert {page for page, _ in commands()} > {f"docs/algorithms/{name}.md" for name in REGISTRY} | {"README.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target
