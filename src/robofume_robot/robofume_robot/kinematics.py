"""Kinematics of the WidowX 250s: forward kinematics, Jacobians and inverse kinematics.

The chain is the product of exponentials `T(q) = exp([S1] q1) ... exp([S6] q6) M` (Lynch and Park, *Modern
Robotics*, 2017, equation 4.14) with the screws `SPACE_SCREWS` and the home pose `ZERO_POSE`. It is evaluated
in closed form with plain floats, because arrays this small cost more in numpy than the arithmetic itself and
this runs in every control step; a test compares it with the matrix exponentials.

Frames: the robot base is x forward, y left, z up; metres and radians. The gripper frame's x axis points out
of the fingers. Reference orientation of the whole suite is `GRIPPER_DOWN`: roll, pitch and yaw of the
proprioception are rotations in the base frame away from it, so that they are near zero in tabletop work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ARM_JOINT_NAMES = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
FINGER_JOINT_NAMES = ("left_finger", "right_finger")
JOINT_NAMES = ARM_JOINT_NAMES + FINGER_JOINT_NAMES
PROPRIOCEPTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")

_TURN = math.pi - 1e-5
JOINT_LOWER = np.array([-_TURN, -1.88496, -2.14675, -_TURN, -1.74533, -_TURN])  # rad
JOINT_UPPER = np.array([_TURN, 1.98968, 1.60570, _TURN, 2.14675, _TURN])  # rad
VELOCITY_LIMITS = np.full(6, math.pi)  # rad/s
EFFORT_LIMITS = np.array([10.0, 20.0, 15.0, 2.0, 5.0, 1.0])  # Nm
FINGER_CLOSED, FINGER_OPEN = 0.015, 0.037  # m, of each finger
SLEEP_JOINT_POSITIONS = np.array([0.0, -1.80, 1.55, 0.0, 0.8, 0.0])  # rad

SHOULDER_HEIGHT = 0.072 + 0.03865  # m, base to the shoulder axis
UPPER_ARM_X, UPPER_ARM_Z = 0.04975, 0.25  # m, shoulder axis to elbow axis
FOREARM = 0.175 + 0.075  # m, elbow axis to wrist centre
HAND = 0.065 + 0.043 + 0.023 + 0.027575  # m, wrist centre to ee_gripper

ZERO_POSE = np.array([[1.0, 0, 0, 0.458325], [0, 1, 0, 0], [0, 0, 1, 0.36065], [0, 0, 0, 1]])
SPACE_SCREWS = np.array(  # (angular, linear), one row per joint
    [
        [0, 0, 1, 0, 0, 0],
        [0, 1, 0, -0.11065, 0, 0],
        [0, 1, 0, -0.36065, 0, 0.04975],
        [1, 0, 0, 0, 0.36065, 0],
        [0, 1, 0, -0.36065, 0, 0.29975],
        [1, 0, 0, 0, 0.36065, 0],
    ]
)

GRIPPER_DOWN = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
"""Rotation of the gripper frame when the fingers point straight down and the hand faces forward (+x)."""

_LOWER, _UPPER = tuple(JOINT_LOWER.tolist()), tuple(JOINT_UPPER.tolist())
_Vector = tuple[float, float, float]


@dataclass(frozen=True)
class _Chain:
    """One evaluation of the chain: unit axes and points in the base frame."""

    axes: tuple[_Vector, ...]  # of the six joints
    points: tuple[_Vector, ...]  # on the six joint axes
    tip: _Vector
    rotation: tuple[_Vector, _Vector, _Vector]  # columns: x, y and z axis of the gripper
    elbow: _Vector
    wrist: _Vector


def _chain(q: Sequence[float]) -> _Chain:
    q1, q2, q3, q4, q5, q6 = q
    c1, s1, c2, s2 = math.cos(q1), math.sin(q1), math.cos(q2), math.sin(q2)
    c3, s3, c4, s4 = math.cos(q2 + q3), math.sin(q2 + q3), math.cos(q4), math.sin(q4)
    c5, s5, c6, s6 = math.cos(q5), math.sin(q5), math.cos(q6), math.sin(q6)
    side = (-s1, c1, 0.0)  # axis of shoulder and elbow
    forearm = (c1 * c3, s1 * c3, -s3)  # axis of forearm_roll
    up = (c1 * s3, s1 * s3, c3)
    wrist_axis = (c4 * side[0] + s4 * up[0], c4 * side[1] + s4 * up[1], s4 * up[2])
    rolled = (c4 * up[0] - s4 * side[0], c4 * up[1] - s4 * side[1], c4 * up[2])
    x = (c5 * forearm[0] - s5 * rolled[0], c5 * forearm[1] - s5 * rolled[1], c5 * forearm[2] - s5 * rolled[2])
    z5 = (
        s5 * forearm[0] + c5 * rolled[0],
        s5 * forearm[1] + c5 * rolled[1],
        s5 * forearm[2] + c5 * rolled[2],
    )
    y = (
        c6 * wrist_axis[0] + s6 * z5[0],
        c6 * wrist_axis[1] + s6 * z5[1],
        c6 * wrist_axis[2] + s6 * z5[2],
    )
    z = (
        c6 * z5[0] - s6 * wrist_axis[0],
        c6 * z5[1] - s6 * wrist_axis[1],
        c6 * z5[2] - s6 * wrist_axis[2],
    )
    reach = c2 * UPPER_ARM_X + s2 * UPPER_ARM_Z
    shoulder = (0.0, 0.0, SHOULDER_HEIGHT)
    elbow = (c1 * reach, s1 * reach, SHOULDER_HEIGHT - s2 * UPPER_ARM_X + c2 * UPPER_ARM_Z)
    wrist = (
        elbow[0] + FOREARM * forearm[0],
        elbow[1] + FOREARM * forearm[1],
        elbow[2] + FOREARM * forearm[2],
    )
    tip = (wrist[0] + HAND * x[0], wrist[1] + HAND * x[1], wrist[2] + HAND * x[2])
    return _Chain(
        axes=((0.0, 0.0, 1.0), side, side, forearm, wrist_axis, x),
        points=(shoulder, shoulder, elbow, elbow, wrist, wrist),
        tip=tip,
        rotation=(x, y, z),
        elbow=elbow,
        wrist=wrist,
    )


def _floats(q: Sequence[float] | Array) -> list[float]:
    values: list[float] = np.asarray(q, dtype=np.float64).tolist()
    if len(values) != 6:
        raise ValueError(f"the WidowX 250s has 6 arm joints, {len(values)} positions were given")
    return values


def forward_kinematics(q: Sequence[float] | Array) -> Array:
    """Pose (4, 4) of the gripper in the base frame for joint positions `q` (6,) in rad."""
    chain = _chain(_floats(q))
    (x, y, z), p = chain.rotation, chain.tip
    return np.array(
        [
            [x[0], y[0], z[0], p[0]],
            [x[1], y[1], z[1], p[1]],
            [x[2], y[2], z[2], p[2]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def key_points(q: Sequence[float] | Array) -> tuple[float, float, float, float, float]:
    """Gripper x, y and z, height of the elbow and height of the wrist centre, in m in the base frame."""
    chain = _chain(_floats(q))
    return (*chain.tip, chain.elbow[2], chain.wrist[2])


def _cross(a: _Vector, b: _Vector) -> _Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _geometric_columns(chain: _Chain, length_weight: float = 1.0) -> list[list[float]]:
    t0, t1, t2 = chain.tip
    columns = []
    for axis, point in zip(chain.axes, chain.points, strict=True):
        v = _cross(axis, (t0 - point[0], t1 - point[1], t2 - point[2]))
        columns.append([v[0] * length_weight, v[1] * length_weight, v[2] * length_weight, axis[0], axis[1], axis[2]])
    return columns


def geometric_jacobian(q: Sequence[float] | Array) -> Array:
    """Jacobian (6, 6): rows are linear velocity of the gripper point (m/s), then angular velocity (rad/s),
    base frame."""
    return np.array(_geometric_columns(_chain(_floats(q)))).T


def within_joint_limits(q: Sequence[float] | Array, tolerance: float = 1e-9) -> bool:
    """True where every one of the six joint positions (rad) is finite and inside its limits."""
    values = np.asarray(q, dtype=np.float64)
    return bool(np.all(values >= JOINT_LOWER - tolerance) and np.all(values <= JOINT_UPPER + tolerance))


@dataclass(frozen=True)
class IkSolution:
    """Answer of `inverse_kinematics`: the best joint positions found, and whether they reach the pose."""

    joint_positions: Array  # (6,) rad, always inside the limits
    converged: bool
    position_error: float  # m
    rotation_error: float  # rad
    iterations: int
    at_limit: bool  # a joint rests on its limit


LENGTH_WEIGHT = 4.0
"""1/m. Makes 25 cm as bad as 1 rad; about the reach of the wrist, so that both halves of the error are of one
size."""


def inverse_kinematics(
    target: Array,
    seed: Sequence[float] | Array,
    *,
    position_tolerance: float = 1e-4,
    rotation_tolerance: float = 1e-3,
    max_iterations: int = 60,
    max_joint_step: float = 0.5,
    any_configuration: bool = False,
) -> IkSolution:
    """Joint positions whose gripper pose is `target` (4, 4), found from `seed` (6,) in rad.

    Levenberg-Marquardt damped least squares whose damping shrinks with the error (Sugihara,
    "Solvability-unconcerned inverse kinematics", T-RO 2011): it neither blows up at singularities nor outside
    the reach. Each iteration moves a joint at most `max_joint_step` rad; a joint that would leave its limits
    is put on the limit and taken out of that step. The descent stays near the seed. With `any_configuration`
    the arm may also fold another way: where the descent fails, it starts again from the closed-form
    configurations, nearest to the seed first. A controller that must not jump leaves that off."""
    rows: list[list[float]] = np.asarray(target, dtype=np.float64).tolist()
    start = _floats(seed)
    best = _descend(rows, start, position_tolerance, rotation_tolerance, max_iterations, max_joint_step)
    if best.converged or not any_configuration or not math.isfinite(best.position_error):
        return best
    configurations = _configurations(np.asarray(target, dtype=np.float64), start)
    configurations.sort(key=lambda q: max(abs(value - old) for value, old in zip(q, start, strict=True)))
    for q in configurations:
        solution = _descend(rows, q, position_tolerance, rotation_tolerance, max_iterations, max_joint_step)
        if solution.converged:
            return solution
        if _cost(solution) < _cost(best):
            best = solution
    return best


def _cost(solution: IkSolution) -> float:
    return LENGTH_WEIGHT * solution.position_error + solution.rotation_error


def _configurations(target: Array, seed: Sequence[float]) -> list[list[float]]:
    """All arm configurations (up to eight) that reach `target`: the last three axes meet in one point, so the
    place of the wrist centre gives waist, shoulder and elbow, and the rotation that is left gives the other
    three. Where an angle is free (singularity) it is the seed's. Out of reach the arm is stretched towards
    the target."""
    wrist = target[:3, 3] - HAND * target[:3, 0]
    found = []
    upper_arm, lean = math.hypot(UPPER_ARM_X, UPPER_ARM_Z), math.atan2(UPPER_ARM_X, UPPER_ARM_Z)
    bearing = math.atan2(wrist[1], wrist[0]) if math.hypot(wrist[0], wrist[1]) > 1e-9 else seed[0]
    height = wrist[2] - SHOULDER_HEIGHT
    for q1 in (bearing, _wrap(bearing + math.pi)):
        reach = math.cos(q1) * wrist[0] + math.sin(q1) * wrist[1]
        distance = max(math.hypot(reach, height), 1e-9)
        cosine = (upper_arm**2 + distance**2 - FOREARM**2) / (2.0 * upper_arm * distance)
        fold = math.acos(min(max(cosine, -1.0), 1.0))
        for tilt in (math.atan2(reach, height) + fold, math.atan2(reach, height) - fold):
            q2 = _wrap(tilt - lean)
            forearm = math.atan2(reach - upper_arm * math.sin(tilt), height - upper_arm * math.cos(tilt)) - math.pi / 2
            q3 = _wrap(forearm - q2)
            e = (rotation_from_rpy(0.0, forearm, q1).T @ target[:3, :3]).tolist()
            sine = math.hypot(e[1][0], e[2][0])
            if sine < 1e-9:
                found.append([q1, q2, q3, seed[3], 0.0, _wrap(math.atan2(e[2][1], e[1][1]) - seed[3])])
                continue
            for sign in (1.0, -1.0):
                q4 = math.atan2(sign * e[1][0], -sign * e[2][0])
                q5 = math.atan2(sign * sine, e[0][0])
                q6 = math.atan2(sign * e[0][1], sign * e[0][2])
                found.append([q1, q2, q3, q4, q5, q6])
    return found


def _wrap(angle: float) -> float:
    return math.remainder(angle, 2.0 * math.pi)


def _rotation_error(target: list[list[float]], rotation: tuple[_Vector, _Vector, _Vector]) -> _Vector:
    """Rotation vector (base frame) that turns `rotation` into `target`."""
    (x, y, z) = rotation
    e = [[target[i][0] * x[j] + target[i][1] * y[j] + target[i][2] * z[j] for j in range(3)] for i in range(3)]
    w = (e[2][1] - e[1][2], e[0][2] - e[2][0], e[1][0] - e[0][1])
    sine = 0.5 * math.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
    cosine = 0.5 * (e[0][0] + e[1][1] + e[2][2] - 1.0)
    angle = math.atan2(sine, cosine)
    if sine > 1e-6:
        scale = 0.5 * angle / sine
        return w[0] * scale, w[1] * scale, w[2] * scale
    if cosine > 0.0:
        return 0.5 * w[0], 0.5 * w[1], 0.5 * w[2]
    # half a turn: e is 2 n n^T - 1, the largest diagonal entry gives the axis without cancellation
    k = max(range(3), key=lambda i: e[i][i])
    n = [e[i][k] + (1.0 if i == k else 0.0) for i in range(3)]
    norm = math.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
    return math.pi * n[0] / norm, math.pi * n[1] / norm, math.pi * n[2] / norm


def _descend(
    target: list[list[float]],
    q: list[float],
    position_tolerance: float,
    rotation_tolerance: float,
    max_iterations: int,
    max_joint_step: float,
) -> IkSolution:
    q = [min(max(value, low), high) for value, low, high in zip(q, _LOWER, _UPPER, strict=True)]
    best_q, best_cost, best_position, best_rotation = q, math.inf, math.inf, math.inf
    iteration = 0
    while True:
        chain = _chain(q)
        tip = chain.tip
        d0, d1, d2 = target[0][3] - tip[0], target[1][3] - tip[1], target[2][3] - tip[2]
        w0, w1, w2 = _rotation_error(target, chain.rotation)
        position_error = math.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
        rotation_error = math.sqrt(w0 * w0 + w1 * w1 + w2 * w2)
        cost = LENGTH_WEIGHT * position_error + rotation_error
        if cost < best_cost:
            best_q, best_cost, best_position, best_rotation = q, cost, position_error, rotation_error
        converged = position_error <= position_tolerance and rotation_error <= rotation_tolerance
        if converged or iteration == max_iterations or not math.isfinite(cost):
            break
        iteration += 1
        error = np.array([d0 * LENGTH_WEIGHT, d1 * LENGTH_WEIGHT, d2 * LENGTH_WEIGHT, w0, w1, w2])
        columns = np.array(_geometric_columns(chain, LENGTH_WEIGHT))
        damping = 0.5 * float(error @ error) + 1e-7
        q = _limited_step(q, columns, error, damping, max_joint_step)
    at_limit = any(
        value <= low + 1e-9 or value >= high - 1e-9 for value, low, high in zip(best_q, _LOWER, _UPPER, strict=True)
    )
    reached = best_position <= position_tolerance and best_rotation <= rotation_tolerance
    return IkSolution(np.array(best_q), reached, best_position, best_rotation, iteration, at_limit)


def _limited_step(q: list[float], columns: Array, error: Array, damping: float, max_step: float) -> list[float]:
    """One damped step `dq = (J^T J + damping 1)^-1 J^T e`; `columns` (6, 6) is J^T."""
    free = columns
    while True:
        normal = free @ free.T
        normal.flat[::7] += damping
        step: list[float] = np.linalg.solve(normal, free @ error).tolist()
        largest = max(abs(value) for value in step)
        scale = min(1.0, max_step / largest) if largest > 0.0 else 1.0
        blocked = [
            i for i in range(6) if (q[i] <= _LOWER[i] and step[i] < -1e-12) or (q[i] >= _UPPER[i] and step[i] > 1e-12)
        ]
        if not blocked:
            return [
                min(max(value + scale * delta, low), high)
                for value, delta, low, high in zip(q, step, _LOWER, _UPPER, strict=True)
            ]
        free = free.copy()
        free[blocked] = 0.0  # a joint on its limit gives no help: solve again without it


def rotation_from_rpy(roll: float, pitch: float, yaw: float) -> Array:
    """Rotation (3, 3) `Rz(yaw) Ry(pitch) Rx(roll)`, angles in rad."""
    cr, sr, cp, sp = math.cos(roll), math.sin(roll), math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(yaw), math.sin(yaw)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def rotation_vector(target: Array, rotation: Array) -> Array:
    """Rotation vector (3,) in rad, base frame, that turns `rotation` (3, 3) into `target` (3, 3)."""
    x, y, z = np.asarray(rotation, dtype=np.float64).T.tolist()
    return np.array(_rotation_error(np.asarray(target, dtype=np.float64).tolist(), (tuple(x), tuple(y), tuple(z))))


def rotation_from_vector(vector: Array) -> Array:
    """Rotation (3, 3) about `vector` (3,) by its length in rad (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = (vector / angle).tolist()
    c, s = math.cos(angle), math.sin(angle)
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation: Array = np.eye(3) + s * skew + (1.0 - c) * (skew @ skew)
    return rotation


def rpy_from_rotation(rotation: Array) -> tuple[float, float, float]:
    """Roll, pitch and yaw in rad of a rotation (3, 3); yaw is 0 where pitch is a quarter turn."""
    r = np.asarray(rotation, dtype=np.float64).tolist()
    pitch = math.atan2(-r[2][0], math.hypot(r[0][0], r[1][0]))
    if abs(pitch) > math.pi / 2 - 1e-7:
        return math.atan2(-r[1][2], r[1][1]), pitch, 0.0
    return math.atan2(r[2][1], r[2][2]), pitch, math.atan2(r[1][0], r[0][0])


def pose_from_vector(vector: Sequence[float] | Array) -> Array:
    """Gripper pose (4, 4) of `x, y, z` (m) and `roll, pitch, yaw` (rad, base frame, 0 is `GRIPPER_DOWN`)."""
    x, y, z, roll, pitch, yaw = (float(value) for value in vector)
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_rpy(roll, pitch, yaw) @ GRIPPER_DOWN
    pose[:3, 3] = x, y, z
    return pose


def vector_from_pose(pose: Array) -> Array:
    """`x, y, z` (m), `roll, pitch, yaw` (rad, base frame, 0 is `GRIPPER_DOWN`) of a gripper pose (4, 4)."""
    roll, pitch, yaw = rpy_from_rotation(pose[:3, :3] @ GRIPPER_DOWN.T)
    return np.array([pose[0, 3], pose[1, 3], pose[2, 3], roll, pitch, yaw])


def finger_from_opening(opening: float) -> float:
    """Position (m) of each finger for a gripper opening, 0 closed .. 1 open; clipped to that range."""
    return FINGER_CLOSED + min(max(opening, 0.0), 1.0) * (FINGER_OPEN - FINGER_CLOSED)


def opening_from_finger(finger: float) -> float:
    """Gripper opening, 0 closed .. 1 open, of a finger position (m); clipped to that range."""
    return min(max((finger - FINGER_CLOSED) / (FINGER_OPEN - FINGER_CLOSED), 0.0), 1.0)


def proprioception(joint_positions: Sequence[float] | Array) -> Array:
    """The seven values of `Step.proprioception` from the eight positions in the order of `JOINT_NAMES` (rad,
    m).

    x, y, z (m); roll, pitch, yaw (rad, 0 is `GRIPPER_DOWN`); gripper opening (0 .. 1, mean of both fingers).
    """
    values = np.asarray(joint_positions, dtype=np.float64)
    opening = opening_from_finger(0.5 * float(values[6] + values[7]))
    return np.append(vector_from_pose(forward_kinematics(values[:6])), opening)
