"""The driver's joint states and registers in this suite's terms."""

import numpy as np
import pytest
from robofume_robot.interbotix_driver import ALL_JOINTS
from robofume_robot.interbotix_joints import JointReader, describe_errors

NAMES = ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper"]
NAMES += ["left_finger", "right_finger"]
POSITIONS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.1, 0.03, -0.03]


def test_fingers_are_positive_and_the_gripper_motor_is_left_out():
    np.testing.assert_allclose(
        JointReader().positions(NAMES, POSITIONS), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.03, 0.03]
    )


def test_another_order_of_joints_is_followed():
    reader = JointReader()
    reader.positions(NAMES, POSITIONS)
    values = reader.positions(NAMES[::-1], POSITIONS[::-1])
    np.testing.assert_allclose(values[:3], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("positions", [[*POSITIONS[:-1], np.nan], POSITIONS[:-1]])
def test_what_is_not_whole_is_not_believed(positions):
    assert JointReader().positions(NAMES, positions) is None
    assert JointReader().positions(NAMES[:5], positions[:5]) is None


@pytest.mark.parametrize("silent", [0, 4, 5])
def test_zeros_of_servos_that_do_not_answer_are_not_believed(silent):
    """The driver reads one servo after the other, and fills up with zeros, which are -pi, from where it fails."""
    positions = [*POSITIONS[:silent], *[-np.pi] * (7 - silent), 0.033, -0.033]
    assert JointReader().positions(NAMES, positions) is None


def test_an_arm_at_its_stops_is_believed():
    assert JointReader().positions(NAMES, [-3.13, -1.92, 1.65, 0.0, 0.8, 3.14, 1.1, 0.03, -0.03]) is not None
    assert JointReader().positions(NAMES, [0.0, -1.92, 1.65, 0.0, 0.8, 0.0, 1.1, 0.03, -0.03]) is not None


def test_currents_become_torques():
    torques = JointReader().efforts(NAMES, [1000.0] * 9)
    assert torques[0] == pytest.approx(1.78, abs=0.01) and torques[1] == pytest.approx(3.57, abs=0.01)
    assert JointReader().efforts(NAMES, []).size == 0, "the servo simulator gives none"


def test_error_bits_are_named():
    assert describe_errors([0] * 7, ALL_JOINTS) == "" and describe_errors([], ALL_JOINTS) == ""
    described = describe_errors([0, 32, 0, 0, 0, 0, 36], ALL_JOINTS)
    assert described == "shoulder: overload; gripper: overheating and overload"
    assert "error 64" in describe_errors([64], ALL_JOINTS)
