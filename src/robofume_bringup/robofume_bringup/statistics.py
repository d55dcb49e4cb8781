"""The statistics of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def wilson_interval(successes: float, trials: float, z: float = 1.96) -> tuple[float, float]:
    """Score interval of a binomial share (Wilson 1927), 95% by default; (0, 1) for no trials."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    denominator = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / denominator
    margin = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / denominator
    return max(0.0, centre - margin), min(1.0, centre + margin)


def grouped_interval(groups: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """Wilson's interval for trials in groups whose shares may differ by more than chance (draws of a world).

    It is that of as many independent trials as give the spread between the groups' shares (Kish's design effect): never
    more than there are, nor fewer than groups.
    """
    trials = sum(map(len, groups))
    successes = sum(map(sum, groups))
    if len(groups) < 2 or not 0 < successes < trials:
        return wilson_interval(successes, trials)
    share = successes / trials
    weights = np.array([len(group) / trials for group in groups])
    shares = np.array([np.mean(group) for group in groups])
    variance = float(np.sum(weights**2 * (shares - share) ** 2)) * len(groups) / (len(groups) - 1)
    independent = share * (1 - share) / variance if variance > 0.0 else trials
    independent = min(max(independent, len(groups)), trials)
    return wilson_interval(share * independent, independent)


def moving_share(
    successes: NDArray[np.bool_], window: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Share of successes over the last `window` trials with its Wilson interval, after each trial.

    Returns (share, low, high), each of the length of `successes`; the first trials have a shorter window.
    """
    totals = np.concatenate([[0], np.cumsum(successes, dtype=np.int64)])
    ends = np.arange(1, len(successes) + 1)
    starts = np.maximum(0, ends - window)
    counts = totals[ends] - totals[starts]
    lengths = ends - starts
    intervals = [
        wilson_interval(int(count), int(length)) for count, length in zip(counts, lengths, strict=True)
    ]
    low = np.array([interval[0] for interval in intervals], dtype=np.float64)
    high = np.array([interval[1] for interval in intervals], dtype=np.float64)
    return counts / np.maximum(lengths, 1), low, high


def mean_told(values: Sequence[float | None] | None) -> float | None:
    """The mean of values of which each is told; None where one is not, or where there are none."""
    told = [value for value in values or () if value is not None]
    return sum(told) / len(told) if values and len(told) == len(values) else None
