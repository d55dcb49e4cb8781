"""Which questions a batch of fine-tuning is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .dataset import LabelledFrames

if TYPE_CHECKING:
    from .training import TrainingConfig


class Sampler:
    """Draws questions so that answers, directions and kinds keep their shares in every batch.

    Within a kind, questions that the model still answers badly come more often: most frames are easy soon, and the
    few around grasp and release decide how good the verdicts are.
    """

    def __init__(self, frames: LabelledFrames, options: TrainingConfig) -> None:
        self._groups: list[tuple[NDArray[np.int64], float]] = []
        self._hard_share = options.hard_share
        self._losses = np.full(len(frames), 0.7)
        made_share = options.counterexample_share if frames.made.any() else 0.0
        directions = np.unique(frames.directions[frames.made])
        for direction in directions:
            group = np.flatnonzero(frames.made & (frames.directions == direction))
            self._groups.append((group, made_share / len(directions)))
        for label in (True, False):
            for own in (True, False):
                of_answer = (frames.labels == label) & (frames.own == own) & ~frames.made
                share = (1 - made_share) * (options.yes_share if label else 1 - options.yes_share)
                share *= 1 - options.other_share if own else options.other_share
                mined = of_answer & frames.mined
                # Where all are of one kind, these have the whole share: an answer keeps its part of a batch.
                mined_share = options.mined_share if 0 < mined.sum() < of_answer.sum() else float(mined.any())
                for of_kind, part in ((mined, mined_share), (of_answer & ~mined, 1 - mined_share)):
                    directions = np.unique(frames.directions[of_kind])
                    for direction in directions:
                        group = np.flatnonzero(of_kind & (frames.directions == direction))
                        self._groups.append((group, share * part / len(directions)))

    def draw(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Indices (count,) of questions."""
        weights = np.zeros(len(self._losses))
        for group, share in self._groups:
            losses = self._losses[group]
            weights[group] = share * ((1 - self._hard_share) / len(group) + self._hard_share * losses / losses.sum())
        cumulative = np.cumsum(weights / weights.sum())
        # One draw from each of `count` equal slices: the shares hold in each batch, not only on average.
        points = (np.arange(count) + generator.random(count)) / count
        return np.searchsorted(cumulative, points).clip(0, len(cumulative) - 1)

    def saw(self, rows: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        """Notes the losses (B,) of drawn questions."""
        self._losses[rows] = 0.5 * self._losses[rows] + 0.5 * losses + 1e-3
