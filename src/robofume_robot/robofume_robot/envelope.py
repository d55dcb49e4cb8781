"""The safety envelope: from a command and the state of the arm to joint targets that are safe, or to a
refusal.

Pure functions; the arm node, the simulation and the Gymnasium environment go through the same ones.

A delta is applied to the *commanded* pose (the last target), not to the measured one: a position-controlled
arm lags and sags, and deltas on the measured pose would add up the sag into a drift. So that the target
cannot wind up against an obstacle, the commanded pose is first brought within `max_lead` (and
`max_rotation_lead`) of the measured one.

Everything is shortened in Cartesian space, where the box is convex: a target between two points of the box is
in it. Whatever comes out of inverse kinematics is checked once more by forward kinematics before it leaves.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from robofume_common.errors import RobofumeError

from robofume_robot import kinematics
from robofume_robot.kinematics import Array

IK_POSITION_TOLERANCE = 1e-4
"""m. Targets stay this far inside the box, so that the solution of inverse kinematics is inside too."""


@dataclass(frozen=True)
class Limits:
    """What the envelope holds every joint target to."""

    box_min: tuple[float, float, float]  # m, robot base frame, of the gripper point
    box_max: tuple[float, float, float]
    translation_step: float = 0.05  # m per command, along each axis
    rotation_step: float = 0.25  # rad per command, about each axis
    velocity_scale: float = 0.8  # share of the maker's joint velocity limit
    home_velocity_scale: float = 0.4  # the same while homing
    control_period: float = 0.2  # s, from one command to the next
    max_lead: float = 0.04  # m, how far the commanded pose may be ahead of the measured one
    max_rotation_lead: float = 0.35  # rad
    max_joint_lead: float = 0.6  # rad, the same for a single joint
    floor: float | None = None  # m, lowest height of elbow and wrist; None: the bottom of the box

    def __post_init__(self) -> None:
        """Raise RobofumeError for a limit that makes no sense."""
        low, high = self.box_min, self.box_max
        if len(low) != 3 or len(high) != 3 or not all(math.isfinite(v) for v in (*low, *high)):
            raise RobofumeError(f"the workspace box needs 3 finite minima and maxima in m, not {low} and {high}")
        if not all(b - a >= 0.005 for a, b in zip(low, high, strict=True)):
            raise RobofumeError(f"each side of the workspace box must be 5 mm or more: minimum {low}, maximum {high}")
        for name in ("translation_step", "rotation_step", "control_period", "max_lead", "max_rotation_lead"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise RobofumeError(f"{name} must be a positive number, not {value}")
        for name in ("velocity_scale", "home_velocity_scale"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise RobofumeError(f"{name} must be over 0 and at most 1, not {getattr(self, name)}")

    def joint_steps(self) -> Array:
        """Largest change (6,) of each joint in one control period, rad."""
        steps: Array = kinematics.VELOCITY_LIMITS * (self.velocity_scale * self.control_period)
        return steps

    def clamped(self, position: Array) -> Array:
        """The nearest point (3,) of the box, inside by the tolerance of inverse kinematics."""
        margin = 2.0 * IK_POSITION_TOLERANCE
        return np.clip(position, np.add(self.box_min, margin), np.subtract(self.box_max, margin))

    def excess(self, position: Array) -> float:
        """Distance in m from the box; 0 inside."""
        outside = np.maximum(np.maximum(np.subtract(self.box_min, position), position - self.box_max), 0.0)
        return float(math.sqrt(float(outside @ outside)))


class Reason(enum.Enum):
    """Why a command was refused."""

    NOT_FINITE = "not finite"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Refusal:
    """No target: the reason, and one sentence for a person."""

    reason: Reason
    sentence: str


@dataclass(frozen=True)
class JointTarget:
    """A safe target, and what had to be shortened for it."""

    joint_positions: Array  # (6,) rad
    pose: Array  # (4, 4) commanded gripper pose
    opening: float  # of the gripper, 0 closed .. 1 open
    clamped_step: bool = False
    clamped_box: bool = False
    clamped_velocity: bool = False
    clamped_joint: bool = False

    def positions(self) -> Array:
        """The eight positions (rad, m) in the order of `kinematics.JOINT_NAMES`."""
        finger = kinematics.finger_from_opening(self.opening)
        return np.append(self.joint_positions, (finger, finger))


@dataclass(frozen=True)
class Situation:
    """Where the arm is and what it was last told: measured positions (8,) and the last target."""

    measured: Array
    target: JointTarget

    @classmethod
    def at_rest(cls, measured: Sequence[float] | Array) -> Situation:
        """An arm that was told nothing yet: its target is where it is."""
        positions = np.asarray(measured, dtype=np.float64)
        opening = kinematics.opening_from_finger(float(positions[6:8].mean()))
        pose = kinematics.forward_kinematics(positions[:6])
        return cls(positions, JointTarget(within_limits(positions[:6]), pose, opening))


def within_limits(joint_positions: Array) -> Array:
    """Arm joint positions (6,) moved into the joint limits."""
    return np.clip(joint_positions, kinematics.JOINT_LOWER, kinematics.JOINT_UPPER)


def is_safe(joint_positions: Array, limits: Limits) -> bool:
    """The last word: joint limits kept, gripper in the box, elbow and wrist not under the floor."""
    if not kinematics.within_joint_limits(joint_positions, tolerance=0.0):
        return False
    x, y, z, elbow, wrist = kinematics.key_points(joint_positions)
    low, high = limits.box_min, limits.box_max
    inside = low[0] <= x <= high[0] and low[1] <= y <= high[1] and low[2] <= z <= high[2]
    floor = low[2] if limits.floor is None else limits.floor
    return inside and elbow >= floor and wrist >= floor


def plan(action: Sequence[float] | Array, situation: Situation, limits: Limits) -> JointTarget | Refusal:
    """The joint target for a delta `action` (7,): dx, dy, dz (m), droll, dpitch, dyaw (rad) in the base
    frame, and the gripper's target opening (0 closed .. 1 open).

    Each component is limited by itself: the action space of the policy is a box, and no action in it is
    shortened."""
    try:
        command = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError):
        command = np.empty(0)
    if command.shape != (7,):
        return Refusal(Reason.NOT_FINITE, f"the action must have 7 numbers, not shape {command.shape}")
    if not np.isfinite(command).all():
        return Refusal(Reason.NOT_FINITE, "the action has a number that is infinite or not a number")
    measured_pose = kinematics.forward_kinematics(situation.measured[:6])
    if limits.excess(measured_pose[:3, 3]) > limits.max_lead:
        return Refusal(Reason.UNREACHABLE, _outside(measured_pose, limits))
    bounds = np.array([limits.translation_step] * 3 + [limits.rotation_step] * 3)
    delta = np.clip(command[:6], -bounds, bounds)
    clamped_step = bool(np.any(np.abs(command[:6]) > bounds + 1e-6))  # float32 messages round
    opening = min(max(float(command[6]), 0.0), 1.0)
    base = _commanded_pose(situation.target.pose, measured_pose, limits)
    wanted = base[:3, 3] + delta[:3]
    target = limits.clamped(wanted)
    clamped_box = bool(np.abs(target - wanted).max() > 3.0 * IK_POSITION_TOLERANCE)
    lead = limits.max_joint_lead
    reference = within_limits(
        np.clip(situation.target.joint_positions, situation.measured[:6] - lead, situation.measured[:6] + lead)
    )
    translation, rotation = target - base[:3, 3], delta[3:]
    joint_steps = limits.joint_steps()
    share = 1.0
    for _ in range(6):
        pose = np.eye(4)
        pose[:3, :3] = kinematics.rotation_from_rpy(*(share * rotation)) @ base[:3, :3]
        pose[:3, 3] = base[:3, 3] + share * translation
        solution = _solve(pose, reference)
        if not solution.converged:
            return Refusal(Reason.UNREACHABLE, _unreachable(pose))
        excess = float((np.abs(solution.joint_positions - reference) / joint_steps).max())
        if excess <= 1.0:
            break
        share *= 0.95 / excess
    else:
        return Refusal(Reason.UNREACHABLE, "no part of the step can be made within the joint velocity limits")
    if not is_safe(solution.joint_positions, limits):
        return Refusal(Reason.UNREACHABLE, "the step would bring the gripper out of the box or the arm under the floor")
    return JointTarget(
        solution.joint_positions,
        pose,
        opening,
        clamped_step=clamped_step,
        clamped_box=clamped_box,
        clamped_velocity=share < 1.0,
        clamped_joint=solution.at_limit,
    )


def hold(situation: Situation, limits: Limits) -> JointTarget | Refusal:
    """The target that keeps the measured pose, brought into the box where it is a little outside and the joints may go
    there in one control period; near a singular pose a few millimetres can be a radian. Where they may not, it stays.

    The gripper keeps its last target, not its measured opening: a held object must stay held.
    """
    opening = situation.target.opening
    joints = within_limits(situation.measured[:6])
    pose = kinematics.forward_kinematics(joints)
    if is_safe(joints, limits):
        return JointTarget(joints, pose, opening)
    if limits.excess(pose[:3, 3]) > limits.max_lead:
        return Refusal(Reason.UNREACHABLE, _outside(pose, limits))
    pose[:3, 3] = limits.clamped(pose[:3, 3])
    solution = _solve(pose, joints)
    if not solution.converged or not is_safe(solution.joint_positions, limits):
        return Refusal(Reason.UNREACHABLE, _unreachable(pose))
    if (np.abs(solution.joint_positions - joints) > limits.joint_steps()).any():
        return JointTarget(joints, kinematics.forward_kinematics(joints), opening)
    return JointTarget(solution.joint_positions, pose, opening, clamped_box=True)


def keep(situation: Situation, limits: Limits) -> JointTarget | Refusal:
    """What answers a command that was refused: the last target where it is safe, the measured pose
    otherwise."""
    return situation.target if is_safe(situation.target.joint_positions, limits) else hold(situation, limits)


def _solve(pose: Array, seed: Array) -> kinematics.IkSolution:
    return kinematics.inverse_kinematics(
        pose, seed, position_tolerance=IK_POSITION_TOLERANCE, rotation_tolerance=1e-3, max_iterations=25
    )


def _commanded_pose(target: Array, measured: Array, limits: Limits) -> Array:
    """The last target, brought within the lead limits of the measured pose."""
    lead = target[:3, 3] - measured[:3, 3]
    distance = math.sqrt(float(lead @ lead))
    turn = kinematics.rotation_vector(target[:3, :3], measured[:3, :3])
    angle = math.sqrt(float(turn @ turn))
    if distance <= limits.max_lead and angle <= limits.max_rotation_lead:
        return target
    pose = target.copy()
    if distance > limits.max_lead:
        pose[:3, 3] = measured[:3, 3] + lead * (limits.max_lead / distance)
    if angle > limits.max_rotation_lead:
        turn = turn * (limits.max_rotation_lead / angle)
        pose[:3, :3] = kinematics.rotation_from_vector(turn) @ measured[:3, :3]
    return pose


def _place(pose: Array) -> str:
    return "({:.3f}, {:.3f}, {:.3f})".format(*pose[:3, 3].tolist())


def _outside(pose: Array, limits: Limits) -> str:
    return (
        f"the gripper is at {_place(pose)} m, outside its workspace box {limits.box_min} to "
        f"{limits.box_max}: send it home first"
    )


def _unreachable(pose: Array) -> str:
    return f"the arm cannot reach {_place(pose)} m with this orientation of the gripper"
