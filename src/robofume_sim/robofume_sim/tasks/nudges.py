"""Nudges: strokes low over the table that bring what stands at a wall towards the middle (`TaskDescription.nudge`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

HOME_POSITION = (0.22, 0.0, 0.17)
"""Of the gripper at `HOME_JOINT_POSITIONS` [m]."""
TRAVEL, SWEEP = 0.05, 0.03
"""Largest way along each axis in a step [m], over the objects and in a stroke."""

Place = tuple[float, float]


def strokes(ways: Sequence[tuple[Place, Place]], low: float, high: float) -> tuple[tuple[float, ...], ...]:
    """Steps (dx, dy, dz [m], opening) from home along each of `ways`, with closed fingers.

    A way is where a stroke begins and ends, x and y [m] of the gripper, which sweeps at the height `low` [m], and goes
    from one to the next at `high` [m].
    """
    steps: list[tuple[float, ...]] = []
    here = np.array(HOME_POSITION)
    for begin, end in ways:
        for target, limit in (
            ((*begin, high), TRAVEL),
            ((*begin, low), TRAVEL),
            ((*end, low), SWEEP),
            ((*end, high), TRAVEL),
        ):
            way = np.array(target) - here
            count = max(1, math.ceil(float(np.abs(way).max()) / limit - 1e-9))
            steps += [(*map(float, way / count), 0.0)] * count
            here = np.array(target)
    return tuple(steps)
