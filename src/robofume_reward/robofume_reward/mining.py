"""Labels from practice, where the verdicts are the model's own and so prove nothing.

An episode of practice gives labels only where a person has given its verdict, or where a second judge, asked about
the same image, agrees with confidence: `agreed` names those episodes. Then the last image, seen from home where the
loop confirms, carries the verdict, and in a success everything before the last release is not yet one. What lies
between is left out: the loop may have looked away from a success that came earlier.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.action import GRIPPER
from robofume_common.enums import Outcome, RewardSource, Verdict
from robofume_data.episode import EpisodeData


def is_self_judged(episode: EpisodeData) -> bool:
    """Whether a model judged the episode while it went on."""
    return bool((episode.sources == RewardSource.VLM).any())


def practice_labels(episode: EpisodeData, agreed: Collection[str] = ()) -> NDArray[np.int8]:
    """Answers (N+1,) to the own question of an episode of practice: 1 yes, 0 no, -1 no label."""
    labels = np.full(len(episode.images), -1, np.int8)
    person = episode.sources == RewardSource.HUMAN
    if person[-1] or episode.key in agreed:
        if episode.outcome == Outcome.SUCCESS:
            closed = np.flatnonzero(episode.actions[:, GRIPPER] < 0.5)
            labels[: int(closed[-1]) + 1 if len(closed) else 0] = 0
            labels[-1] = 1
        elif episode.outcome == Outcome.TIMEOUT:
            labels[-1] = 0
    labels[person & (episode.verdicts == Verdict.SUCCESS)] = 1
    labels[person & (episode.verdicts == Verdict.FAILURE)] = 0
    labels[person & (episode.verdicts == Verdict.UNKNOWN)] = -1
    return labels


def gives_labels(episode: EpisodeData, agreed: Collection[str] = ()) -> bool:
    """Whether anything about the episode is known from somebody else than the model that judged it."""
    return not is_self_judged(episode) or bool((practice_labels(episode, agreed) >= 0).any())


def agreed(episodes: Sequence[EpisodeData], judge: Any, confidence: float) -> set[str]:
    """Keys (`EpisodeData.key`) of self-judged episodes whose outcome a second judge confirms on the last image.

    `judge`: a RewardModel or a baseline, another one than that which judged. `confidence`: its P of the outcome that
    is asked for, in [0.5, 1].
    """
    asked = [
        episode
        for episode in episodes
        if is_self_judged(episode) and episode.outcome in (Outcome.SUCCESS, Outcome.TIMEOUT)
    ]
    found = set()
    for episode in asked:
        last = len(episode.images) - 1
        rows = judge.view.indices(np.array([last]), np.array([0]))[0]
        images = episode.images[rows] if len(rows) > 1 else episode.images[last]
        probability = float(judge.probabilities(images[None], [episode.instruction])[0])
        right = probability if episode.outcome == Outcome.SUCCESS else 1.0 - probability
        if right >= confidence and not judge.familiarity.strange(images[None])[0]:
            found.add(episode.key)
    return found


def most_doubtful(
    episodes: Sequence[EpisodeData], count: int
) -> list[EpisodeData]:
    """The self-judged episodes without a person's verdict that a person should look at first: those that nobody could
    judge, as where the scene is strange to the model, and then those whose last recorded probability is nearest to one
    half.
    """
    asked = _unlabelled(episodes)
    decided = {episode.episode_id: episode.outcome != Outcome.UNKNOWN for episode in asked}
    return sorted(
        asked, key=lambda episode: (decided[episode.episode_id], abs(float(episode.probabilities[-1]) - 0.5))
    )[:count]


def called_successes(episodes: Sequence[EpisodeData], count: int, seed: int) -> list[EpisodeData]:
    """Self-judged episodes without a person's verdict that were called a success, drawn at random.

    What a model wrongly calls a success it may be very sure of, and no doubt leads there: only looking does.
    """
    called = [episode for episode in _unlabelled(episodes) if episode.outcome == Outcome.SUCCESS]
    chosen = np.random.default_rng(seed).permutation(len(called))[:count]
    return [called[place] for place in chosen]


def _unlabelled(episodes: Sequence[EpisodeData]) -> list[EpisodeData]:
    return [
        episode
        for episode in episodes
        if is_self_judged(episode)
        and episode.sources[-1] != RewardSource.HUMAN
        and episode.outcome in (Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.UNKNOWN)
        and np.isfinite(episode.probabilities[-1])
    ]
