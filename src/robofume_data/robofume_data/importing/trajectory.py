"""What every reader of a foreign format gives: trajectories in their own terms, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError

if TYPE_CHECKING:
    from robofume_data.importing.late_pictures import LatePictures


@dataclass(frozen=True, eq=False)
class Trajectory:
    """S observations of one attempt, with the numbers as the data set has them."""

    name: str
    """Unique in its data set."""
    instruction: str
    images: Sequence[bytes | NDArray[np.uint8]] | NDArray[np.uint8] | LatePictures
    """S pictures, (H, W, 3) RGB or encoded as JPEG or PNG; or one array of them (S, H, W, 3), or what reads them
    when they are written."""
    states: NDArray[np.float64]
    """(S, D)."""
    actions: NDArray[np.float64] | None
    """(S, A) or (S - 1, A); None where there were no commands. Row t answers observation t."""
    stamps: NDArray[np.int64] | None = None
    """(S,) ns; None where the data carry no time."""
    rewards: NDArray[np.float64] | None = None
    """(S,)."""
    verdicts: NDArray[np.uint8] | None = None
    """(S,) of Verdict, where the data carry more than rewards: they know what nobody could tell."""
    sources: NDArray[np.uint8] | None = None
    """(S,) of RewardSource: who gave these verdicts."""
    outcome: tuple[int, int] | None = None
    """Outcome of the episode and index of its success (-1: none), where the data say it beside verdicts."""
    further_images: Mapping[str, Sequence[bytes | NDArray[np.uint8]]] = field(default_factory=dict)
    """S pictures of each further camera, by its name."""
    success: bool | None = None
    """Whether it ended in success, where somebody said so; it goes before the labels of the conventions."""


class SourceLostError(RobofumeError):
    """What was there when a source was read first cannot be read a second time."""


@dataclass(frozen=True)
class Skipped:
    """Something that was not imported, and why."""

    name: str
    reason: str


@dataclass
class ImportReport:
    """What became of one source."""

    source: str
    episodes: int = 0
    steps: int = 0
    """Actions."""
    skipped: list[Skipped] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    """Values that were changed, by what was done to them, and episodes of which something is not known."""
    error: str = ""
    """Why the source could not be read at all."""

    def count(self, name: str, number: int) -> None:
        """Adds to a counter."""
        if number:
            self.counters[name] = self.counters.get(name, 0) + int(number)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "source": self.source,
            "episodes": self.episodes,
            "steps": self.steps,
            "skipped": [[item.name, item.reason] for item in self.skipped],
            "counters": self.counters,
            "error": self.error,
        }
