"""The way home: open the gripper, rise straight up, then move in joint space, all within the envelope."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from robofume_robot import kinematics
from robofume_robot.envelope import (
    JointTarget,
    Limits,
    Reason,
    Refusal,
    Situation,
    hold,
    is_safe,
    within_limits,
)
from robofume_robot.kinematics import Array

OPENING_TIME = 0.4  # s, for the fingers
RISE_STEP = 0.02  # m between the points of the rise
JOINT_STEP = 0.15  # rad between the points of the joint-space move


@dataclass(frozen=True)
class TimedTarget:
    """A joint target and when to be there, in s after the start of the motion."""

    target: JointTarget
    time_from_start: float


def plan_home(situation: Situation, home_joint_positions: Array, limits: Limits) -> list[TimedTarget] | Refusal:
    """Targets from the measured pose to `home_joint_positions` (6,), within the velocity limits for homing.

    Every target is inside the box. An arm that starts outside, such as from its sleep pose, may only come
    nearer to the box with every target; where that cannot be done a person has to move it."""
    home = JointTarget(home_joint_positions, kinematics.forward_kinematics(home_joint_positions), 1.0)
    if not is_safe(home.joint_positions, limits):
        return Refusal(Reason.UNREACHABLE, "the home pose is outside the joint limits or the workspace box")
    path = _Path(limits)
    if not path.start(situation):
        return Refusal(Reason.UNREACHABLE, path.complaint)
    if situation.target.opening < 0.95 or kinematics.opening_from_finger(float(situation.measured[6:8].mean())) < 0.95:
        path.wait(OPENING_TIME)
    path.rise(float(home.pose[2, 3]))
    if not path.move(home):
        return Refusal(Reason.UNREACHABLE, path.complaint)
    last = path.targets[-1]
    return [*path.targets[:-1], TimedTarget(last.target, max(last.time_from_start, limits.control_period))]


class _Path:
    def __init__(self, limits: Limits) -> None:
        self.targets: list[TimedTarget] = []
        self.complaint = ""
        self._limits = limits
        self._velocity = kinematics.VELOCITY_LIMITS * limits.home_velocity_scale
        self._joints: Array = np.zeros(6)
        self._time = 0.0
        self._excess = 0.0

    def start(self, situation: Situation) -> bool:
        held = hold(situation, self._limits)
        if isinstance(held, JointTarget):
            self._joints = held.joint_positions
            if held.clamped_box:  # the way into the box takes its time as well
                moved = np.abs(self._joints - within_limits(situation.measured[:6]))
                self._time = float((moved / self._velocity).max())
            return True
        self._joints = within_limits(situation.measured[:6])
        self._excess = self._limits.excess(kinematics.forward_kinematics(self._joints)[:3, 3])
        if self._excess == 0.0:  # in the box and yet not safe: the elbow or the wrist is under the floor
            self.complaint = held.sentence
        return self._excess > 0.0

    def wait(self, duration: float) -> None:
        """Stay while the fingers open. Nothing is sent from outside the box: the first move opens them
        then."""
        if self._excess == 0.0:
            self._time += duration
            self._append(self._joints)

    def rise(self, height: float) -> None:
        """Straight up to `height` m, or as far as the arm and the box allow."""
        pose = kinematics.forward_kinematics(self._joints)
        top = min(height, float(self._limits.box_max[2]) - 3e-4)
        steps = math.ceil((top - pose[2, 3]) / RISE_STEP)
        for z in np.linspace(pose[2, 3], top, steps + 1)[1:] if steps > 0 else ():
            pose[2, 3] = z
            solution = kinematics.inverse_kinematics(pose, self._joints, max_iterations=25)
            if not solution.converged or np.abs(solution.joint_positions - self._joints).max() > 0.5:
                return
            if not self._step(solution.joint_positions):
                return

    def move(self, home: JointTarget) -> bool:
        start = self._joints
        steps = max(1, math.ceil(float(np.abs(home.joint_positions - start).max()) / JOINT_STEP))
        for i in range(1, steps + 1):
            share = i / steps
            joints = home.joint_positions if i == steps else start + share * (home.joint_positions - start)
            if not self._step(joints) and not self._step(self._into_box(joints)):
                self.complaint = "no way home stays in the workspace box: move the arm near its home pose by hand"
                return False
        return True

    def _into_box(self, joints: Array) -> Array:
        pose = kinematics.forward_kinematics(joints)
        pose[:3, 3] = self._limits.clamped(pose[:3, 3])
        return kinematics.inverse_kinematics(pose, joints, max_iterations=25).joint_positions

    def _step(self, joints: Array) -> bool:
        """Append a target if it is safe, or nearer to the box where the arm started outside."""
        if is_safe(joints, self._limits):
            self._excess = 0.0
        else:
            excess = self._limits.excess(kinematics.forward_kinematics(joints)[:3, 3])
            if self._excess == 0.0 or not 0.0 < excess <= self._excess + 1e-6:
                return False
            self._excess = excess
        duration = float((np.abs(joints - self._joints) / self._velocity).max())
        self._time += max(duration, 0.02)
        self._joints = joints
        self._append(joints)
        return True

    def _append(self, joints: Array) -> None:
        pose = kinematics.forward_kinematics(joints)
        self.targets.append(TimedTarget(JointTarget(joints, pose, 1.0), self._time))
