"""What the command prints of scores."""

import pytest

from polyak.cli.tables import table

SCORE = {
    "deterministic": True,
    "episodes": 20,
    "statistic": "mean",
    "ci95": [-1377.0, -1303.3],
    "ci95_over": "episodes",
    "return_iqm": -1339.8,
    "per_seed": [{"seed": 0, "return_mean": -1339.8, "return_std": 85.4}],
}


@pytest.mark.parametrize("columns", [16, 24, 30, 80])
def test_a_narrow_terminal_shows_whole_numbers(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    table({"final": SCORE, "best": SCORE})
    out = capsys.readouterr().out
    assert "…" not in out
    assert columns < 30 or "-1377.0" in out.replace(",", "")


def test_episodes_that_were_cut_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    table({"final": {**SCORE, "cut_episodes": 3}})
    out = capsys.readouterr().out
    assert "3 of 20 episodes of the final policy were cut before they ended; --plan.evaluation-steps sets" in out
