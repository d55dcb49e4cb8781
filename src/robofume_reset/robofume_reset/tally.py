"""How an episode ended, and the counts of a goal or of a whole run."""

import math
from dataclasses import dataclass

from robofume_common.enums import Direction, Outcome


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode ended."""

    direction: Direction
    outcome: Outcome
    steps: int
    """Actions taken until the episode was ended."""
    success_index: int
    began_there: bool = False
    """Step 0 was judged a success already: the direction had nothing to do."""
    at_goal: bool = False
    """The scene was judged to be at the goal at the end, whatever the outcome: what the arm only lets go of on its way
    home is in the right place and was not put there by the policy."""
    still: bool = False
    """Neither the picture nor the arm changed in it."""
    task: str = ""
    """Which pair of the scene; empty: the one that was planned."""
    score: float = math.nan
    """Share of the goal that was reached at the end, 0 .. 1; NaN where the judge tells none."""


@dataclass
class Tally:
    """What happened, in a goal or in a whole run. Field names and meanings as in Practice.action."""

    steps: int = 0
    episodes: int = 0
    forward_episodes: int = 0
    backward_episodes: int = 0
    unknown_episodes: int = 0
    forward_successes: int = 0
    backward_successes: int = 0
    assisted_resets: int = 0
    interventions: int = 0
    still_episodes: int = 0
    forced_switches: int = 0
    nudges: int = 0
    relocations: int = 0
    person_requests: int = 0
    person_seconds: float = 0.0

    def count_episode(self, result: EpisodeResult) -> None:
        """Count an episode that was not aborted."""
        success = int(result.outcome == Outcome.SUCCESS)
        self.episodes += 1
        self.still_episodes += result.still
        if result.outcome == Outcome.UNKNOWN:
            self.unknown_episodes += 1
        elif result.direction == Direction.FORWARD:
            self.forward_episodes += 1
            self.forward_successes += success
        else:
            self.backward_episodes += 1
            self.backward_successes += success
