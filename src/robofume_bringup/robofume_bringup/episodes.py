"""Episodes of a run without their pictures: what stages count and the report draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robofume_common.enums import Outcome, Verdict

if TYPE_CHECKING:
    from robofume_data.episode import EpisodeData


@dataclass(frozen=True)
class EpisodeSummary:
    """One recorded episode."""

    bag: Path
    episode_id: str
    direction: int
    outcome: int
    num_steps: int
    assisted_reset_before: bool
    true_success: bool | None
    """Ground truth on the step that decided the outcome; None where it was not recorded."""
    true_positives: int
    """Steps judged a success that were one; the next three fields alike. All 0 without ground truth."""
    false_positives: int
    false_negatives: int
    true_negatives: int
    unknown: int
    """Steps with an unknown verdict."""
    closed: float
    """Wall time at which the episode was closed, seconds since 1970; NaN where it is not known."""

    @property
    def success(self) -> bool:
        """Whether it was judged successful."""
        return self.outcome == Outcome.SUCCESS

    @property
    def judged(self) -> bool:
        """Whether it ended in success or failure, and not by being cut short."""
        return self.outcome in (Outcome.SUCCESS, Outcome.TIMEOUT)


def summarise(bag: Path, episode: EpisodeData) -> EpisodeSummary:
    """The summary of one episode read from `bag`."""
    truth = episode.truth
    counts = [0, 0, 0, 0]
    true_success = None
    if truth is not None:
        says_success = episode.verdicts == Verdict.SUCCESS
        says_failure = episode.verdicts == Verdict.FAILURE
        counts = [
            int((says_success & truth).sum()),
            int((says_success & ~truth).sum()),
            int((says_failure & truth).sum()),
            int((says_failure & ~truth).sum()),
        ]
        deciding = episode.success_index if episode.outcome == Outcome.SUCCESS else -1
        true_success = bool(truth[deciding])
    return EpisodeSummary(
        bag,
        episode.episode_id,
        int(episode.direction),
        int(episode.outcome),
        episode.length,
        bool(episode.assisted_reset_before),
        true_success,
        *counts,
        unknown=int((episode.verdicts == Verdict.UNKNOWN).sum()),
        closed=episode.closed / 1e9 if episode.closed else float("nan"),
    )


def read_summaries(bags: Sequence[Path]) -> list[EpisodeSummary]:
    """Summaries of all finished episodes in these bags, in order."""
    from robofume_data.bag_reader import read_episodes

    return [summarise(bag, episode) for bag in bags for episode in read_episodes([bag])]
