"""Figures of merit of verdicts: confusion, precision, recall, area under the curve, calibration error.

The frames of an episode resemble one another, so that intervals which take each for a trial of its own are too narrow.
Where an episode has several, intervals come from drawing whole episodes again and again (the bootstrap).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Verdict

RESAMPLES = 500
"""How often the episodes are drawn anew."""
_BINS = 10
_MIDDLE = (0.025, 0.975)


def wilson(successes: float, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


class Resampling:
    """95% intervals of figures over rows (M,), from drawing their episodes with replacement, always the same way.

    `episodes` (M,): the episode of each row. Where every draw gives the same, as when all verdicts were right, that is
    no certainty: the interval is Wilson's for as many trials as there are episodes concerned.
    """

    def __init__(self, episodes: NDArray[np.int64]) -> None:
        numbers, self._of_row = np.unique(episodes, return_inverse=True)
        self._count = len(numbers)
        shares = np.full(self._count, 1.0 / max(self._count, 1))
        drawn = np.random.default_rng(0).multinomial(self._count, shares, RESAMPLES) if self._count else shares[None]
        self._weights = drawn.astype(np.float64)

    @property
    def one_each(self) -> bool:
        """Whether each episode has one row, so that rows are trials of their own."""
        return len(self._of_row) == self._count

    def proportion(self, hits: NDArray[np.bool_], trials: NDArray[np.bool_]) -> list[float]:
        """Interval of the share of `hits` (M,) among `trials` (M,); (0, 1) without trials."""
        if not trials.any():
            return list(wilson(0, 0))
        of_episode = self._sums(trials)
        with np.errstate(invalid="ignore"):
            shares = self._weights @ self._sums(hits & trials) / (self._weights @ of_episode)
        return _interval(shares, float((hits & trials).sum() / trials.sum()), int((of_episode > 0).sum()))

    def area_under_curve(self, probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> list[float]:
        """Interval of `area_under_curve`; (0, 1) where that is not known."""
        if labels.all() or not labels.any():
            return list(wilson(0, 0))
        _, places = np.unique(probabilities, return_inverse=True)
        found = []
        for weights in self._weights:
            of_row = weights[self._of_row]
            positives, negatives = np.bincount(places, of_row * labels), np.bincount(places, of_row * ~labels)
            pairs = positives.sum() * negatives.sum()
            below = np.cumsum(negatives) - 0.5 * negatives
            found.append(float(positives @ below) / pairs if pairs else np.nan)
        concerned = min(int((self._sums(rows) > 0).sum()) for rows in (labels, ~labels))
        return _interval(np.array(found), area_under_curve(probabilities, labels) or 0.0, concerned)

    def calibration_error(self, probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> list[float]:
        """Interval of `calibration_error`; (0, 1) without rows."""
        if not len(labels):
            return list(wilson(0, 0))
        index = _bin(probabilities, _BINS)
        gaps = np.stack([self._sums((index == b) * (probabilities - labels)) for b in range(_BINS)], 1)
        errors = np.abs(self._weights @ gaps).sum(1) / (self._weights @ self._sums(np.ones(len(labels))))
        return [float(value) for value in np.quantile(errors, _MIDDLE)]

    def _sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sums (E,) over the rows of each episode."""
        return np.bincount(self._of_row, values.astype(np.float64), self._count).astype(np.float64)


def _interval(drawn: NDArray[np.float64], share: float, concerned: int) -> list[float]:
    """The middle 95% of the figures that were drawn (NaN: not known); Wilson's for the `share` of the episodes
    `concerned` where all are the same, and (0, 1) where none is known.
    """
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return list(wilson(0, 0))
    low, high = np.quantile(known, _MIDDLE)
    return [float(low), float(high)] if high - low > 1e-9 else list(wilson(share * concerned, concerned))


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


def _bin(probabilities: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    return np.minimum((probabilities * bins).astype(np.int64), bins - 1)


def calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], bins: int = _BINS
) -> float | None:
    """Expected calibration error of P(success) over equal bins: mean |P - share of successes|, weighted by
    size; None without rows.
    """
    if not len(labels):
        return None
    index = _bin(probabilities, bins)
    gaps = [abs(probabilities[index == b].sum() - labels[index == b].sum()) for b in range(bins)]
    return float(np.sum(gaps) / len(labels))


def measure(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.bool_],
    verdicts: NDArray[np.uint8],
    episodes: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Confusion, precision and recall, AUC and calibration error of verdicts (M,) of Verdict, with 95% intervals.

    `episodes` (M,): the episode of each row; without them, as with one row in each, shares have Wilson's interval.
    Unknown verdicts are counted on their own, as `unknown_positives` and `unknown_negatives`. A success that got
    "unknown" counts against the recall; accuracy is that of the verdicts that were given.
    """
    success, failure = verdicts == Verdict.SUCCESS, verdicts == Verdict.FAILURE
    unknown = ~(success | failure)
    true_positives, false_positives = int((success & labels).sum()), int((success & ~labels).sum())
    false_negatives, true_negatives = int((failure & labels).sum()), int((failure & ~labels).sum())
    resampling = Resampling(np.arange(len(labels)) if episodes is None else episodes)

    def share(name: str, hits: NDArray[np.bool_], trials: NDArray[np.bool_]) -> dict[str, Any]:
        figure = proportion(name, int((hits & trials).sum()), int(trials.sum()))
        if not resampling.one_each:
            figure[f"{name}_interval"] = resampling.proportion(hits, trials)
        return figure

    return {
        "frames": len(labels),
        "true_positives": true_positives,
        "false_positives": false_positives,
        "false_negatives": false_negatives,
        "true_negatives": true_negatives,
        "unknown_positives": int((unknown & labels).sum()),
        "unknown_negatives": int((unknown & ~labels).sum()),
        **share("precision", labels, success),
        **share("recall", success, labels),
        **share("accuracy", success == labels, ~unknown),
        **share("abstention", unknown, np.ones(len(labels), bool)),
        "area_under_curve": area_under_curve(probabilities, labels),
        "area_under_curve_interval": resampling.area_under_curve(probabilities, labels),
        "calibration_error": calibration_error(probabilities, labels),
        "calibration_error_interval": resampling.calibration_error(probabilities, labels),
    }


def proportion(name: str, successes: int, trials: int) -> dict[str, Any]:
    """A share with its interval, under `name` and `name`_interval; None where there were no trials."""
    return {name: successes / trials if trials else None, f"{name}_interval": list(wilson(successes, trials))}
