"""What is asked of the servos through Interbotix' library, with servos that do nothing kind by themselves."""

from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.task import Future
from robofume_common.errors import RobofumeError
from robofume_robot.interbotix_config import InterbotixConfig
from robofume_robot.interbotix_driver import ALL_JOINTS, InterbotixLibrary
from robofume_robot.interbotix_joints import JointReader
from robofume_robot.kinematics import ARM_JOINT_NAMES
from sensor_msgs.msg import JointState

from robofume_robot import interbotix_driver

TICKS = 4096 / (2.0 * np.pi)
FRESH = {"Torque_Enable": 0, "Goal_Position": 0, "Profile_Velocity": 0, "Profile_Acceleration": 0}
FRESH |= {"Hardware_Error_Status": 0}
"""The registers of a servo that was restarted; its place is what it was."""


class Servos:
    """The library and the driver behind it. Where torque comes on, they go to the goal in their register at once."""

    def __init__(self) -> None:
        self.registers = {name: {**FRESH, "Present_Position": 300 + place} for place, name in enumerate(ALL_JOINTS)}
        self.restarted, self.mute = [], ""
        self.arm = SimpleNamespace(joint_commands=[9.0] * 6, moving_time=2.0, accel_time=0.3)
        calls = {"srv_set_reg": self._set, "srv_get_reg": self._get, "srv_reboot": self._reboot}
        calls["srv_torque"] = self._torque
        self.core = SimpleNamespace(**{name: Client(name, call) for name, call in calls.items()})
        self.settle()

    def settle(self) -> None:
        places = [self.registers[name]["Present_Position"] / TICKS for name in ALL_JOINTS]
        names = [*ALL_JOINTS, "left_finger", "right_finger"]
        self.core.joint_states = JointState(name=names, position=[*places, 0.02, -0.02])

    @staticmethod
    def _names(cmd_type, name):
        return (name,) if cmd_type == "single" else ARM_JOINT_NAMES if name == "arm" else ALL_JOINTS

    def _set(self, cmd_type, name, reg, value):
        for servo in self._names(cmd_type, name):
            self.registers[servo][reg] = value

    def _get(self, cmd_type, name, reg):
        values = []
        for servo in self._names(cmd_type, name):
            if servo == self.mute:
                break  # as the driver does
            values.append(self.registers[servo][reg])
        return values

    def _reboot(self, cmd_type, name, enable, smart_reboot):
        assert cmd_type == "single" and not enable and not smart_reboot, "the driver is silent for as many seconds"
        self.restarted.append(name)
        self.registers[name] |= FRESH
        self.mute = "" if name == self.mute else self.mute

    def _torque(self, cmd_type, name, enable):
        for servo in self._names(cmd_type, name):
            registers = self.registers[servo]
            if enable and not registers["Torque_Enable"] and servo in ARM_JOINT_NAMES:
                registers["Present_Position"] = registers["Goal_Position"]
            registers["Torque_Enable"] = int(enable)
        self.settle()


class Client:
    def __init__(self, name, call) -> None:
        self.srv_name, self._call = name, call
        self.srv_type = SimpleNamespace(Request=lambda **fields: fields)

    def call_async(self, fields):
        future = Future()
        future.set_result(SimpleNamespace(values=self._call(**fields)))
        return future


@pytest.fixture
def servos():
    return Servos()


@pytest.fixture
def library(servos, monkeypatch):
    monkeypatch.setattr(interbotix_driver, "RESTART_TIME", 0.0)
    library = object.__new__(InterbotixLibrary)  # its constructor asks for the library itself
    library._config, library._reader, library._bot = InterbotixConfig(), JointReader(), servos
    return library


def places(servos):
    return [servos.registers[name]["Present_Position"] for name in ARM_JOINT_NAMES]


def test_the_torque_comes_on_where_the_arm_is_and_not_where_its_old_goal_was(library, servos):
    before = places(servos)
    library.torque(True)
    assert places(servos) == before
    np.testing.assert_allclose(servos.arm.joint_commands, library.measured()[1][:6])


def test_the_goal_of_a_servo_that_holds_is_left_alone(library, servos):
    servos.registers["shoulder"] |= {"Torque_Enable": 1, "Goal_Position": 310}
    library.torque(True)
    assert servos.registers["shoulder"]["Goal_Position"] == 310, "it would sink a little each time"


@pytest.mark.parametrize("faulty", [("elbow",), ("gripper",), ALL_JOINTS])
def test_servos_with_a_fault_are_restarted_one_at_a_time_and_stay_where_they_fell(library, servos, faulty):
    library.prepare()
    library.torque(True)
    for name in faulty:
        servos.registers[name] |= {"Hardware_Error_Status": 32, "Torque_Enable": 0}
    servos.registers["elbow"]["Present_Position"] += 0 if faulty == ("gripper",) else 700
    servos.settle()
    fallen = places(servos)
    library.restart()
    assert servos.restarted == list(faulty) and places(servos) == fallen
    np.testing.assert_allclose(servos.arm.joint_commands, library.measured()[1][:6])
    for name in ARM_JOINT_NAMES:
        assert servos.registers[name]["Profile_Velocity"] == 200 and servos.registers[name]["Torque_Enable"]


def test_a_servo_that_does_not_answer_is_restarted_too(library, servos):
    servos.mute = "forearm_roll"
    library.restart()
    assert servos.restarted == ["forearm_roll"] and library.hardware_errors() == [0] * 7


def test_no_torque_comes_on_where_a_servo_does_not_say_where_it_is(library, servos):
    servos.mute = "elbow"
    with pytest.raises(RobofumeError, match="Not every servo says where it is"):
        library.torque(True)
    assert not any(servos.registers[name]["Torque_Enable"] for name in ALL_JOINTS)
