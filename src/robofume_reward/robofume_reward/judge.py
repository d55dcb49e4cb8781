"""From probabilities to verdicts over the steps of an episode."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Verdict
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting


@dataclass(frozen=True)
class JudgeConfig:
    """When answers of the model become a success verdict."""

    needed: int = setting(1, "Answers of the last `window` that must say success", minimum=1)
    window: int = setting(1, "Answers that are looked at; 1 judges each frame alone", minimum=1)
    hold: int = setting(1, "Newest answers in a row that must say success", minimum=1)
    minimum_index: int = setting(0, "First step of an episode that may be called a success", minimum=0)

    def __post_init__(self) -> None:
        for name in ("needed", "hold"):
            if getattr(self, name) > self.window:
                raise RobofumeError(f"{name} ({getattr(self, name)}) must not exceed window ({self.window}).")


class EpisodeJudge:
    """Verdicts for the steps of one episode after another.

    An unknown answer stays unknown: it is no failure, it fills no place among the answers that are looked at, and it
    breaks what has to be held.
    """

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config
        self._episode = ""
        self._answers: deque[bool] = deque(maxlen=config.window)
        self._held = 0

    def verdict(self, episode_id: str, index: int, answer: Verdict) -> Verdict:
        """The verdict on a step, from the answer about its image alone.

        Steps of an episode are given in order; another `episode_id` starts afresh.
        """
        if episode_id != self._episode:
            self._episode, self._held = episode_id, 0
            self._answers.clear()
        if answer == Verdict.UNKNOWN:
            self._held = 0
            return Verdict.UNKNOWN
        success = answer == Verdict.SUCCESS and index >= self.config.minimum_index
        self._answers.append(success)
        self._held = self._held + 1 if success else 0
        # The newest answer must agree: what ends the episode is what the last image shows.
        enough = sum(self._answers) >= self.config.needed and self._held >= self.config.hold
        return Verdict.SUCCESS if success and enough else Verdict.FAILURE


def first_success(
    answers: Sequence[int] | NDArray[np.uint8], config: JudgeConfig, indices: Sequence[int] | None = None
) -> int:
    """Place of the first success verdict among the answers (A,) about an episode; -1 where there is none.

    `indices`: the steps that they are about; all, from the first on, where it is not given.
    """
    judge = EpisodeJudge(config)
    for place, (index, answer) in enumerate(zip(indices or range(len(answers)), answers, strict=True)):
        if judge.verdict("episode", index, Verdict(answer)) == Verdict.SUCCESS:
            return place
    return -1


def opposite_probabilities(
    model: Any, images: NDArray[np.uint8], instructions: Sequence[str]
) -> NDArray[np.float64]:
    """P(yes) (B,) for the opposites of some instructions, by a RewardModel or a baseline; 0 where it knows none.

    `images` as in RewardModel.log_odds.
    """
    known = [place for place, text in enumerate(instructions) if text in model.opposites]
    result = np.zeros(len(instructions))
    if known:
        asked = [model.opposites[instructions[place]] for place in known]
        result[known] = model.calibration.probabilities(model.log_odds(images[known], asked))
    return result
