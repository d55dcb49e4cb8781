"""What is done when practice does not get on: one step after another, each bounded, each counted.

The steps, from the cheapest on: the other direction; a scripted nudge; a reset by the scene backend; a person. Only a
success that was earned begins at the first one again.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from robofume_common.parameters import setting


class Rung(Enum):
    """A step of the ladder that comes before an episode."""

    NONE = "none"
    NUDGE = "nudge"
    RESET = "reset"
    PERSON = "person"


@dataclass(frozen=True)
class PersonConfig:
    """Whether there is a person to ask."""

    ask_person: bool = setting(False, "ask a person, and wait, where the scene cannot be reset or that does not help")
    person_deadline: float = setting(
        43_200.0, "time without help after which the goal ends; 0: never", unit="s", minimum=0.0
    )


@dataclass(frozen=True)
class EscalationConfig(PersonConfig):
    """When the next step is taken, and how often each."""

    max_repeats: int = setting(
        3, "a direction that failed is tried again at most so often, then the other one is forced", minimum=0
    )
    failures_before_reset: int = setting(
        8,
        "failures in a row, of either direction, before the scene is helped: nudged where the task can be, else reset; "
        "0: never",
        minimum=0,
    )
    failures_after_nudge: int = setting(3, "failures in a row after a nudge before the next step", minimum=1)
    max_nudges: int = setting(1, "nudges without a success between them, before the scene is reset", minimum=0)
    unknowns_before_reset: int = setting(
        4, "episodes in a row whose end the judge could not tell, before the scene is reset; 0: never", minimum=0
    )
    still_episodes: int = setting(
        3,
        "episodes in a row in which neither picture nor arm changed, before the other direction is forced, and then "
        "before each further step; 0: never",
        minimum=0,
    )
    idle_successes: int = setting(
        8,
        "successes in a row that were there from the start, before the scene is reset: where one goal is the other's "
        "start no scene gives so many, but a judge that sees success in everything; 0: never",
        minimum=0,
    )
    resets_before_person: int = setting(
        3, "assisted resets without a success between them, before a person is asked; 0: only where a reset fails",
        minimum=0,
    )  # fmt: skip


@dataclass
class Ladder:
    """How far up practice is: nudges and resets since the last success that was earned. Survives a restart."""

    config: EscalationConfig
    can_nudge: bool = False
    nudges: int = 0
    resets: int = 0
    turned: bool = False
    """Whether the other direction was forced because nothing changed, and that did not help yet."""

    def rung(self, scene_unclear: bool = False) -> Rung:
        """The next step. `scene_unclear`: nobody can tell where the objects are, so pushing them is no use."""
        if self.can_nudge and not scene_unclear and not self.resets and self.nudges < self.config.max_nudges:
            return Rung.NUDGE
        enough = 0 < self.config.resets_before_person <= self.resets
        return Rung.PERSON if self.config.ask_person and enough else Rung.RESET

    @property
    def failures_allowed(self) -> int:
        """Failures in a row before the next step; 0: any number."""
        after_nudge = self.nudges > 0 and self.resets == 0 and self.config.failures_before_reset > 0
        return self.config.failures_after_nudge if after_nudge else self.config.failures_before_reset

    def took(self, rung: Rung) -> None:
        """A step was taken. After a person's help everything may be tried again."""
        if rung is Rung.NUDGE:
            self.nudges += 1
        elif rung is Rung.RESET:
            self.resets += 1
        elif rung is Rung.PERSON:
            self.restart()
        self.turned = False

    def restart(self) -> None:
        """A success: whatever comes next begins at the first step again."""
        self.nudges = self.resets = 0
        self.turned = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"nudges": self.nudges, "resets": self.resets, "turned": self.turned}

    @classmethod
    def from_dict(cls, config: EscalationConfig, can_nudge: bool, values: dict[str, Any]) -> "Ladder":
        """The opposite of `to_dict`."""
        return cls(config, can_nudge, int(values["nudges"]), int(values["resets"]), bool(values["turned"]))
