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
        """Where the success began that the rule sees in the verdicts up to `last`, -1 where it sees none.

        That is the first success verdict in the first window that holds enough of them: the steps after it only show
        that the success lasts.

        `verdicts`: by step index, in any order; a missing or unknown one is neither success nor failure, but takes
        its place in the window.
        """
        for index in sorted(verdicts):
            if index > last or index < self.min_episode_steps or verdicts[index] != Verdict.SUCCESS:
                continue
            first = max(index - self.verdict_window + 1, self.min_episode_steps)
            successes = [i for i in range(first, index + 1) if verdicts.get(i) == Verdict.SUCCESS]
            if len(successes) >= self.successes_needed:
                return successes[0]
        return -1
