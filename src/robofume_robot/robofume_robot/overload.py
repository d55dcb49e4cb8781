"""Too much torque in a joint: felt over some time, and the way back from it. Pure: stamps are given to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from robofume_robot import kinematics
from robofume_robot.envelope import JointTarget, Limits, is_safe
from robofume_robot.homing import TimedTarget
from robofume_robot.kinematics import Array
from robofume_robot.motion import SECOND

TRAIL_STEP = 0.03  # rad between two remembered places
TRAIL_LENGTH = 8
"""Places that the arm goes back through: about a quarter of a radian, away from what it ran into."""
TRAIL_GAP = 0.6
"""rad between two places that no way leads over: the arm fell or was carried, as where a servo had no torque."""


class OverloadWatch:
    """Feels joints that need more torque than `limits` (6,) in Nm for longer than `patience` s."""

    def __init__(self, limits: Sequence[float] | Array, patience: float) -> None:
        self._limits = np.asarray(limits, dtype=np.float64)
        self._patience = int(patience * SECOND)
        self._since: list[int | None] = [None] * 6

    def feel(self, efforts: Sequence[float] | Array, stamp: int) -> str:
        """Take torques in Nm at `stamp` (ns); one clause about the joint that is overloaded, or empty.

        Without efforts, as simulations publish them, nothing is felt. A value that is not finite counts as too much:
        a servo that talks nonsense is not to be pushed on."""
        values = np.abs(np.asarray(efforts, dtype=np.float64))
        if values.size < 6:
            self.forget()
            return ""
        for joint in range(6):
            if values[joint] <= self._limits[joint]:
                self._since[joint] = None
                continue
            since = self._since[joint]
            if since is None or stamp < since:
                self._since[joint] = since = stamp
            if stamp - since >= self._patience:
                return (
                    f"{kinematics.ARM_JOINT_NAMES[joint]} needs {values[joint]:.1f} Nm, over its limit of "
                    f"{self._limits[joint]:.1f} Nm"
                )
        return ""

    def forget(self) -> None:
        """Begin anew."""
        self._since = [None] * 6


class Trail:
    """Where the arm came from."""

    def __init__(self) -> None:
        self._places: deque[Array] = deque(maxlen=TRAIL_LENGTH)

    def add(self, joints: Array) -> None:
        """Remember measured arm joint positions (6,) where they differ from the last ones."""
        if self._places and np.abs(joints - self._places[-1]).max() > TRAIL_GAP:
            self._places.clear()
        if not self._places or np.abs(joints - self._places[-1]).max() >= TRAIL_STEP:
            self._places.append(np.array(joints))

    def forget(self) -> None:
        """The arm was put somewhere else."""
        self._places.clear()

    def back(self, joints: Array, opening: float, limits: Limits) -> list[TimedTarget]:
        """Targets from `joints` (6,) back along the trail, at the speed of homing; only safe ones, so that it may be
        empty. The gripper keeps its `opening`."""
        speed = kinematics.VELOCITY_LIMITS * limits.home_velocity_scale
        targets: list[TimedTarget] = []
        time, last = 0.0, joints
        while self._places:
            place = self._places.pop()
            if not is_safe(place, limits) or np.abs(place - last).max() > TRAIL_GAP:
                self._places.clear()
                break
            time += max(float((np.abs(place - last) / speed).max()), 0.02)
            pose = kinematics.forward_kinematics(place)
            targets.append(TimedTarget(JointTarget(place, pose, opening), time))
            last = place
        return targets
