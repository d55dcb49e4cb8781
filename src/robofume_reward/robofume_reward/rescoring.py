"""Judges recorded episodes again with another model, and writes them to new bags."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import find_bags, read_episodes
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes

from .evaluation import HOME_THRESHOLD
from .film_cnn import FilmCnn
from .judge import EpisodeJudge, JudgeConfig, opposite_probabilities
from .model import RewardModel


def rescore(
    reward: RewardModel | FilmCnn,
    bags: Sequence[str | Path],
    output: Path,
    judge: JudgeConfig | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Writes each bag again, under its own name in `output`, with the verdicts of `reward` in the place of the
    recorded ones. A person's verdicts stay, and so do the outcomes: they say what the loop did then.

    The originals are only read. Returns how many steps were judged and how many verdicts changed. RobofumeError where
    a bag of that name is in `output` already.
    """
    found = find_bags(list(bags))
    targets = _targets(found, output)
    counts = {"episodes": 0, "steps": 0, "changed": 0, "unknown_before": 0, "unknown_after": 0}

    def judged(bag: Path) -> Iterable[EpisodeData]:
        for episode in read_episodes([bag]):
            again = rescored(reward, episode, judge or JudgeConfig())
            counts["episodes"] += 1
            counts["steps"] += len(again.verdicts)
            counts["changed"] += int((again.verdicts != episode.verdicts).sum())
            counts["unknown_before"] += int((episode.verdicts == Verdict.UNKNOWN).sum())
            counts["unknown_after"] += int((again.verdicts == Verdict.UNKNOWN).sum())
            if progress is not None:
                progress(counts["episodes"])
            yield again

    output.mkdir(parents=True, exist_ok=True)
    for bag, target in zip(found, targets, strict=True):
        write_episodes(target, judged(bag))
    return {**counts, "bags": [str(target) for target in targets], "model_version": reward.version}


def rescored(
    reward: RewardModel | FilmCnn, episode: EpisodeData, config: JudgeConfig, batch_size: int = 64
) -> EpisodeData:
    """The episode with the verdicts that this model would give step by step."""
    probabilities = _probabilities(reward, episode.images, episode.instruction, batch_size)
    judge = EpisodeJudge(config)
    verdicts = np.zeros(len(probabilities), np.uint8)
    last = _seen(reward, episode.images, slice(episode.length, None))
    opposite = opposite_probabilities(reward, last, [episode.instruction])[0]
    strange = reward.familiarity.strange(episode.images)
    for index, probability in enumerate(probabilities):
        if index == episode.length:
            answer = reward.calibration.verdict(
                float(probability), HOME_THRESHOLD, True, float(opposite), bool(strange[index])
            )
        else:
            answer = reward.calibration.verdict(float(probability), strange=bool(strange[index]))
        verdicts[index] = judge.verdict("", index, answer)
    person = episode.sources == RewardSource.HUMAN
    return dataclasses.replace(
        episode,
        verdicts=np.where(person, episode.verdicts, verdicts).astype(np.uint8),
        probabilities=np.where(person, episode.probabilities, probabilities).astype(np.float32),
        sources=np.where(person, RewardSource.HUMAN, RewardSource.VLM).astype(np.uint8),
    )


def answers(
    reward: RewardModel | FilmCnn, images: NDArray[np.uint8], instruction: str, batch_size: int = 64
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """P(success) (S,) of an episode's images (S, H, W, 3), and the verdicts (S,) on each alone, by the calibration."""
    probabilities = _probabilities(reward, images, instruction, batch_size)
    pairs = zip(probabilities, reward.familiarity.strange(images), strict=True)
    verdicts = [reward.calibration.verdict(float(probability), strange=bool(odd)) for probability, odd in pairs]
    return probabilities, np.array(verdicts, np.uint8)


def _probabilities(
    reward: RewardModel | FilmCnn, images: NDArray[np.uint8], instruction: str, batch_size: int
) -> NDArray[np.float64]:
    parts = []
    for start in range(0, len(images), batch_size):
        seen = _seen(reward, images, slice(start, start + batch_size))
        parts.append(reward.probabilities(seen, [instruction] * len(seen)))
    return np.concatenate(parts)


def _seen(reward: RewardModel | FilmCnn, images: NDArray[np.uint8], chosen: slice) -> NDArray[np.uint8]:
    """What the model looks at for some of an episode's images (S, H, W, 3)."""
    newest = np.arange(len(images))[chosen]
    return images[newest if reward.view.frames == 1 else reward.view.indices(newest, np.zeros_like(newest))]


def _targets(bags: Sequence[Path], output: Path) -> list[Path]:
    targets = [output / bag.name for bag in bags]
    for bag, target in zip(bags, targets, strict=True):
        if target.exists() or targets.count(target) > 1:
            raise RobofumeError(
                f"{target} would be written over or twice (from {bag}); give another folder, or one folder at a time."
            )
    return targets
