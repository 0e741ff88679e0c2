"""The tables of results in the documentation: what the committed files hold, and how they are filled."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TABLE: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "results_table.py"))
MARKS = f"{TABLE['BEGIN']}\n{TABLE['END']}"

# where the default preset of DDPG for the pendulum differs from the defaults
CONFIG = {"gamma": 0.98, "reward_scale": 0.1, "actor_layers": [128, 64], "critic_joint_layers": [128, 64]}
PLAN = {"env_steps": 20_000, "batch": 64, "capacity": 20_000}


def score(*returns: float) -> dict[str, Any]:
    """Make a score of one policy for each seed."""
    middle = sum(returns) / len(returns)
    seeds = [{"seed": seed, "return_mean": value} for seed, value in enumerate(returns)]
    return {"return_iqm": middle, "ci95": [min(returns), max(returns)], "return_mean": middle, "per_seed": seeds}


def write_result(root: Path, name: str, **changes: Any) -> None:
    """Write what learning.py would, in part."""
    result = {
        "algorithm": "ddpg",
        "env": "Pendulum-v1",
        "preset": "default",
        "config": CONFIG,
        "plan": PLAN,
        "env_steps": 20_000,
        "seeds": [0, 1],
        "scores": {"final": score(-150.0, -170.0), "best": score(-140.04, -140.06)},
        "command": f"python benchmarks/learning.py ddpg Pendulum-v1 --name {name} --out /somewhere/else",
    }
    (root / "benchmarks" / "results" / f"learning-{name}.json").write_text(json.dumps(result | changes))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a project with two algorithms' pages and one result."""
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "docs" / "algorithms").mkdir(parents=True)
    for page in ("results", "algorithms/ddpg", "algorithms/td3"):
        (tmp_path / "docs" / f"{page}.md").write_text(f"# Before\n\n{MARKS}\n\nafter\n")
    write_result(tmp_path, "a")
    return tmp_path


def page(root: Path, name: str) -> str:
    return (root / "docs" / f"{name}.md").read_text()


def test_the_documentation_shows_the_committed_results() -> None:
    assert TABLE["main"](["--check"]) == 0


def test_pages_are_filled_and_then_up_to_date(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert TABLE["main"](["--check"], root) == 1
    assert "out of date: docs/results.md" in capsys.readouterr().out.replace("\\", "/")
    assert (TABLE["main"]([], root), TABLE["main"](["--check"], root)) == (0, 0)
    row = "| 20 000 | 2 | -160.0 [-170.0, -150.0] | -160.0 | -170.0 | -140.1 |"
    command = "`python benchmarks/learning.py ddpg Pendulum-v1 --name a`"
    assert f"| [`ddpg`](algorithms/ddpg.md) | `default` {row} {command} |" in page(root, "results")
    assert f"| Pendulum-v1, `default` {row} {command} |" in page(root, "algorithms/ddpg")
    assert TABLE["NONE"] in page(root, "algorithms/td3")
    for name in ("results", "algorithms/ddpg", "algorithms/td3"):
        assert page(root, name).startswith("# Before\n\n<!--")
        assert page(root, name).endswith("-->\n\nafter\n")


def test_a_new_result_makes_pages_out_of_date_and_is_put_in_order(root: Path) -> None:
    assert TABLE["main"]([], root) == 0
    write_result(root, "b", preset="paper", env_steps=5_000)
    write_result(root, "c", env_steps=10_000)
    write_result(root, "d", algorithm="mine.own", env="Ant-v5", scores={"final": score(4321.4), "best": score(999.96)})
    assert (TABLE["main"](["--check"], root), TABLE["main"]([], root)) == (1, 0)
    presets = [line.split("|")[1:3] for line in page(root, "algorithms/ddpg").splitlines() if line.startswith("| P")]
    assert presets == [
        [" Pendulum-v1, `default` ", " 10 000 "],
        [" Pendulum-v1, `default` ", " 20 000 "],
        [" Pendulum-v1, `paper` ", " 5 000 "],
    ]
    text = page(root, "results")
    assert text.index("## Ant-v5") < text.index("## Pendulum-v1")
    assert "| `mine.own` | `default` | 20 000 | 2 | 4321 [4321, 4321] | 4321 | 4321 | 1000.0 |" in text


def test_the_readme_shows_what_default_presets_reach(root: Path) -> None:
    (root / "README.md").write_text(f"# Project\n\n{MARKS}\n")
    write_result(root, "b", preset="paper", command="python benchmarks/learning.py ddpg Pendulum-v1 --preset paper")
    assert TABLE["main"]([], root) == 0
    text = (root / "README.md").read_text()
    assert "| Pendulum-v1 | [`ddpg`](docs/algorithms/ddpg.md) | 20 000 | 2 | -160.0 [-170.0, -150.0] |" in text
    assert text.count("Pendulum-v1") == 1


def test_the_tables_can_be_shown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = page(root, "results")
    assert TABLE["main"](["--show"], root) == 0
    assert capsys.readouterr().out.startswith("## Pendulum-v1\n\n| algorithm | preset |")
    assert page(root, "results") == before


def test_changed_settings_are_told(root: Path) -> None:
    write_result(root, "a", command="python benchmarks/learning.py ddpg Pendulum-v1 --out=x --config.gamma 0.9")
    assert TABLE["main"]([], root) == 0
    assert "| `default`, changed | 20 000 |" in page(root, "results")
    assert "`python benchmarks/learning.py ddpg Pendulum-v1 --config.gamma 0.9`" in page(root, "results")


def learning(words: str) -> dict[str, Any]:
    return {"command": f"python benchmarks/learning.py {words}"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": {**CONFIG, "gamma": 0.99}}, "config.gamma is 0.99, today 0.98"),
        ({"config": {**CONFIG, "actor_layers": [64]}}, "config.actor_layers is [64], today [128, 64]"),
        ({"config": {**CONFIG, "old": 1}}, "config.old is no longer there"),
        ({"config": {**CONFIG, "tau": 0.01}}, "config.tau is 0.01, today 0.005"),
        ({"plan": {"env_steps": 20_000, "capacity": 20_000}}, "plan.batch is missing, today 64"),
        ({"preset": "paper"}, "preset is paper, in its command default"),
        (learning("ddpg Pendulum-v1 --steps 10000"), "plan.env_steps is 20000, today 10000"),
        (learning("ddpg Pendulum-v1 --config.gamma 0.9"), "config.gamma is 0.98, today 0.9"),
        (learning("ddpg Pendulum-v1 --config.own 1"), "its command is refused today: unknown flag --config.own"),
        (learning("ddpg Pendulum-v1 --config.n-step 20001"), "its command is refused today: n_step = 20001"),
        (learning("ddpg Pendulum-v1 --preset old"), "its command is refused today: ddpg has no preset 'old'"),
        (learning("td3 Pendulum-v1"), "its command is refused today: it is not learning.py ddpg Pendulum-v1"),
        ({"command": ""}, "its command is refused today: it is not learning.py ddpg Pendulum-v1"),
    ],
)
def test_a_result_whose_command_gives_other_settings_today_is_out_of_date(
    root: Path, changes: dict[str, Any], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(root, "a", **changes)
    assert TABLE["main"]([], root) == 0
    capsys.readouterr()
    assert TABLE["main"](["--check"], root) == 1
    said = capsys.readouterr().out.replace("\\", "/").splitlines()
    assert [line for line in said if named in line] == said
    assert len(said) == 1
    assert said[0].startswith("out of date: benchmarks/results/learning-a.json: ")


def test_settings_that_the_command_gives_are_up_to_date(root: Path) -> None:
    write_result(
        root, "a", config={**CONFIG, "gamma": 0.9, "tau": 0.005}, **learning("ddpg Pendulum-v1 --config.gamma 0.9")
    )
    assert (TABLE["main"]([], root), TABLE["main"](["--check"], root)) == (0, 0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda root: (root / "docs" / "algorithms" / "td3.md").write_text("no marks"),
        lambda root: (root / "docs" / "results.md").write_text(f"{MARKS}\n{MARKS}"),
        lambda root: (root / "docs" / "results.md").write_text(f"{TABLE['END']}\n{TABLE['BEGIN']}"),
        lambda root: (root / "docs" / "results.md").unlink(),
        lambda root: (root / "benchmarks" / "results" / "learning-b.json").write_text("{}"),
        lambda root: (root / "benchmarks" / "results" / "learning-b.json").write_text("half of"),
    ],
    ids=["no marks", "two pairs", "the end first", "no page", "not a result", "not JSON"],
)
def test_what_is_damaged_is_named_in_one_line(root: Path, spoil: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(root)
    assert TABLE["main"]([], root) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert str(root) in said[0]
