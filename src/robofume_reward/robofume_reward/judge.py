"""From probabilities to verdicts over the steps of an episode."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

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
    minimum_index: int = setting(0, "First step of an episode that may be called a success", minimum=0)

    def __post_init__(self) -> None:
        if self.needed > self.window:
            raise RobofumeError(f"needed ({self.needed}) must not exceed window ({self.window}).")


class EpisodeJudge:
    """Verdicts for the steps of one episode after another. An unknown answer counts as none at all."""

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config
        self._episode = ""
        self._answers: deque[bool] = deque(maxlen=config.window)

    def verdict(self, episode_id: str, index: int, says_success: bool | None) -> Verdict:
        """The verdict on a step; `says_success` None where the model gave no answer in time.

        Steps of an episode are given in order; another `episode_id` starts afresh.
        """
        if episode_id != self._episode:
            self._episode = episode_id
            self._answers.clear()
        if says_success is None:
            return Verdict.UNKNOWN
        self._answers.append(says_success and index >= self.config.minimum_index)
        # The newest answer must agree: what ends the episode is what the last image shows.
        success = self._answers[-1] and sum(self._answers) >= self.config.needed
        return Verdict.SUCCESS if success else Verdict.FAILURE


def first_success(called: NDArray[np.bool_], config: JudgeConfig) -> int:
    """Index of the first success verdict for the answers (N+1,) of an episode; -1 where there is none."""
    judge = EpisodeJudge(config)
    for index, says_success in enumerate(called):
        if judge.verdict("episode", index, bool(says_success)) == Verdict.SUCCESS:
            return index
    return -1
