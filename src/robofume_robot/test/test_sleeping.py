"""The way to the sleep pose."""

import numpy as np
import pytest
from robofume_robot.kinematics import JOINT_LOWER, JOINT_UPPER, SLEEP_JOINT_POSITIONS, key_points, pose_from_vector
from robofume_robot.sleeping import is_asleep, plan_sleep

from robofume_robot import kinematics

READY = np.array([0.0, -0.3, 0.45, 0.0, 1.43, 0.0])


def start_poses(count):
    rng = np.random.default_rng(5)
    poses = [READY, SLEEP_JOINT_POSITIONS]
    while len(poses) < count:
        vector = np.append(rng.uniform((0.17, -0.18, 0.02), (0.38, 0.18, 0.18)), (0, 0, rng.uniform(-0.6, 0.6)))
        solution = kinematics.inverse_kinematics(pose_from_vector(vector), READY, any_configuration=True)
        if solution.converged:
            poses.append(solution.joint_positions)
    return poses


def test_from_everywhere_over_the_table_nothing_sinks_on_the_way():
    """The gripper never comes lower than it was at first or is asleep, and neither do elbow and wrist."""
    asleep = key_points(SLEEP_JOINT_POSITIONS)
    for joints in start_poses(60):
        motion = plan_sleep(np.append(joints, (0.02, 0.02)), 0.15, 0.15)
        points = np.array([point.positions for point in motion.points])
        times = np.array([point.time_from_start for point in motion.points])
        np.testing.assert_allclose(points[-1, :6], SLEEP_JOINT_POSITIONS)
        assert is_asleep(points[-1], 1e-6)
        assert ((points[:, :6] >= JOINT_LOWER) & (points[:, :6] <= JOINT_UPPER)).all()
        assert (points[:, 6:] == 0.02).all()
        speeds = np.abs(np.diff(points[:, :6], axis=0)) / np.diff(times)[:, None]
        assert (np.diff(times) > 0.0).all() and speeds.max() <= 0.15 * np.pi + 1e-9
        first = key_points(joints)
        for each in points[:, :6]:
            _x, _y, z, elbow, wrist = key_points(each)
            assert z >= min(first[2], asleep[2]) - 5e-3
            assert elbow >= min(first[3], asleep[3]) - 5e-3 and wrist >= min(first[4], asleep[4]) - 5e-3


def test_an_arm_that_is_asleep_stays_where_it_is():
    motion = plan_sleep(np.append(SLEEP_JOINT_POSITIONS, (0.037, 0.037)), 0.15, 0.05)
    assert len(motion.points) == 1
    np.testing.assert_allclose(motion.points[0].positions[:6], SLEEP_JOINT_POSITIONS)


@pytest.mark.parametrize(("joint", "expected"), [(0, False), (2, False)])
def test_what_is_not_asleep(joint, expected):
    measured = np.append(SLEEP_JOINT_POSITIONS, (0.02, 0.02))
    assert is_asleep(measured, 0.2)
    measured[joint] += 0.25
    assert is_asleep(measured, 0.2) is expected
