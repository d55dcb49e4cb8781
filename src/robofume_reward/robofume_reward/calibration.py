"""Temperature and threshold from held-out answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .saved import Calibration

RECALL_KEPT = 0.5
"""Share of the recall at P(yes) > 0.5 that the threshold must leave."""
FEWEST_FROM_HOME = 5
"""Pictures from home of each answer that a threshold for them needs."""
HOME_MARGIN = 1.0
"""Log-odds."""


def fit_temperature(log_odds: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """The temperature in [0.25, 8] with the least negative log-likelihood (Guo et al. 2017, arXiv
    1706.04599).
    """
    if labels.all() or not labels.any():
        return 1.0
    candidates = np.geomspace(0.25, 8.0, 121)
    signed = np.where(labels, log_odds, -log_odds)
    losses = [np.logaddexp(0.0, -signed / temperature).mean() for temperature in candidates]
    return float(candidates[int(np.argmin(losses))])


def choose_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.bool_], target_precision: float) -> float:
    """The lowest threshold in [0.5, 0.99] with the stated precision among the held-out answers above it.

    Looked at are only thresholds that keep RECALL_KEPT of the recall at 0.5: held-out successes are few, and a
    threshold that hardly anything passes would be precise, and useless. Where none of them reaches the precision, the
    most precise one.
    """
    found = (probabilities[labels] > 0.5).sum()
    best, best_precision = 0.5, -1.0
    for threshold in np.arange(0.5, 0.995, 0.01):
        called = probabilities >= threshold
        right = int((called & labels).sum())
        if not right or right < RECALL_KEPT * found:
            break
        precision = right / int(called.sum())
        if precision >= target_precision:
            return float(round(threshold, 4))
        if precision > best_precision:
            best, best_precision = float(round(threshold, 4)), precision
    return best


def choose_failure_threshold(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], target_precision: float, threshold: float
) -> float:
    """The highest threshold in [0.01, 0.5], and not above `threshold`, with the stated precision of "failure" among
    the held-out answers at or below it, where successes and failures weigh the same.

    Failures are many, so that without the weights nearly any answer would be precise. Where no threshold reaches the
    precision, the lowest one.
    """
    if labels.all() or not labels.any():
        return min(0.5, threshold)
    for candidate in np.round(np.arange(0.5, 0.005, -0.01), 2):
        kept, lost = np.mean(probabilities[~labels] <= candidate), np.mean(probabilities[labels] <= candidate)
        if kept + lost > 0 and kept / (kept + lost) >= target_precision:
            return min(float(candidate), threshold)
    return 0.01


def choose_home_failure_threshold(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], target_precision: float
) -> float:
    """As `choose_failure_threshold`, for held-out pictures from home, which are few.

    What is left unknown there leaves an episode undecided, so looked at are only thresholds that keep RECALL_KEPT of
    the failures called at 0.5; where none of them reaches the precision, the most precise one, and 0.5 where there are
    fewer than FEWEST_FROM_HOME of either answer.
    """
    if min(int(labels.sum()), int((~labels).sum())) < FEWEST_FROM_HOME:
        return 0.5
    found = np.mean(probabilities[~labels] <= 0.5)
    best, best_precision = 0.5, -1.0
    for candidate in np.round(np.arange(0.5, 0.005, -0.01), 2):
        kept, lost = np.mean(probabilities[~labels] <= candidate), np.mean(probabilities[labels] <= candidate)
        if kept == 0 or kept < RECALL_KEPT * found:
            break
        precision = kept / (kept + lost)
        if precision >= target_precision:
            return float(candidate)
        if precision > best_precision:
            best, best_precision = float(candidate), float(precision)
    return best


def choose_home_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """What a success needs of a picture from home: a little less than every held-out success there has.

    The successes lie close together; a failure that is taken for one is, as a rule, not quite as sure. So the threshold
    is HOME_MARGIN below the least of them in log-odds, within [0.5, 0.99], and 0.5 where there are fewer than
    FEWEST_FROM_HOME.
    """
    if int(labels.sum()) < FEWEST_FROM_HOME:
        return 0.5
    least = float(np.clip(probabilities[labels].min(), 1e-9, 1.0 - 1e-9))
    odds = np.log(least / (1.0 - least)) - HOME_MARGIN
    return float(round(np.clip(1.0 / (1.0 + np.exp(-odds)), 0.5, 0.99), 4))


def calibrate(log_odds: NDArray[np.float64], labels: NDArray[np.bool_], target_precision: float) -> Calibration:
    """Temperature, then thresholds, from held-out log-odds (M,) and labels (M,)."""
    temperature = fit_temperature(log_odds, labels)
    probabilities = Calibration(temperature).probabilities(log_odds)
    threshold = choose_threshold(probabilities, labels, target_precision)
    called = probabilities >= threshold
    return Calibration(
        temperature,
        threshold,
        target_precision,
        choose_failure_threshold(probabilities, labels, target_precision, threshold),
        float(labels[called].mean()) if called.any() else 0.0,
        float(called.sum()),
    )
