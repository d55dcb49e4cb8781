"""What Interbotix' driver says about joints, in this suite's terms.

The driver counts the right finger negative and gives efforts as servo currents in mA; everything else here takes
fingers as positive distances (`kinematics.JOINT_NAMES`) and efforts in Nm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from robofume_robot import kinematics
from robofume_robot.kinematics import Array

TORQUE_PER_CURRENT = 4.1 / 2.3e3
"""Nm per mA of one XM430-W350 servo: its stall torque over its stall current at 12 V."""
SERVOS_PER_JOINT = np.array([1.0, 2.0, 2.0, 1.0, 1.0, 1.0])
"""Shoulder and elbow have two servos; the driver shows the current of the first."""
_XL430_LOAD = 1.5 / 1000.0 / 2.69
"""wrist_rotate is an XL430-W250: what it reports is a load of 0.1 % of 1.5 Nm, which the driver multiplies as if it
were a current of 2.69 mA."""
TORQUE_FACTORS = np.append(SERVOS_PER_JOINT[:5] * TORQUE_PER_CURRENT, _XL430_LOAD)
SWAPPED_FINGER = "right_finger"
READING_TOLERANCE = 0.3
"""rad outside of its limits at which a joint is not believed to be."""
FAILED_READING = -math.pi
"""rad; where a servo does not answer, or the cable is out, the driver goes on with zeros from the bus, which is this.
Of two joints it is the limit: there an arm is not believed to be either."""
_TICK = math.pi / 2048.0
CONTROLLERS = {"arm_controller": kinematics.ARM_JOINT_NAMES, "gripper_controller": kinematics.FINGER_JOINT_NAMES}
"""Of the arm in Gazebo, each with its joints."""

ERRORS = {
    0: "input voltage",
    2: "overheating",
    3: "motor encoder",
    4: "electrical shock",
    5: "overload",
}
"""Bits of the register Hardware_Error_Status (Robotis' e-manual, X series)."""


class JointReader:
    """Picks the joints of `kinematics.JOINT_NAMES` out of the driver's joint states."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] | None = None
        self._order: list[int] = []

    def positions(self, names: Sequence[str], positions: Sequence[float]) -> Array | None:
        """Positions (8,) in rad and m; None where a joint is missing, a value is not finite, or no arm can be there."""
        if not self._learn(names) or len(positions) != len(names):
            return None
        values = np.asarray(positions, dtype=np.float64)[self._order]
        if not np.isfinite(values).all() or not kinematics.within_joint_limits(values[:6], READING_TOLERANCE):
            return None
        if np.abs(values[:6] - FAILED_READING).min() < _TICK / 2.0:
            return None
        values[7] = abs(values[7])
        return values

    def efforts(self, names: Sequence[str], efforts: Sequence[float]) -> Array:
        """Torques (6,) in Nm of the arm joints; empty where the driver gives none, as its simulator does."""
        if not self._learn(names) or len(efforts) != len(names):
            return np.empty(0)
        currents = np.asarray(efforts, dtype=np.float64)[self._order[:6]]
        torques: Array = currents * TORQUE_FACTORS
        return torques

    def _learn(self, names: Sequence[str]) -> bool:
        if tuple(names) != self._names:
            if any(name not in names for name in kinematics.JOINT_NAMES):
                return False
            self._names = tuple(names)
            self._order = [self._names.index(name) for name in kinematics.JOINT_NAMES]
        return True


def describe_errors(registers: Sequence[int], joints: Sequence[str]) -> str:
    """One clause such as `elbow: overload` for the registers Hardware_Error_Status of `joints`; empty: no fault.

    An empty list, as the driver gives when a servo does not answer (and its simulator always), says nothing."""
    faults = []
    for index, value in enumerate(registers):
        name = joints[index] if index < len(joints) else f"servo {index + 1}"
        bits = [text for bit, text in ERRORS.items() if value >> bit & 1]
        if value and not bits:
            bits = [f"error {value}"]
        if bits:
            faults.append(f"{name}: {' and '.join(bits)}")
    return "; ".join(faults)


def is_acceptable(positions: Array) -> str:
    """Empty where positions (8,) may be sent to the servos; otherwise one clause that says why not.

    The driver itself checks neither limits nor NaN."""
    if positions.shape != (8,) or not all(math.isfinite(value) for value in positions.tolist()):
        return "it has a number that is not finite, or not eight of them"
    if not kinematics.within_joint_limits(positions[:6], tolerance=1e-6):
        worst = int(
            np.argmax(np.maximum(kinematics.JOINT_LOWER - positions[:6], positions[:6] - kinematics.JOINT_UPPER))
        )
        return f"{kinematics.ARM_JOINT_NAMES[worst]} would be at {positions[worst]:.3f} rad, outside its limits"
    fingers = positions[6:8]
    if (fingers < kinematics.FINGER_CLOSED - 1e-3).any() or (fingers > kinematics.FINGER_OPEN + 1e-3).any():
        return "a finger would be outside its limits"
    return ""
