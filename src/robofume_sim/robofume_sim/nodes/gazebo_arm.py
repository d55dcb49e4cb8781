"""The Gazebo arm node: Interbotix's simulated arm in the graph's terms.

The arm's trajectories are split among its controllers, and its joint states relayed; it counts the right finger
negative.
"""

from __future__ import annotations

import array
import sys
from dataclasses import dataclass

from robofume_common.diagnostics import Diagnostics
from robofume_common.errors import MalformedMessage, RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare, setting
from robofume_robot.interbotix_joints import CONTROLLERS, SWAPPED_FINGER, JointReader
from robofume_robot.kinematics import JOINT_NAMES
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robofume_common import qos


@dataclass(frozen=True)
class GazeboArmConfig:
    """Settings of the Gazebo arm node."""

    robot_name: str = setting("wx250s", "Namespace of the arm's controllers and joint states")


class GazeboArmNode(GraphNode):
    """One trajectory in, one for each controller out; joint states the other way."""

    def __init__(self) -> None:
        super().__init__("gazebo_arm")
        config = declare(self, GazeboArmConfig)
        prefix = f"/{config.robot_name.strip('/')}"
        self._counters = {"trajectories": 0, "joint_states": 0, "incomplete": 0}
        self._reader = JointReader()
        self._diagnostics = Diagnostics(self, self._counters)
        self._controllers = {
            name: self.create_publisher(JointTrajectory, f"{prefix}/{name}/joint_trajectory", qos.COMMAND)
            for name in CONTROLLERS
        }
        self.create_subscription(JointTrajectory, "arm_controller/joint_trajectory", self._on_trajectory, qos.COMMAND)
        self._joint_states = self.create_publisher(JointState, "joint_states", qos.STATE)
        source = f"{prefix}/joint_states"
        if self.resolve_topic_name("joint_states") == source:  # it would hear itself
            raise RobofumeError(f"The namespace of the graph must not be {prefix}, which is that of the arm in Gazebo.")
        self.create_subscription(JointState, source, self._on_joint_states, qos.SENSOR_INPUT)

    def _on_joint_states(self, message: JointState) -> None:
        positions = self._reader.positions(message.name, message.position)
        if positions is None:
            self._counters["incomplete"] += 1
            return
        answer = JointState(header=message.header, name=list(JOINT_NAMES))
        answer.position = array.array("d", positions.tobytes())
        self._joint_states.publish(answer)
        self._counters["joint_states"] += 1

    def _on_trajectory(self, message: JointTrajectory) -> None:
        names = list(message.joint_names)
        if any(len(point.positions) != len(names) for point in message.points):
            raise MalformedMessage(f"A point of it has not one position for each of {len(names)} joints.")
        for controller, joints in CONTROLLERS.items():
            if any(joint not in names for joint in joints):
                self._counters["incomplete"] += 1
                continue
            order = [names.index(joint) for joint in joints]
            signs = [-1.0 if joint == SWAPPED_FINGER else 1.0 for joint in joints]
            # Stamp 0 is now: a controller would take the stamp of an image for a start in the past.
            part = JointTrajectory(joint_names=list(joints))
            for point in message.points:
                positions = [sign * point.positions[index] for sign, index in zip(signs, order, strict=True)]
                part.points.append(JointTrajectoryPoint(positions=positions, time_from_start=point.time_from_start))
            self._controllers[controller].publish(part)
        self._counters["trajectories"] += 1


def main() -> None:
    """Entry point."""
    sys.exit(run(GazeboArmNode))


if __name__ == "__main__":
    main()
