"""The workspace box from where a person guided the gripper. Moves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from robofume_common.errors import RobofumeError

from robofume_robot import kinematics
from robofume_robot.kinematics import Array

SMALLEST_SIDE = 0.05  # m
FEWEST_PLACES = 20
PLACE_STEP = 0.005
"""m between two readings that count as different places."""
REACH = (-0.70, 0.70)
"""m; the gripper of the WidowX 250s cannot be further from its base along any axis."""


@dataclass(frozen=True)
class WorkspaceBox:
    """Minimum and maximum (x, y, z) in m, robot base frame, of the gripper point."""

    minimum: tuple[float, float, float]
    maximum: tuple[float, float, float]

    def to_yaml(self) -> str:
        """The two lines of a task file."""
        low, high = (", ".join(f"{value:.3f}" for value in side) for side in (self.minimum, self.maximum))
        return (
            "# Workspace box of the gripper, x, y, z in m in the robot's base frame; two lines for a task file.\n"
            f"workspace_minimum: [{low}]\nworkspace_maximum: [{high}]\n"
        )


class WorkspaceRecorder:
    """Collects where the gripper was."""

    def __init__(self) -> None:
        self._minimum: Array = np.full(3, np.inf)
        self._maximum: Array = np.full(3, -np.inf)
        self._last: Array | None = None
        self.readings = 0
        self.places = 0
        self.ignored = 0

    def add(self, joint_positions: Sequence[float] | Array) -> None:
        """Take measured positions (6 or more) in rad. What is not finite or outside the joint limits is left out."""
        joints = np.asarray(joint_positions, dtype=np.float64)[:6]
        # A little outside: calibration, and an arm that a person pushes against its stops.
        if joints.shape != (6,) or not kinematics.within_joint_limits(joints, tolerance=0.1):
            self.ignored += 1
            return
        place = kinematics.forward_kinematics(joints)[:3, 3]
        self.readings += 1
        if self._last is None or np.abs(place - self._last).max() >= PLACE_STEP:
            self.places += 1
            self._last = place
        self._minimum = np.minimum(self._minimum, place)
        self._maximum = np.maximum(self._maximum, place)

    def shown(self) -> str:
        """The box so far, for a person."""
        if not self.readings:
            return "no joint state has arrived yet"
        return "  ".join(
            f"{axis} {low:+.3f} .. {high:+.3f} m"
            for axis, low, high in zip("xyz", self._minimum, self._maximum, strict=True)
        )

    def box(self, margin: float) -> WorkspaceBox:
        """The box, smaller than what was shown by `margin` m on each side.

        Raises RobofumeError where nothing, or next to nothing, was shown."""
        if not (np.isfinite(margin) and margin >= 0.0):
            raise RobofumeError(f"The margin must be 0 or more, not {margin} m.")
        if not self.readings:
            raise RobofumeError("No joint states arrived: is the robot's driver running, and in this ROS domain?")
        if self.places < FEWEST_PLACES:
            raise RobofumeError(
                f"The arm was hardly moved ({self.places} places): guide the gripper along the edges of the workspace."
            )
        low, high = self._minimum + margin, self._maximum - margin
        for axis, a, b in zip("xyz", low, high, strict=True):
            if b - a < SMALLEST_SIDE:
                raise RobofumeError(
                    f"Along {axis} the box would be {max(b - a, 0.0):.3f} m wide after the margin of {margin:g} m, and "
                    f"it needs {SMALLEST_SIDE:g} m: guide the gripper further along {axis}, or take a smaller margin."
                )
        if (low < REACH[0]).any() or (high > REACH[1]).any():
            raise RobofumeError("The joint states are not those of a WidowX 250s: its gripper cannot be there.")
        a, b = ([round(float(value), 4) for value in side] for side in (low, high))
        return WorkspaceBox((a[0], a[1], a[2]), (b[0], b[1], b[2]))
