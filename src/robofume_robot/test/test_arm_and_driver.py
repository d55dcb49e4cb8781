"""The arm node and the interbotix node together: what stops an arm on its way home, and what is said where nobody has
heard that it should. The servos carry on as long as the interbotix node streams."""

import signal
import socket

import numpy as np
import psutil
import pytest
from interbotix_bench import HOME, QUICK
from robofume_common.conversion import to_nanoseconds
from robofume_common.enums import Actor
from robofume_robot.kinematics import SLEEP_JOINT_POSITIONS
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, ArmStatus

BOX = {"workspace_minimum": [0.17, -0.3, 0.02], "workspace_maximum": [0.40, 0.3, 0.18]}
ASIDE = HOME + (0.8, 0.0, 0.0, 0.0, 0.0, 0.0)
"""In the box, 13 s from home at the speed of these tests."""


class WayHome:
    """Both nodes, and an arm on its long way home."""

    def __init__(self, graph, driver) -> None:
        self.graph, self.driver = graph, driver
        driver.arm_node = False  # there is a real one
        self.statuses, self.motions = [], []
        graph.node.create_subscription(ArmStatus, "arm/status", self.statuses.append, qos.LATCHED)
        graph.node.create_subscription(
            JointTrajectory, "arm_controller/joint_trajectory", self.motions.append, qos.COMMAND
        )
        self.stop = graph.node.create_client(Trigger, "arm/stop")
        self._commands = graph.node.create_publisher(ArmCommand, "arm/command", qos.COMMAND)

    def begin(self, joints, **settings) -> None:
        self.driver.joints = np.array(joints)
        self.interbotix = self.graph.start("interbotix", **{**QUICK, **settings})
        self.driver.ready(self.interbotix)
        self.start_arm_node()
        assert self.graph.until(lambda: self._commands.get_subscription_count() and self.is_in(ArmStatus.STATE_HOLDING))
        assert self.graph.until(self.stop.service_is_ready)

        def is_asked() -> bool:
            command = ArmCommand(mode=ArmCommand.MODE_HOME, actor=int(Actor.PERSON))
            command.header.stamp = self.driver.states[-1].header.stamp
            self._commands.publish(command)
            return self.graph.until(lambda: self.is_in(ArmStatus.STATE_HOMING), 0.5)

        assert self.graph.until(is_asked)
        count = len(self.driver.goals)
        assert self.graph.until(lambda: len(self.driver.goals) > count + 5), "it moves"

    def start_arm_node(self) -> None:
        self.arm = self.graph.start(
            "arm", home_joint_positions=HOME.tolist(), home_velocity_scale=0.02,
            watchdog=30.0, joint_state_timeout=30.0, max_command_age=10.0, **BOX,
        )  # fmt: skip

    def is_in(self, state: int) -> bool:
        return bool(self.statuses) and self.statuses[-1].state == state

    def stall_the_driver(self) -> None:
        """The interbotix node stands still, and its buffers are full: what is sent to it now is lost."""
        self.interbotix.send_signal(signal.SIGSTOP)
        sockets = psutil.Process(self.interbotix.pid).net_connections("udp")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for connection in sockets:
                for _ in range(600):
                    sender.sendto(bytes(1000), ("127.0.0.1", connection.laddr.port))

    def was_told_to_hold(self) -> bool:
        return bool(self.motions) and to_nanoseconds(self.motions[-1].header.stamp) == 0

    def rests(self) -> bool:
        """Whether no goal comes for a second, on the way and not at home."""
        count = len(self.driver.goals)
        self.graph.settle(1.0)
        return len(self.driver.goals) == count and np.abs(self.driver.joints - HOME).max() > 0.1


@pytest.fixture
def way_home(graph, driver):
    return WayHome(graph, driver)


@pytest.mark.parametrize("cause", ["the service", "the end of the node"])
def test_an_arm_outside_its_box_is_stopped_on_its_way_home(graph, way_home, cause):
    way_home.begin(SLEEP_JOINT_POSITIONS)
    if cause == "the service":
        assert way_home.stop.call_async(Trigger.Request()) is not None
        assert graph.until(lambda: way_home.is_in(ArmStatus.STATE_STOPPED))
    else:
        assert graph.stop(way_home.arm)[0] == 0
    graph.settle(0.5)  # goals from before it
    assert way_home.rests()
    if cause == "the service":
        count = len(way_home.driver.goals)
        assert "was stopped" in graph.stop(way_home.interbotix)[1] and len(way_home.driver.goals) == count


def test_an_arm_node_that_is_started_again_does_not_let_the_arm_go_on(graph, way_home):
    way_home.begin(ASIDE)
    way_home.arm.kill()
    way_home.start_arm_node()
    assert graph.until(lambda: way_home.interbotix.says("The arm is held: the arm node does not follow its way"))
    assert graph.until(lambda: way_home.is_in(ArmStatus.STATE_HOLDING))
    graph.settle(0.5)
    assert way_home.rests()


def test_a_last_hold_that_was_lost_is_said_again_until_the_driver_has_it(graph, way_home):
    way_home.begin(ASIDE)
    way_home.stall_the_driver()
    way_home.arm.send_signal(signal.SIGTERM)
    assert graph.until(way_home.was_told_to_hold)
    way_home.interbotix.send_signal(signal.SIGCONT)
    assert graph.until(lambda: way_home.arm.poll() is not None)
    assert way_home.arm.returncode == 0, way_home.arm.stdout.read()
    graph.settle(0.5)
    assert way_home.rests()


def test_a_last_hold_that_nobody_has_taken_is_said_and_the_driver_holds_by_itself(graph, way_home):
    way_home.begin(ASIDE, arm_timeout=1.5)
    way_home.stall_the_driver()
    way_home.arm.send_signal(signal.SIGTERM)
    assert graph.until(lambda: way_home.arm.poll() is not None)
    output = way_home.arm.stdout.read()
    assert way_home.arm.returncode == 1 and "Traceback" not in output, output
    assert "has not acknowledged" in output and "robofume teleop" in output
    way_home.interbotix.send_signal(signal.SIGCONT)
    assert graph.until(lambda: way_home.interbotix.says("The arm is held: the arm node has been silent"))
    graph.settle(0.5)
    assert way_home.rests()
