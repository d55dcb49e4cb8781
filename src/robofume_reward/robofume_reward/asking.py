"""Asks a reward model about steps and makes answers to verdicts: what the node shares with a loop in one process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Direction, Verdict
from robofume_common.parameters import setting

from .judge import opposite_probabilities
from .saved import Calibration


@dataclass(frozen=True)
class VerdictConfig:
    """From which probability on a step is a success."""

    threshold: float = setting(
        0.0, "P(yes) that a success needs; 0 takes the one saved with the model", minimum=0.0, maximum=1.0
    )
    enough: float = setting(
        1.0,
        "P(yes) that is enough for a success in motion also where the saved threshold is greater: where the end of an "
        "episode is looked at from home, a call one step early does less harm than one that is missed",
        minimum=0.5,
        maximum=1.0,
    )
    home_threshold: float = setting(
        0.0,
        "P(yes) that a success needs on the first and the last step of an episode, which the loop lets the arm show "
        "from home, where the one saved with the model for these is not greater; 0 takes the one for all steps",
        minimum=0.0,
        maximum=1.0,
    )
    abstain: bool = setting(
        True, "Between the calibrated thresholds of success and failure the verdict is unknown; false: failure"
    )

    every: int = setting(
        1, "Steps of an episode of which one is judged, besides the last; the others are unknown at once", minimum=1
    )

    def asks(self, index: int, is_last: bool) -> bool:
        """Whether a model is asked about a step."""
        return is_last or index % self.every == 0

    def is_from_home(self, index: int, is_last: bool) -> bool:
        """Whether a step has the rules of those that the arm shows from home."""
        return self.home_threshold > 0 and (is_last or index == 0)


@dataclass(frozen=True)
class Answer:
    """What the model says about one step."""

    probability: float
    """P(yes); NaN where the model has none."""
    opposite: float = 0.0
    """P(yes) for the opposite instruction, asked from home only."""
    strange: bool = False
    """Whether the scene is unlike those of the training."""
    score: float = math.nan
    """Share of the goal that is reached, 0 .. 1, which the truth alone tells."""


def truth_answer(truth: Any, direction: Direction) -> Answer | None:
    """What the simulation's truth says about a step; None where the direction has no goal.

    `truth`: a GroundTruth, or whatever has its successes and scores.
    """
    if direction == Direction.FORWARD:
        return Answer(float(truth.forward_success), score=float(truth.forward_score))
    if direction == Direction.BACKWARD:
        return Answer(float(truth.backward_success), score=float(truth.backward_score))
    return None


def ask(
    model: Any, clips: Sequence[NDArray[np.uint8]], instructions: Sequence[str], from_home: Sequence[bool]
) -> list[Answer]:
    """The answers about some steps, in their order; pictures of one size go through the model together.

    `clips`: one picture (H, W, 3) each, or several (T, H, W, 3), as the model's view wants them.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, clip in enumerate(clips):
        by_shape.setdefault(clip.shape, []).append(place)
    answers: dict[int, Answer] = {}
    for places in by_shape.values():
        images = np.stack([clips[place] for place in places])
        asked = [instructions[place] for place in places]
        opposites = np.zeros(len(places))
        home = [number for number, place in enumerate(places) if from_home[place]]
        if home:
            opposites[home] = opposite_probabilities(model, images[home], [asked[number] for number in home])
        strange, probabilities = model.familiarity.strange(images), model.probabilities(images, asked)
        for place, *values in zip(places, probabilities, opposites, strange, strict=True):
            answers[place] = Answer(float(values[0]), float(values[1]), bool(values[2]))
    return [answers[place] for place in range(len(clips))]


def says(model: Any, config: VerdictConfig, answer: Answer | None, from_home: bool) -> Verdict:
    """The verdict on a step alone, without those before it; no answer, none that is a number and one about a strange
    scene are unknown. `model` None: the answer is the truth, 1 or 0.
    """
    if answer is None or answer.strange or not math.isfinite(answer.probability):
        return Verdict.UNKNOWN
    if model is None:
        return Verdict.SUCCESS if answer.probability > 0.5 else Verdict.FAILURE
    calibration: Calibration = model.calibration
    threshold = asked_for(calibration, config, from_home)
    verdict = calibration.verdict(answer.probability, threshold, from_home, answer.opposite)
    return Verdict.FAILURE if verdict == Verdict.UNKNOWN and not config.abstain else verdict


def asked_for(calibration: Calibration, config: VerdictConfig, from_home: bool) -> float:
    """P(yes) that the settings ask of a success; a look from home may need more (`Calibration.verdict`)."""
    threshold = config.home_threshold if from_home else config.threshold
    return threshold if threshold > 0.0 else min(calibration.threshold, config.enough)
