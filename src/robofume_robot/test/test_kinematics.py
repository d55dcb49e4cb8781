"""Kinematics of the WidowX 250s against the maker's figures, the product of exponentials and numerical
derivatives."""

import numpy as np
import pytest
from robofume_robot.kinematics import (
    ARM_JOINT_NAMES,
    GRIPPER_DOWN,
    JOINT_LOWER,
    JOINT_UPPER,
    SPACE_SCREWS,
    ZERO_POSE,
    forward_kinematics,
    inverse_kinematics,
    pose_from_vector,
    vector_from_pose,
)
from scipy.linalg import expm

from robofume_robot import kinematics

READY = np.array([0.0, -0.3, 0.45, 0.0, 1.43, 0.0])


def _skew(w):
    return np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])


def _product_of_exponentials(q):
    pose = np.eye(4)
    for screw, angle in zip(SPACE_SCREWS, q, strict=True):
        twist = np.zeros((4, 4))
        twist[:3, :3], twist[:3, 3] = _skew(screw[:3]), screw[3:]
        pose = pose @ expm(twist * angle)
    return pose @ ZERO_POSE


def _random_joints(count, seed=0):
    return np.random.default_rng(seed).uniform(JOINT_LOWER, JOINT_UPPER, (count, 6))


@pytest.mark.parametrize(
    ("joints", "position"),
    [
        ([0, 0, 0, 0, 0, 0], (0.45832, 0, 0.36065)),
        ([0, -1.80, 1.55, 0, 0.8, 0], (0.12265, 0, 0.08126)),
        ([0.3, -0.4, 0.5, 0.6, -0.7, 0.8], (0.32879, 0.04133, 0.40711)),
    ],
)
def test_check_values_of_the_maker(joints, position):
    np.testing.assert_allclose(forward_kinematics(joints)[:3, 3], position, atol=1e-5)


def test_closed_form_is_the_product_of_exponentials():
    for q in _random_joints(100):
        np.testing.assert_allclose(forward_kinematics(q), _product_of_exponentials(q), atol=1e-12)


def test_the_jacobian_is_the_derivative_of_the_pose():
    step = 1e-6
    for q in _random_joints(20, seed=1):
        rotation = forward_kinematics(q)[:3, :3]
        jacobian = kinematics.geometric_jacobian(q)
        for joint in range(len(ARM_JOINT_NAMES)):
            delta = np.zeros(6)
            delta[joint] = step
            rate = (forward_kinematics(q + delta) - forward_kinematics(q - delta)) / (2 * step)
            np.testing.assert_allclose(rate[:3, :3] @ rotation.T, _skew(jacobian[3:, joint]), atol=1e-8)
            np.testing.assert_allclose(rate[:3, 3], jacobian[:3, joint], atol=1e-8)


def test_ten_thousand_reachable_poses_are_solved_from_one_far_seed():
    for q in _random_joints(10_000, seed=2):
        target = forward_kinematics(q)
        solution = inverse_kinematics(
            target, READY, position_tolerance=1e-3, rotation_tolerance=np.radians(0.5), any_configuration=True
        )
        assert solution.converged, q
        assert kinematics.within_joint_limits(solution.joint_positions)
        reached = forward_kinematics(solution.joint_positions)
        assert np.linalg.norm(reached[:3, 3] - target[:3, 3]) <= 1e-3
        assert np.linalg.norm(kinematics.rotation_vector(target[:3, :3], reached[:3, :3])) <= np.radians(0.5)


def test_steps_from_a_near_seed_stay_near_and_take_few_iterations():
    rng = np.random.default_rng(3)
    for _ in range(300):
        vector = np.append(rng.uniform((0.18, -0.14, 0.03), (0.34, 0.14, 0.17)), (0, 0, rng.uniform(-0.5, 0.5)))
        start = inverse_kinematics(pose_from_vector(vector), READY, any_configuration=True)
        vector += np.append(rng.uniform(-0.05, 0.05, 3), (0, 0, rng.uniform(-0.25, 0.25)))
        step = inverse_kinematics(pose_from_vector(vector), start.joint_positions)
        assert start.converged and step.converged
        assert step.iterations <= 6
        assert np.abs(step.joint_positions - start.joint_positions).max() < 1.2


@pytest.mark.parametrize("position", [(0.9, 0, 0.2), (0, 0, 2.0), (5e3, -5e3, 1e6)])
@pytest.mark.parametrize("any_configuration", [False, True])
def test_unreachable_poses_are_refused_calmly(position, any_configuration):
    target = pose_from_vector((*position, 0, 0, 0))
    solution = inverse_kinematics(target, READY, any_configuration=any_configuration)
    assert not solution.converged
    assert solution.position_error > 1e-2
    assert kinematics.within_joint_limits(solution.joint_positions)


def test_a_pose_that_is_not_finite_is_refused():
    target = pose_from_vector((0.25, 0, 0.1, 0, 0, 0))
    target[0, 3] = np.nan
    assert not inverse_kinematics(target, READY, any_configuration=True).converged


def test_singular_seeds_do_not_stop_the_descent():
    straight = np.zeros(6)  # arm stretched, forearm and wrist axes in one line
    for vector in ((0.3, 0.1, 0.1, 0, 0, 0), (0.25, -0.1, 0.15, 0.1, 0, 0.3)):
        assert inverse_kinematics(pose_from_vector(vector), straight).converged


def test_joint_limits_hold_at_the_edge():
    target = forward_kinematics([0.2, 1.9, -2.0, 0.5, 2.0, 0.1])
    for seed in _random_joints(50, seed=4):
        solution = inverse_kinematics(target, seed)
        assert kinematics.within_joint_limits(solution.joint_positions, tolerance=0.0)


def test_gripper_down_is_zero_roll_pitch_yaw():
    q = inverse_kinematics(pose_from_vector((0.25, 0.05, 0.12, 0, 0, 0)), READY).joint_positions
    pose = forward_kinematics(q)
    np.testing.assert_allclose(pose[:3, :3], GRIPPER_DOWN, atol=2e-3)
    np.testing.assert_allclose(pose[:3, 0], (0, 0, -1), atol=2e-3)  # the fingers point down
    np.testing.assert_allclose(vector_from_pose(pose), (0.25, 0.05, 0.12, 0, 0, 0), atol=2e-3)


def test_pose_vectors_return():
    rng = np.random.default_rng(5)
    for _ in range(200):
        vector = rng.uniform([-1, -1, -1, -3.1, -1.5, -3.1], [1, 1, 1, 3.1, 1.5, 3.1])
        np.testing.assert_allclose(vector_from_pose(pose_from_vector(vector)), vector, atol=1e-9)


def test_rotation_vectors_return_up_to_half_a_turn():
    rng = np.random.default_rng(6)
    for angle in (0.0, 1e-9, 1e-4, 1.0, 3.0, np.pi - 1e-5, np.pi):
        axis = rng.normal(size=3)
        rotation = kinematics.rotation_from_vector(axis / np.linalg.norm(axis) * angle)
        vector = kinematics.rotation_vector(rotation, np.eye(3))
        np.testing.assert_allclose(np.linalg.norm(vector), angle, atol=1e-6)
        np.testing.assert_allclose(kinematics.rotation_from_vector(vector), rotation, atol=1e-6)


def test_proprioception_and_fingers():
    q = np.append(READY, (0.026, 0.026))
    values = kinematics.proprioception(q)
    np.testing.assert_allclose(values[:6], vector_from_pose(forward_kinematics(READY)))
    assert values[6] == pytest.approx(0.5)
    for opening in (0.0, 0.3, 1.0):
        assert kinematics.opening_from_finger(kinematics.finger_from_opening(opening)) == pytest.approx(opening)
    assert kinematics.finger_from_opening(9.0) == kinematics.FINGER_OPEN


def test_the_chain_of_the_makers_joint_table():
    """Forward kinematics joint by joint from the origins and axes of the maker's description, to 1e-6 m."""
    table = [
        ((0, 0, 0.072), (0, 0, 1)),
        ((0, 0, 0.03865), (0, 1, 0)),
        ((0.04975, 0, 0.25), (0, 1, 0)),
        ((0.175, 0, 0), (1, 0, 0)),
        ((0.075, 0, 0), (0, 1, 0)),
        ((0.065, 0, 0), (1, 0, 0)),
    ]
    for q in [*_random_joints(200, seed=8), np.zeros(6)]:
        pose = np.eye(4)
        for (origin, axis), angle in zip(table, q, strict=True):
            joint = np.eye(4)
            joint[:3, 3] = origin
            joint[:3, :3] = expm(_skew(np.array(axis)) * angle)
            pose = pose @ joint
        hand = np.eye(4)
        hand[0, 3] = 0.043 + 0.023 + 0.027575
        np.testing.assert_allclose(forward_kinematics(q), pose @ hand, atol=1e-6)


def test_poses_at_singularities_are_solved():
    """Wrist axes in one line, elbow straight, wrist over the waist's axis."""
    rng = np.random.default_rng(9)
    straight_elbow = -np.arctan2(0.25, 0.04975)
    for _ in range(100):
        for joint, value in ((4, 0.0), (2, straight_elbow), (0, 0.0)):
            q = rng.uniform(0.6 * JOINT_LOWER, 0.6 * JOINT_UPPER)
            q[joint] = value
            target = forward_kinematics(q)
            solution = inverse_kinematics(
                target, READY, position_tolerance=1e-3, rotation_tolerance=np.radians(0.5), any_configuration=True
            )
            assert solution.converged, q
            assert np.isfinite(solution.joint_positions).all()


def test_one_iteration_moves_no_joint_further_than_its_step():
    rng = np.random.default_rng(10)
    for q in _random_joints(200, seed=11):
        step = rng.uniform(0.05, 0.5)
        target = forward_kinematics(_random_joints(1, seed=int(rng.integers(1 << 30)))[0])
        solution = inverse_kinematics(target, q, max_iterations=1, max_joint_step=step)
        assert np.abs(solution.joint_positions - q).max() <= step + 1e-9


def test_poses_out_of_reach_are_refused_from_everywhere():
    rng = np.random.default_rng(12)
    for seed in _random_joints(100, seed=13):
        direction = rng.normal(size=3)
        place = np.array([0, 0, 0.11065]) + direction / np.linalg.norm(direction) * rng.uniform(0.70, 5.0)
        target = pose_from_vector((*place, *rng.uniform(-3, 3, 3)))
        solution = inverse_kinematics(target, seed, any_configuration=True)
        assert not solution.converged and solution.position_error > 5e-3
        assert kinematics.within_joint_limits(solution.joint_positions)
