"""Settings of the markers node, and the numbers that it shows. No ROS."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting


@dataclass(frozen=True)
class MarkerConfig:
    """Settings of the markers node."""

    frame: str = setting("base_link", "Frame of the arm's base")
    workspace_minimum: tuple[float, ...] = setting((), "Least x, y, z of the gripper; empty: no box is shown", unit="m")
    workspace_maximum: tuple[float, ...] = setting((), "Greatest x, y, z of the gripper", unit="m")
    trail_length: int = setting(100, "Points of the end-effector's trail", minimum=2, maximum=10_000)
    rate: float = setting(5.0, "Publications per second of wall time", unit="1/s", minimum=0.1, maximum=50.0)
    window: int = setting(25, "Episodes over which the success rate is taken", minimum=1, maximum=1000)
    silence: float = setting(5.0, "Age at which a verdict is no longer shown", unit="s", minimum=0.1, maximum=3600.0)

    def __post_init__(self) -> None:
        """Raise RobofumeError for half a box."""
        if (len(self.workspace_minimum), len(self.workspace_maximum)) not in ((0, 0), (3, 3)):
            raise RobofumeError("workspace_minimum and workspace_maximum need three numbers each: x, y, z in m.")


@dataclass
class Scoreboard:
    """What is going on, in a few words."""

    window: int
    instruction: str = ""
    phase: Phase = Phase.IDLE
    verdict: Verdict = Verdict.UNKNOWN
    probability: float = math.nan
    judged: float = -math.inf
    """Time of the newest verdict (s, steady)."""
    outcomes: dict[Direction, deque[bool]] = field(default_factory=dict)
    undecided: int = 0
    """Episodes whose end the judge could not tell."""
    ended: set[str] = field(default_factory=set)
    """Ids of all episodes: a switcher that was killed says again how its last ones ended."""

    def episode(self, episode_id: str, direction: Direction, outcome: Outcome) -> None:
        """Take note, once, of an episode that ended; one that was aborted or cut short counts for nothing, one of
        unknown outcome neither as a success nor as a failure.
        """
        if episode_id in self.ended:
            return
        self.ended.add(episode_id)
        self.undecided += outcome == Outcome.UNKNOWN
        if outcome in (Outcome.SUCCESS, Outcome.TIMEOUT):
            results = self.outcomes.setdefault(direction, deque(maxlen=self.window))
            results.append(outcome == Outcome.SUCCESS)

    def reward_text(self, now: float, silence: float) -> str:
        """The newest verdict, or `-` where it is older than `silence` s."""
        if now - self.judged > silence:
            return "reward -"
        chance = "" if math.isnan(self.probability) else f" {self.probability:.2f}"
        return f"reward {self.verdict.name.lower()}{chance}"

    def rate_text(self) -> str:
        """Success rate of each direction over the window, and how many episodes were left unknown."""
        parts = []
        for direction in (Direction.FORWARD, Direction.BACKWARD):
            results = self.outcomes.get(direction)
            share = f"{100 * sum(results) / len(results):.0f}% of {len(results)}" if results else "-"
            parts.append(f"{direction.name.lower()} {share}")
        if self.undecided:
            parts.append(f"{self.undecided} unknown")
        return ", ".join(parts)
