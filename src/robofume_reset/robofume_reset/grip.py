"""Where the hand is, and whether it surely holds nothing, by what it was asked for and where it was."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robofume_common.action import GRIPPER, PHYSICAL_DIMENSION


def hand_position(proprioception: Sequence[float]) -> tuple[float, float, float] | None:
    """x, y, z [m] of the hand; None where `proprioception` is of another kind, or not finite."""
    if len(proprioception) != PHYSICAL_DIMENSION or not all(map(math.isfinite, proprioception[:3])):
        return None
    return float(proprioception[0]), float(proprioception[1]), float(proprioception[2])


def lets_go(action: Sequence[float], proprioception: Sequence[float], wide_open: float) -> bool:
    """Whether nothing is held after a step: the gripper was wide open before `action`, or is asked to be.

    A gripper that is asked to open half-way does not let go of what is as wide, and one that stands still half-way may
    hold something: a policy finds that out, and leaves the letting go to the homing. Both arguments have seven values,
    the last of them the opening, 0 closed to 1 open; `proprioception` may be of another kind, and is left out then.
    """
    openings = [values[GRIPPER] for values in (action, proprioception) if len(values) == PHYSICAL_DIMENSION]
    return any(opening >= wide_open for opening in openings)
