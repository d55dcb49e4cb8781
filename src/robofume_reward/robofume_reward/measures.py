"""Figures of merit of verdicts: confusion, precision, recall, area under the curve, calibration error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Verdict


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def area_under_curve(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve (the Mann-Whitney statistic, ties count half); None where one class is
    missing.
    """
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return None
    _, inverse, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error of P(success) over equal bins: mean |P - share of successes|, weighted by
    size.
    """
    if not len(labels):
        return 0.0
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = [abs(probabilities[index == b].sum() - labels[index == b].sum()) for b in range(bins)]
    return float(np.sum(gaps) / len(labels))


def measure(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], verdicts: NDArray[np.uint8]
) -> dict[str, Any]:
    """Confusion, precision and recall with 95% intervals, AUC and calibration error of verdicts (M,) of Verdict.

    Unknown verdicts are counted on their own, as `unknown_positives` and `unknown_negatives`. A success that got
    "unknown" counts against the recall; accuracy is that of the verdicts that were given.
    """
    success, failure = verdicts == Verdict.SUCCESS, verdicts == Verdict.FAILURE
    unknown = ~(success | failure)
    true_positives, false_positives = int((success & labels).sum()), int((success & ~labels).sum())
    false_negatives, true_negatives = int((failure & labels).sum()), int((failure & ~labels).sum())
    given = int((~unknown).sum())
    return {
        "frames": len(labels),
        "true_positives": true_positives,
        "false_positives": false_positives,
        "false_negatives": false_negatives,
        "true_negatives": true_negatives,
        "unknown_positives": int((unknown & labels).sum()),
        "unknown_negatives": int((unknown & ~labels).sum()),
        **proportion("precision", true_positives, true_positives + false_positives),
        **proportion("recall", true_positives, int(labels.sum())),
        **proportion("accuracy", true_positives + true_negatives, given),
        **proportion("abstention", int(unknown.sum()), len(labels)),
        "area_under_curve": area_under_curve(probabilities, labels),
        "calibration_error": calibration_error(probabilities, labels),
    }


def proportion(name: str, successes: int, trials: int) -> dict[str, Any]:
    """A share with its interval, under `name` and `name`_interval; None where there were no trials."""
    return {name: successes / trials if trials else None, f"{name}_interval": list(wilson(successes, trials))}
