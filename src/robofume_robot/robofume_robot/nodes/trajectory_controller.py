"""Backend for whatever takes joint trajectories: the simulation, Gazebo, ros2_control, and the interbotix node."""

from __future__ import annotations

import array

from builtin_interfaces.msg import Duration
from rclpy.duration import Duration as Timeout
from rclpy.node import Node
from robofume_common.conversion import to_time
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robofume_common import qos
from robofume_robot.kinematics import JOINT_NAMES
from robofume_robot.motion import SECOND, Motion


class TrajectoryController:
    """Publishes motions on `arm_controller/joint_trajectory`. A `robofume_robot.backend.Backend`."""

    def __init__(self, node: Node) -> None:
        self._publisher = node.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", qos.COMMAND)
        self._names = list(JOINT_NAMES)

    def send(self, motion: Motion) -> None:
        """Publish `motion` with the stamp of the observation that it answers."""
        message = JointTrajectory(joint_names=self._names)
        message.header.stamp = to_time(motion.stamp)
        for point in motion.points:
            seconds = int(point.time_from_start)
            duration = Duration(sec=seconds, nanosec=int((point.time_from_start - seconds) * SECOND))
            positions = array.array("d", point.positions.tobytes())
            message.points.append(JointTrajectoryPoint(positions=positions, time_from_start=duration))
        self._publisher.publish(message)

    def settle(self) -> None:
        """Wait for what was sent to arrive: a publisher that is destroyed takes along what has not."""
        self._publisher.wait_for_all_acked(Timeout(seconds=1.0))
