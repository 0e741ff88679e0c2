"""What evaluation episodes say about the seeds: a score with its bootstrap interval.

Several seeds: the interquartile mean over the seeds. A single seed: the mean over its episodes.

Source: Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice" (arXiv 2108.13264).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict

import numpy as np

from polyak.training.evaluate import Scores

RESAMPLES, BLOCK = 2_000, 100  # in blocks, so that 10 000 episodes need no gigabyte


class SeedSummary(TypedDict):
    """What one seed's evaluation episodes say."""

    seed: int
    return_mean: float
    return_std: float
    length_mean: float


class Summary(TypedDict):
    """What evaluation episodes of all seeds say, ready for JSON."""

    which: str
    deterministic: bool
    episodes: int  # of each seed
    cut_episodes: int  # of all seeds: those that had not ended when they were cut
    return_mean: float
    return_std: float
    return_iqm: float  # over the means of the seeds
    statistic: Literal["iqm", "mean"]  # of which `ci95` is the interval
    ci95: list[float]  # [low, high]
    ci95_over: Literal["seeds", "episodes"]
    length_mean: float
    per_seed: list[SeedSummary]


def iqm(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean of the middle half of the values."""
    values = np.moveaxis(np.sort(values, axis), axis, -1)
    cut = values.shape[-1] // 4
    return np.asarray(values[..., cut : values.shape[-1] - cut].mean(-1))


def mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis."""
    return np.asarray(np.mean(values, -1))


def interval(values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray] = iqm) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a statistic; one value alone gives (value, value)."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    rng = np.random.default_rng(0)
    blocks = (rng.integers(len(values), size=(BLOCK, len(values))) for _ in range(RESAMPLES // BLOCK))
    low, high = np.percentile(np.concatenate([statistic(values[block]) for block in blocks]), [2.5, 97.5])
    return float(low), float(high)


def summary(scores: Scores, seeds: Sequence[int], which: str, deterministic: bool) -> Summary:
    """Summarize evaluation episodes `[seed, episode]`.

    `statistic` says of what `ci95` is the interval: of the IQM over the seeds or, as a single seed has no spread but
    that of its episodes, of the mean over those. An IQM over episodes would hide a success in one out of ten.
    """
    means = scores.returns.mean(1)
    several = len(means) > 1
    low, high = interval(means, iqm) if several else interval(scores.returns[0], mean)
    return {
        "which": which,
        "deterministic": deterministic,
        "episodes": scores.returns.shape[1],
        "cut_episodes": int(scores.cut.sum()),
        "return_mean": float(scores.returns.mean()),
        "return_std": float(scores.returns.std()),
        "return_iqm": float(iqm(means)),
        "statistic": "iqm" if several else "mean",
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


def in_words(scores: Mapping[str, Summary]) -> str:
    """Say in a line what the summaries of a run, by "final" and "best", hold: whatever they hold, it does not fail."""
    try:
        told = [f"{which} policies {_in_words(result)}" for which, result in scores.items()]
    except (KeyError, TypeError, ValueError, AttributeError):
        return "the scores cannot be read: run.json is damaged or was changed"
    return "; ".join(told) or "no scores yet: they are made at the end of training"


def _in_words(result: Summary) -> str:
    low, high = result["ci95"]
    value = f"{result['return_iqm']:,.1f} [{low:,.1f}, {high:,.1f}]"
    return f"{value} ({STATISTICS[result['statistic']]} and 95 % interval over {result['ci95_over']})"


STATISTICS = {"iqm": "IQM", "mean": "mean"}
