"""Settings of the arm node, and the limits that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting

from robofume_robot.envelope import Limits, is_safe


@dataclass(frozen=True)
class ArmConfig:
    """What the arm may do, and how long it waits for whom. The first five come from the task."""

    workspace_minimum: tuple[float, ...] = setting((), "Least x, y, z of the gripper; empty: no motion", unit="m")
    workspace_maximum: tuple[float, ...] = setting((), "Greatest x, y, z of the gripper", unit="m")
    home_joint_positions: tuple[float, ...] = setting((), "Six joint angles of home; empty: cannot home", unit="rad")
    translation_limit: float = setting(
        0.05, "Largest translation per command and axis", unit="m", minimum=0.001, maximum=0.2
    )
    rotation_limit: float = setting(
        0.25, "Largest rotation per command and axis", unit="rad", minimum=0.01, maximum=1.0
    )
    floor: float = setting(-10.0, "Lowest elbow and wrist; below the box: the bottom of the box", unit="m")
    control_period: float = setting(0.2, "Time from one command to the next", unit="s", minimum=0.01, maximum=2.0)
    velocity_scale: float = setting(0.8, "Share of the joint velocity limits", minimum=0.01, maximum=1.0)
    home_velocity_scale: float = setting(0.4, "The same while homing", minimum=0.01, maximum=1.0)
    max_lead: float = setting(0.04, "How far the target may be ahead of the arm", unit="m", minimum=0.005, maximum=0.2)
    max_rotation_lead: float = setting(0.35, "The same for rotation", unit="rad", minimum=0.05, maximum=1.5)
    home_tolerance: float = setting(0.05, "Largest joint error that is at home", unit="rad", minimum=0.005, maximum=0.5)
    home_attempts: int = setting(10, "Attempts to come home before the arm stops for a person", minimum=1, maximum=100)
    watchdog: float = setting(
        0.5, "Wall time without a command until the pose is held", unit="s", minimum=0.05, maximum=60.0
    )
    max_command_age: float = setting(
        0.3,
        "How much older than the newest joint state a command's observation may be",
        unit="s",
        minimum=0.01,
        maximum=10.0,
    )
    joint_state_timeout: float = setting(
        0.5,
        "Wall time without joint states until commands are refused (not in lockstep)",
        unit="s",
        minimum=0.05,
        maximum=60.0,
    )
    effort_limits: tuple[float, ...] = setting(
        (2.4, 4.9, 4.9, 2.0, 2.4, 0.9), "Largest torque of the six arm joints, 60 % of what the servos can", unit="Nm",
        minimum=0.05, maximum=20.0,
    )  # fmt: skip
    effort_patience: float = setting(
        0.3, "A joint may need more than its limit for so long, as at a start", unit="s", minimum=0.0, maximum=5.0
    )
    overload_attempts: int = setting(
        3, "Overloads within overload_window that the arm gets over by itself before it asks a person",
        minimum=0, maximum=20,
    )  # fmt: skip
    overload_window: float = setting(60.0, "See overload_attempts", unit="s", minimum=1.0)
    lockstep: bool = setting(False, "The world waits for the answer to each of its observations")

    def limits(self) -> Limits | None:
        """The envelope's limits; None where no box is set. Raises RobofumeError where they make no sense."""
        if not self.workspace_minimum and not self.workspace_maximum:
            return None
        if len(self.workspace_minimum) != 3 or len(self.workspace_maximum) != 3:
            raise RobofumeError("workspace_minimum and workspace_maximum need three numbers each: x, y, z in m.")
        low, high = self.workspace_minimum, self.workspace_maximum
        limits = Limits(
            box_min=(low[0], low[1], low[2]),
            box_max=(high[0], high[1], high[2]),
            translation_step=self.translation_limit,
            rotation_step=self.rotation_limit,
            velocity_scale=self.velocity_scale,
            home_velocity_scale=self.home_velocity_scale,
            control_period=self.control_period,
            max_lead=self.max_lead,
            max_rotation_lead=self.max_rotation_lead,
            floor=max(self.floor, low[2]),
        )
        if len(self.effort_limits) != 6:
            raise RobofumeError("effort_limits needs six torques in Nm.")
        home = self.home_joint_positions
        if len(home) not in (0, 6):
            raise RobofumeError("home_joint_positions needs six angles in rad.")
        if home and not is_safe(np.array(home), limits):
            raise RobofumeError(
                "home_joint_positions is outside the joint limits or the workspace box: change one of them."
            )
        return limits
