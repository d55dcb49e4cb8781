"""Temperature and threshold from held-out answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .model import Calibration


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

    Where none reaches it, the one with the greatest F(0.5), which counts precision twice as much as recall: a
    threshold that nothing passes would be precise, and useless.
    """
    best, best_score = 0.5, -1.0
    for threshold in np.arange(0.5, 0.995, 0.01):
        called = probabilities >= threshold
        found = int((called & labels).sum())
        if not found:
            break
        precision, recall = found / int(called.sum()), found / int(labels.sum())
        if precision >= target_precision:
            return float(round(threshold, 4))
        score = 1.25 * precision * recall / (0.25 * precision + recall)
        if score > best_score:
            best, best_score = float(round(threshold, 4)), score
    return best


def calibrate(log_odds: NDArray[np.float64], labels: NDArray[np.bool_], target_precision: float) -> Calibration:
    """Temperature, then threshold, from held-out log-odds (M,) and labels (M,)."""
    temperature = fit_temperature(log_odds, labels)
    probabilities = 1.0 / (1.0 + np.exp(-np.clip(log_odds / temperature, -60, 60)))
    return Calibration(temperature, choose_threshold(probabilities, labels, target_precision), target_precision)
