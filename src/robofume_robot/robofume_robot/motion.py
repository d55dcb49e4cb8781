"""Commands in, motions out: what goes through the arm, and what is counted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robofume_common.enums import Actor

from robofume_robot.kinematics import Array

SECOND = 1_000_000_000
"""ns; stamps are in ns."""


@dataclass(frozen=True)
class Command:
    """One ArmCommand: stamp (ns) of the observation that it answers, mode, action (7,), and who chose it."""

    stamp: int
    mode: int
    action: Sequence[float] | Array = ()
    actor: int = Actor.POLICY


@dataclass(frozen=True)
class MotionPoint:
    """Positions (8,) in the order of `kinematics.JOINT_NAMES` (rad, m), to be reached after a time in s."""

    positions: Array
    time_from_start: float


@dataclass(frozen=True)
class Motion:
    """What the arm is to do next. `stamp` (ns) is that of the observation it answers; 0: it answers none."""

    stamp: int
    points: tuple[MotionPoint, ...]


@dataclass
class Counters:
    """Of the commands since the start; the names are those of ArmStatus."""

    commands: int = 0
    sent: int = 0
    clamped_step: int = 0
    clamped_box: int = 0
    clamped_velocity: int = 0
    clamped_joint: int = 0
    refused_not_finite: int = 0
    refused_stale: int = 0
    refused_unreachable: int = 0
    watchdog_holds: int = 0
    overloads: int = 0
    recoveries: int = 0
    emergency_stops: int = 0
