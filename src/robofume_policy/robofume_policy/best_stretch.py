"""Which state of a policy in practice is kept as its best, by what practice itself knows: the judge's outcomes.

Practice without resets rises and falls: a policy that had folded a cloth in nine of ten attempts did so in one of three
4,000 steps later, and the last weights were kept (docs/trials.md). The truth that would tell is nowhere in the loop;
the judge's outcomes of the newest episodes are.
"""

import math
import threading
from collections import defaultdict, deque

WINDOW = 25
"""Newest decided episodes of each instruction that count."""
LEAST = 10
"""So many of each, or nobody can tell."""
MARGIN = 0.1
"""By so much less than the highest share, and a policy has become worse; less is chance."""


class BestStretch:
    """The share of successes of late, and whether it is about the highest so far. May be used from several threads."""

    def __init__(self, highest: float = math.nan) -> None:
        self.highest = highest
        """Of all shares that `is_best` was asked about; NaN before the first."""
        self._lock = threading.Lock()
        self._outcomes: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=WINDOW))

    def note(self, instruction: str, success: bool) -> None:
        """An episode of this instruction ended so; unknown ends are not told."""
        with self._lock:
            self._outcomes[instruction].append(success)

    def share(self) -> float:
        """Mean over the instructions of the share of successes of late; NaN where there are too few episodes."""
        with self._lock:
            outcomes = [list(values) for values in self._outcomes.values()]
        if not outcomes or min(map(len, outcomes)) < LEAST:
            return math.nan
        return sum(sum(values) / len(values) for values in outcomes) / len(outcomes)

    def is_best(self) -> bool:
        """Whether the policy that acts now is about as good as it ever was; where nobody can tell it is not."""
        share = self.share()
        if math.isnan(share):
            return False
        best = not share < self.highest - MARGIN
        self.highest = share if math.isnan(self.highest) else max(share, self.highest)
        return best
