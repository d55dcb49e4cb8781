"""Backend for whatever takes joint trajectories: the simulation, Gazebo, ros2_control, and the interbotix node."""

from __future__ import annotations

import array
import time

from builtin_interfaces.msg import Duration
from rclpy.duration import Duration as Timeout
from rclpy.node import Node
from robofume_common.conversion import to_time
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robofume_common import qos
from robofume_robot.kinematics import JOINT_NAMES
from robofume_robot.motion import SECOND, Motion

_REPEAT = 0.1  # s


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

    def deliver(self, motion: Motion, deadline: float) -> bool:
        """Send `motion` again and again until all who listen have acknowledged it; False where they have not within
        `deadline` s of wall time. For a motion that changes nothing when it comes twice, such as a hold.

        To send it once and wait would not do. A publisher that is destroyed takes along what has not arrived, and Fast
        DDS finds out what was lost, as at a driver that stood still until its buffers were full, only every 3 s; or
        with each message once it has sent as many as it keeps (`qos.COMMAND`), after ten of these at the latest.
        """
        ends = time.monotonic() + deadline
        self.send(motion)
        while not self._publisher.wait_for_all_acked(Timeout(seconds=_REPEAT)):
            if time.monotonic() > ends:
                return False
            self.send(motion)
        return True
