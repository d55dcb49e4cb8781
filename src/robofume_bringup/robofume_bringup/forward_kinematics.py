"""Proprioception from recorded joint states: what `robofume_data` is given, for it does not know the arm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robofume_robot import kinematics


def proprioception_of(names: Sequence[str], positions: Sequence[float]) -> NDArray[np.float64] | None:
    """(7,) of the joints of the WidowX 250s, in any order among others; None where one is missing or not finite.

    Interbotix' driver counts the right finger negative. One finger stands for both.
    """
    found = dict(zip(names, positions, strict=False))
    if "left_finger" in found:
        found.setdefault("right_finger", found["left_finger"])
    try:
        values = np.array([found[name] for name in kinematics.JOINT_NAMES], dtype=np.float64)
    except KeyError:
        return None
    if not np.isfinite(values).all():
        return None
    values[7] = abs(values[7])
    return kinematics.proprioception(values)
