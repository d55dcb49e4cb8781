"""Episodes of a run without their pictures: what stages count and the report draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from robofume_common.enums import Actor, Outcome, Verdict

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
    """Steps judged a success that were one; the next three fields alike. All 0 without ground truth. A success that
    was left unknown is a false negative too: it was not found."""
    false_positives: int
    false_negatives: int
    true_negatives: int
    unknown: int
    """Steps with an unknown verdict."""
    closed: float
    """Wall time at which the episode was closed, seconds since 1970; NaN where it is not known."""
    takeovers: int = 0
    """How often a person began to act in it."""
    person_steps: int = 0
    """Actions that a person chose."""
    task: str = ""
    """Name of its pair of instructions; empty where it is not known."""
    first_stamp: float = float("nan")
    """Time of its first picture on the camera's clock [s], in a simulation the simulated time; NaN where it is not
    known. `last_stamp` alike."""
    last_stamp: float = float("nan")

    @property
    def success(self) -> bool:
        """Whether it was judged successful."""
        return self.outcome == Outcome.SUCCESS

    @property
    def judged(self) -> bool:
        """Whether it ended in success or failure: not cut short, and not of unknown outcome."""
        return self.outcome in (Outcome.SUCCESS, Outcome.TIMEOUT)

    @property
    def scripted(self) -> bool:
        """Whether it was a nudge or a relocation: robot time and steps of practice, but no attempt."""
        return self.outcome == Outcome.INTERVENTION

    @property
    def undecided(self) -> bool:
        """Whether it went on to its end, and the judge could not say how it ended."""
        return self.outcome == Outcome.UNKNOWN


def summarise(bag: Path, episode: EpisodeData) -> EpisodeSummary:
    """The summary of one episode read from `bag`."""
    truth = episode.truth
    true_success = None
    says_success = episode.verdicts == Verdict.SUCCESS
    says_failure = episode.verdicts == Verdict.FAILURE
    if truth is None:
        truth = says_success = says_failure = np.zeros(len(episode.verdicts), dtype=bool)
    else:
        true_success = bool(truth[episode.success_index if episode.is_success else -1])
    return EpisodeSummary(
        bag=bag,
        episode_id=episode.episode_id,
        direction=int(episode.direction),
        outcome=int(episode.outcome),
        num_steps=episode.length,
        assisted_reset_before=bool(episode.assisted_reset_before),
        true_success=true_success,
        true_positives=int((says_success & truth).sum()),
        false_positives=int((says_success & ~truth).sum()),
        false_negatives=int((~says_success & truth).sum()),
        true_negatives=int((says_failure & ~truth).sum()),
        unknown=int((episode.verdicts == Verdict.UNKNOWN).sum()),
        closed=episode.closed / 1e9 if episode.closed else float("nan"),
        takeovers=episode.takeovers,
        person_steps=int((episode.actors == Actor.PERSON).sum()),
        task=episode.task,
        first_stamp=float(episode.stamps[0]) / 1e9,
        last_stamp=float(episode.stamps[-1]) / 1e9,
    )


LONGEST_WAY_HOME = 60.0
"""Seconds between two episodes that are the robot's time, for the way home or a reset; more is a pause."""


@dataclass(frozen=True)
class RobotTime:
    """Seconds of the robot's own time: the wall clock's on a real robot, the simulated time in a simulation."""

    acting: float = 0.0
    """In episodes, from the first picture to the last."""
    between: float = 0.0
    """Between two episodes of a bag: ways home and resets, without pauses."""

    @property
    def total(self) -> float:
        """Both."""
        return self.acting + self.between


def robot_time(episodes: Sequence[EpisodeSummary]) -> RobotTime | None:
    """How long the robot took for these episodes, in order; None where the pictures' times are not known."""
    if not episodes or any(math.isnan(episode.first_stamp + episode.last_stamp) for episode in episodes):
        return None
    between = 0.0
    for before, after in itertools.pairwise(episodes):
        gap = after.first_stamp - before.last_stamp
        if before.bag == after.bag and 0.0 <= gap <= LONGEST_WAY_HOME:
            between += gap
    return RobotTime(sum(episode.last_stamp - episode.first_stamp for episode in episodes), between)


def read_summaries(bags: Sequence[Path]) -> list[EpisodeSummary]:
    """Summaries of all finished episodes in these bags, in order."""
    from robofume_data.bag_reader import read_episodes

    return [summarise(bag, episode) for bag in bags for episode in read_episodes([bag])]
