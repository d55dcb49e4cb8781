"""When an episode counts as a success: k success verdicts among n consecutive steps."""

from collections.abc import Mapping
from dataclasses import dataclass

from robofume_common.enums import Verdict
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting


@dataclass(frozen=True)
class SuccessRule:
    """k of n. The default is the paper's: the first success verdict ends the episode."""

    successes_needed: int = setting(1, "success verdicts (k) that end an episode ...", minimum=1)
    verdict_window: int = setting(1, "... among so many consecutive steps (n)", minimum=1)
    min_episode_steps: int = setting(1, "no success before so many actions", minimum=1)

    def __post_init__(self) -> None:
        if self.successes_needed > self.verdict_window:
            raise RobofumeError(
                f"successes_needed ({self.successes_needed}) must not be above verdict_window ({self.verdict_window})."
            )

    def success_index(self, verdicts: Mapping[int, Verdict], last: int) -> int:
        """The first index <= `last` at which the rule holds, -1 where there is none.

        `verdicts`: by step index, in any order; a missing or unknown one is neither success nor failure, but takes
        its place in the window.
        """
        for index in sorted(verdicts):
            if index > last or index < self.min_episode_steps or verdicts[index] != Verdict.SUCCESS:
                continue
            window = range(index - self.verdict_window + 1, index + 1)
            if sum(verdicts.get(i) == Verdict.SUCCESS for i in window) >= self.successes_needed:
                return index
        return -1
