"""Scores against numbers worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from polyak.runs.scores import interval, iqm, mean, summary
from polyak.training.evaluate import Scores


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([8, 1, 7, 2, 6, 3, 5, 4], 4.5),  # two off each end: (3 + 4 + 5 + 6) / 4
        ([0, 1, 2, 3, 100], 2.0),  # a quarter of 5 is rounded down to one: (1 + 2 + 3) / 3
        ([1, 2, 9], 4.0),  # a quarter of 3 is none: the mean
        ([-3.5], -3.5),
    ],
)
def test_iqm_is_the_mean_of_the_middle_half(values: list[float], expected: float):
    assert iqm(np.array(values)) == pytest.approx(expected)


def test_the_interval_holds_the_iqm_and_repeats():
    values = np.random.default_rng(1).normal(size=20)
    low, high = interval(values)
    assert values.min() < low < iqm(values) < high < values.max()
    assert interval(values) == (low, high)


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(3).normal(size=9)
    for statistic in (iqm, mean):
        of_scipy = stats.bootstrap(
            (values,), statistic, method="percentile", n_resamples=2000, rng=np.random.default_rng(0)
        )
        assert interval(values, statistic) == pytest.approx(tuple(of_scipy.confidence_interval))


def test_iqm_is_the_trimmed_mean_of_scipy():
    values = np.random.default_rng(4).normal(size=(7, 3, 10))
    for axis in range(3):
        np.testing.assert_allclose(iqm(values, axis), stats.trim_mean(values, 0.25, axis=axis))


def test_the_interval_of_known_values():
    # of two values every resample is {a, a}, {a, b} or {b, b}: the percentiles are the values themselves
    assert interval(np.array([1.0, 3.0])) == (1.0, 3.0)


def test_the_interval_narrows_with_more_seeds():
    rng = np.random.default_rng(2)
    few, many = (np.ptp(interval(rng.normal(size=size))) for size in (5, 100))
    assert many < few / 2


@pytest.mark.parametrize("values", [[4.0], [4.0, 4.0, 4.0]])
def test_without_spread_the_interval_is_a_point(values: list[float]):
    assert interval(np.array(values)) == (4.0, 4.0)


def test_a_summary_of_several_seeds():
    scores = Scores(
        np.array([[1.0, 3.0], [5.0, 9.0]]), np.array([[10, 20], [30, 40]]), np.array([[True, False], [True, True]])
    )
    result = summary(scores, [3, 5], "best", True)
    assert (result["return_mean"], result["length_mean"], result["return_iqm"]) == (4.5, 25.0, 4.5)
    assert result["cut_episodes"] == 3
    assert result["return_std"] == pytest.approx(np.sqrt((3.5**2 + 1.5**2 + 0.5**2 + 4.5**2) / 4))
    assert (result["ci95"], result["ci95_over"], result["statistic"]) == ([2.0, 7.0], "seeds", "iqm")
    assert result["per_seed"][1] == {"seed": 5, "return_mean": 7.0, "return_std": 2.0, "length_mean": 35.0}


def test_the_score_of_a_single_seed_is_the_mean_over_its_episodes():
    scores = Scores(np.array([[1.0, 2.0, 3.0, 10.0]]), np.ones((1, 4)), np.zeros((1, 4), bool))
    result = summary(scores, [0], "final", False)
    assert (result["statistic"], result["ci95_over"], result["return_iqm"]) == ("mean", "episodes", 4.0)
    assert result["ci95"] == list(interval(scores.returns[0], mean))
    assert result["ci95"][0] < 4 < result["ci95"][1]
    assert (result["which"], result["deterministic"], result["episodes"]) == ("final", False, 4)


def test_a_rare_success_of_a_single_seed_is_not_hidden():
    result = summary(Scores(np.eye(1, 10), np.ones((1, 10)), np.zeros((1, 10), bool)), [0], "final", True)
    assert result["return_iqm"] == pytest.approx(0.1)
    assert result["ci95"] == pytest.approx([0.0, 0.3])
