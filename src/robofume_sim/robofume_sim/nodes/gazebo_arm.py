"""The Gazebo arm node: the arm's trajectories, split among the controllers of Interbotix's simulated arm."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rclpy.node import Node
from robofume_common.diagnostics import Diagnostics
from robofume_common.node import run
from robofume_common.parameters import declare, setting
from robofume_robot.kinematics import ARM_JOINT_NAMES, FINGER_JOINT_NAMES
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robofume_common import qos

CONTROLLERS = {"arm_controller": ARM_JOINT_NAMES, "gripper_controller": FINGER_JOINT_NAMES}


@dataclass(frozen=True)
class GazeboArmConfig:
    """Settings of the Gazebo arm node."""

    robot_name: str = setting("wx250s", "Namespace of the arm's controllers")


class GazeboArmNode(Node):
    """One trajectory in, one for each controller out."""

    def __init__(self) -> None:
        super().__init__("gazebo_arm")
        config = declare(self, GazeboArmConfig)
        prefix = f"/{config.robot_name.strip('/')}"
        self._counters = {"trajectories": 0, "incomplete": 0}
        self._diagnostics = Diagnostics(self, self._counters)
        self._controllers = {
            name: self.create_publisher(JointTrajectory, f"{prefix}/{name}/joint_trajectory", qos.COMMAND)
            for name in CONTROLLERS
        }
        self.create_subscription(JointTrajectory, "arm_controller/joint_trajectory", self._on_trajectory, qos.COMMAND)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        names = list(message.joint_names)
        for controller, joints in CONTROLLERS.items():
            if any(joint not in names for joint in joints):
                self._counters["incomplete"] += 1
                continue
            order = [names.index(joint) for joint in joints]
            # Stamp 0 is now: a controller would take the stamp of an image for a start in the past.
            part = JointTrajectory(joint_names=list(joints))
            for point in message.points:
                positions = [point.positions[index] for index in order]
                part.points.append(JointTrajectoryPoint(positions=positions, time_from_start=point.time_from_start))
            self._controllers[controller].publish(part)
        self._counters["trajectories"] += 1


def main() -> None:
    """Entry point."""
    sys.exit(run(GazeboArmNode))


if __name__ == "__main__":
    main()
