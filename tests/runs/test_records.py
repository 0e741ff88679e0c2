"""A run folder read back with types."""

from pathlib import Path

import numpy as np
import pytest

import polyak
from polyak import UsageError
from polyak.runs.records import Records
from tests.fixtures import small
from tests.runs.test_curves import METRICS, ROWS


def test_a_run_is_read_back_whole(finished: polyak.Run):
    records = Records(finished.folder)
    assert records.run.to_json() == polyak.load(finished.folder).record.to_json()
    metrics, evaluations = records.metrics, records.evaluations
    assert metrics.env_steps[-1] == small.STEPS
    assert set(metrics.seeds.tolist()) == {0, 1}
    assert list(metrics.columns)[:5] == ["seconds", "updates", "episodes", "return", "length"]
    assert np.isnan(metrics.columns["critic_loss"][0])
    assert np.isfinite(metrics.columns["critic_loss"][-1])
    assert evaluations.env_steps.tolist() == sorted([0, 110, 240, 400] * 4)
    assert evaluations.episodes.tolist() == [0, 1] * 8
    assert len(evaluations.returns) == len(evaluations.lengths) == 16
    assert records.curve().steps.tolist() == [0, 110, 240, 400]


def test_what_is_missing_has_no_rows(tmp_path: Path):
    records = Records(tmp_path)
    assert len(records.metrics.seeds) == len(records.evaluations.returns) == 0
    assert records.metrics.columns == {}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("metrics", METRICS + "1.5,0,1.0,0,0,,,\n", "its column env_steps has numbers that are not whole"),
        ("metrics", METRICS + "10,-1,1.0,0,0,,,\n", "its column seed has numbers that are not whole"),
        ("metrics", METRICS + "10,0,1.0,0,0,x,,\n", "its column return cannot be read"),
        ("metrics", METRICS.replace("seed", "seat"), "its column seed cannot be read"),
        ("evaluations", ROWS + "100,0,1,,5\n", "its column return cannot be read"),
        ("evaluations", ROWS + "100,0,1,nan,5\n", "it has numbers that are not finite"),
        ("evaluations", ROWS + "100,0,1,1.0,inf\n", "its column length has numbers that are not whole"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, name: str, content: str, says: str):
    (tmp_path / f"{name}.csv").write_text(content)
    with pytest.raises(UsageError, match=rf"{name}\.csv is damaged or was changed: {says}"):
        getattr(Records(tmp_path), name)
