"""What a set of evaluation episodes says: interquartile mean over seeds with a bootstrap interval.

Source: Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice" (arXiv 2108.13264).
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from polyak.training.evaluate import Scores


def iqm(values: np.ndarray, axis: int = -1) -> Any:
    """Return the mean of the middle half of the values."""
    return stats.trim_mean(values, 0.25, axis=axis)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the IQM; one value alone gives (value, value)."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy remarks on degenerate resamples of few seeds
        result = stats.bootstrap((values,), iqm, method="percentile", n_resamples=2000, rng=np.random.default_rng(0))
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def summary(scores: Scores, seeds: Sequence[int], which: str, deterministic: bool) -> dict[str, Any]:
    """Summarize evaluation episodes `[seed, episode]`, ready for JSON.

    The interval is over seeds; with a single seed there is no spread to resample but that of its episodes, and
    `ci95_over` says so.
    """
    means = scores.returns.mean(1)
    several = len(means) > 1
    low, high = interval(means if several else scores.returns[0])
    return {
        "which": which,
        "deterministic": deterministic,
        "episodes": scores.returns.shape[1],
        "return_mean": float(scores.returns.mean()),
        "return_std": float(scores.returns.std()),
        "return_iqm": float(iqm(means) if several else iqm(scores.returns[0])),
        "ci95": [low, high],
        "ci95_over": "seeds" if several else "episodes",
        "length_mean": float(scores.lengths.mean()),
        "per_seed": [
            {
                "seed": int(seed),
                "return_mean": float(returns.mean()),
                "return_std": float(returns.std()),
                "length_mean": float(lengths.mean()),
            }
            for seed, returns, lengths in zip(seeds, scores.returns, scores.lengths, strict=True)
        ],
    }
