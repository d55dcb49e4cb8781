"""Judges recorded episodes again with another model, and writes them to new bags."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import find_bags
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import read_labelled

from .asking import Answer, VerdictConfig, ask, says
from .evaluation import CALIBRATED
from .film_cnn import FilmCnn
from .judge import EpisodeJudge, JudgeConfig
from .model import RewardModel
from .picture_check import PictureCheck


def rescore(
    reward: RewardModel | FilmCnn,
    bags: Sequence[str | Path],
    output: Path,
    judge: JudgeConfig | None = None,
    progress: Callable[[int], None] | None = None,
    verdicts: VerdictConfig = CALIBRATED,
) -> dict[str, Any]:
    """Writes each bag again, under its own name in `output`, with the verdicts of `reward` in the place of the
    recorded ones, by the rule (`judge` and `verdicts`) of a reward node. A person's verdicts stay, those that were
    given afterwards too, and so do the outcomes: they say what the loop did then, or what the person said.

    The originals are only read. Returns how many steps were judged and how many verdicts changed. RobofumeError where
    a bag of that name is in `output` already.
    """
    found = find_bags(list(bags))
    targets = _targets(found, output)
    counts = {"episodes": 0, "steps": 0, "changed": 0, "unknown_before": 0, "unknown_after": 0}

    def judged(bag: Path) -> Iterable[EpisodeData]:
        check = PictureCheck()
        for episode in read_labelled([bag]):
            again = rescored(reward, episode, judge or JudgeConfig(), verdicts, check=check)
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
    reward: RewardModel | FilmCnn,
    episode: EpisodeData,
    config: JudgeConfig,
    verdicts: VerdictConfig = CALIBRATED,
    batch_size: int = 64,
    check: PictureCheck | None = None,
) -> EpisodeData:
    """The episode with the verdicts that this model would give step by step, as a reward node does; what that would not
    ask about, and what shows nothing, is unknown. `check`: has seen the pictures before.
    """
    check = check or PictureCheck()
    steps = range(episode.length + 1)
    # What a script does to the scene is no attempt at the task.
    asked = [
        index
        for index in steps
        if episode.phase != Phase.INTERVENTION and verdicts.asks(index, index == episode.length)
    ]
    clear = [index for index in asked if not check.problem(episode.images[index], episode.proprioception[index])]
    home = [verdicts.is_from_home(index, index == episode.length) for index in steps]
    answers = dict(zip(clear, _answers(reward, episode, clear, home, batch_size), strict=True))
    judge, said = EpisodeJudge(config), np.full(len(steps), Verdict.UNKNOWN, np.uint8)
    probabilities, sources = np.full(len(steps), np.nan), np.full(len(steps), RewardSource.NONE, np.uint8)
    for index in asked:
        answer = answers.get(index)
        said[index] = judge.verdict("", index, says(reward, verdicts, answer, home[index]))
        if answer is not None:
            probabilities[index], sources[index] = answer.probability, RewardSource.VLM
    person = episode.sources == RewardSource.HUMAN
    return dataclasses.replace(
        episode,
        verdicts=np.where(person, episode.verdicts, said).astype(np.uint8),
        probabilities=np.where(person, episode.probabilities, probabilities).astype(np.float32),
        sources=np.where(person, RewardSource.HUMAN, sources).astype(np.uint8),
    )


def _answers(
    reward: RewardModel | FilmCnn, episode: EpisodeData, steps: Sequence[int], home: Sequence[bool], batch_size: int
) -> Iterator[Answer]:
    """What the model says about some steps of an episode; `home`: which ones of all are seen from home."""
    for start in range(0, len(steps), batch_size):
        part = steps[start : start + batch_size]
        seen = _seen(reward, episode.images, part)
        yield from ask(reward, list(seen), [episode.instruction] * len(seen), [home[index] for index in part])


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
        seen = _seen(reward, images, range(len(images))[start : start + batch_size])
        parts.append(reward.probabilities(seen, [instruction] * len(seen)))
    return np.concatenate(parts)


def _seen(reward: RewardModel | FilmCnn, images: NDArray[np.uint8], chosen: Sequence[int]) -> NDArray[np.uint8]:
    """What the model looks at for some of an episode's images (S, H, W, 3)."""
    newest = np.array(chosen, np.int64)
    return images[newest if reward.view.frames == 1 else reward.view.indices(newest, np.zeros_like(newest))]


def _targets(bags: Sequence[Path], output: Path) -> list[Path]:
    targets = [output / bag.name for bag in bags]
    for bag, target in zip(bags, targets, strict=True):
        if target.exists() or targets.count(target) > 1:
            raise RobofumeError(
                f"{target} would be written over or twice (from {bag}); give another folder, or one folder at a time."
            )
    return targets
