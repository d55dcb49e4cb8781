"""What surrounds the interbotix node: Interbotix' driver with its arm, and a stand-in for the arm node."""

import numpy as np
from builtin_interfaces.msg import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from robofume_robot.interbotix_driver import SERVICES
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Empty, Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robofume_common import qos
from robofume_interfaces.msg import ArmStatus, BackendStatus
from robofume_robot import kinematics

HOME = np.array([0.0, -0.3044, 0.4469, 0.0, 1.4283, 0.0])
NAMES = [*kinematics.ARM_JOINT_NAMES, "gripper", "left_finger", "right_finger"]
QUICK = {
    "startup_timeout": 60.0, "sleep_velocity_scale": 0.5,
    # A test that is held up is no silence, unless silence is what is tested.
    "driver_timeout": 10.0, "driver_lost_after": 60.0, "arm_timeout": 60.0, "arm_lost_after": 120.0,
}  # fmt: skip
EVERYTHING = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""As the stand-in for the library publishes."""


class Driver:
    """Both sides of the node: the driver with its arm, and the arm node."""

    def __init__(self, graph) -> None:
        self.graph, node = graph, graph.node
        self.joints = np.array(HOME)
        self.goals, self.calls, self.states, self.statuses = [], [], [], []
        self.speaking = self.arm_node = True
        self._services = [node.create_service(Trigger, f"/wx250s/{name}", lambda _q, a: a) for name in SERVICES]
        self._publisher = node.create_publisher(JointState, "/wx250s/joint_states", 10)
        node.create_subscription(Float64MultiArray, "/wx250s/fake/goals", self._on_goal, EVERYTHING)
        node.create_subscription(String, "/wx250s/fake/calls", lambda m: self.calls.append(m.data), EVERYTHING)
        node.create_subscription(JointState, "joint_states", self.states.append, qos.STATE)
        node.create_subscription(BackendStatus, "arm/backend_status", self.statuses.append, qos.LATCHED)
        self._trajectories = node.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", qos.COMMAND)
        self._status = node.create_publisher(ArmStatus, "arm/status", qos.LATCHED)
        self.stop = node.create_publisher(Bool, "arm/emergency_stop", qos.COMMAND)
        self.released = node.create_publisher(Empty, "arm/released", qos.COMMAND)
        node.create_timer(0.03, self._speak)
        node.create_timer(0.5, lambda: self.arm_node and self.sign_of_life())

    def sign_of_life(self) -> None:
        """Of the arm node; before the first one nobody misses it."""
        self._status.publish(ArmStatus(state=2))

    def _speak(self) -> None:
        if self.speaking:
            message = JointState(name=NAMES)
            message.header.stamp = self.graph.node.get_clock().now().to_msg()
            message.position = [*self.joints.tolist(), 0.3, 0.02, -0.02]
            message.effort = [100.0] * 9
            self._publisher.publish(message)

    def _on_goal(self, message: Float64MultiArray) -> None:
        self.joints = np.array(message.data)
        self.goals.append(self.joints)

    def send(self, joints, seconds=1) -> None:
        point = JointTrajectoryPoint(positions=[*map(float, joints), 0.037, 0.037])
        point.time_from_start = Duration(sec=seconds)
        self._trajectories.publish(JointTrajectory(joint_names=list(kinematics.JOINT_NAMES), points=[point]))

    def ready(self, process) -> None:
        assert self.graph.until(lambda: (self.states and self.statuses) or process.poll() is not None)
        assert process.poll() is None, process.stdout.read()
        publishers = self._trajectories, self._status, self.stop, self.released
        assert self.graph.until(lambda: all(publisher.get_subscription_count() for publisher in publishers))
