"""The way to the sleep pose, in which the arm rests on its base and the torque may be cut."""

from __future__ import annotations

import math

import numpy as np

from robofume_robot import kinematics
from robofume_robot.envelope import within_limits
from robofume_robot.kinematics import Array
from robofume_robot.motion import Motion, MotionPoint

RISE_STEP = 0.02  # m
JOINT_STEP = 0.1  # rad
PAUSE = 0.3  # s, until the first point: the arm comes to rest


def plan_sleep(measured: Array, velocity_scale: float, height: float) -> Motion:
    """From measured positions (8,) to `kinematics.SLEEP_JOINT_POSITIONS`: straight up to `height` m where the arm
    can, then in joint space with the waist last, so that the hand is drawn in before it turns.

    No joint moves faster than `velocity_scale` times its limit. The fingers stay as they are: what is held is not
    dropped from a height."""
    finger = min(max(float(measured[6:8].mean()), kinematics.FINGER_CLOSED), kinematics.FINGER_OPEN)
    joints = within_limits(measured[:6])
    path = [joints, *_rise(joints, height)]
    folded = kinematics.SLEEP_JOINT_POSITIONS.copy()
    folded[0] = path[-1][0]
    for corner in (folded, kinematics.SLEEP_JOINT_POSITIONS):
        start = path[-1]
        steps = math.ceil(float(np.abs(corner - start).max()) / JOINT_STEP)
        path += [start + (corner - start) * (i / steps) for i in range(1, steps)] + [corner.copy()] * (steps > 0)
    speed = kinematics.VELOCITY_LIMITS * velocity_scale
    time, points, last = PAUSE, [], path[0]
    for each in path:
        time += float((np.abs(each - last) / speed).max())
        points.append(MotionPoint(np.append(each, (finger, finger)), time))
        last = each
    return Motion(0, tuple(points))


def is_asleep(measured: Array, tolerance: float) -> bool:
    """True where positions (6 or more) are so near the sleep pose that the arm does not fall when it is let go."""
    return bool(np.abs(measured[:6] - kinematics.SLEEP_JOINT_POSITIONS).max() <= tolerance)


def _rise(joints: Array, height: float) -> list[Array]:
    pose = kinematics.forward_kinematics(joints)
    steps = math.ceil((height - float(pose[2, 3])) / RISE_STEP)
    path: list[Array] = []
    for z in np.linspace(pose[2, 3], height, steps + 1)[1:] if steps > 0 else ():
        pose[2, 3] = z
        last = path[-1] if path else joints
        solution = kinematics.inverse_kinematics(pose, last, max_iterations=25)
        if not solution.converged or np.abs(solution.joint_positions - last).max() > 0.5:
            break
        path.append(solution.joint_positions)
    return path
