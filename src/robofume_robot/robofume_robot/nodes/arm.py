"""The arm node: `arm/command` in, safe joint trajectories and proprioception out. The work is done in
`Arm`."""

from __future__ import annotations

import array
import sys

import numpy as np
from builtin_interfaces.msg import Duration
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from robofume_common.conversion import to_nanoseconds, to_time
from robofume_common.diagnostics import ERROR, OK, Diagnostics
from robofume_common.enums import ArmState
from robofume_common.node import run
from robofume_common.parameters import declare
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, ArmStatus
from robofume_robot.arm import SECOND, Arm, Command, Motion
from robofume_robot.arm_config import ArmConfig
from robofume_robot.kinematics import JOINT_NAMES

PROPRIOCEPTION_NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]


class TrajectoryController:
    """Backend: `arm_controller/joint_trajectory`, for the simulation, Gazebo and ros2_control."""

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


class ArmNode(Node):
    """Thin shell over `Arm`."""

    def __init__(self) -> None:
        super().__init__("arm")
        config = declare(self, ArmConfig)
        self._arm = Arm(config, on_status=self._publish_status)
        self._order: list[int] = []
        self._names: list[str] = []
        self._backend = TrajectoryController(self)
        self._proprioception = self.create_publisher(JointState, "observation/proprioception", qos.STATE)
        self._status = self.create_publisher(ArmStatus, "arm/status", qos.LATCHED)
        self._diagnostics = Diagnostics(self, lambda: vars(self._arm.counters))
        self.create_subscription(JointState, "joint_states", self._on_joint_states, qos.sensor_input(config.lockstep))
        self.create_subscription(ArmCommand, "arm/command", self._on_command, qos.COMMAND)
        # Wall time on purpose: a simulated clock stands still just when the watchdog is needed.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(min(0.1, config.watchdog / 5.0), self._on_tick, clock=steady)
        self.create_timer(1.0, self._publish_status, clock=steady)
        self._publish_status()
        if self._arm.limits is None:
            self.get_logger().error(f"The arm will not move: {self._arm.message}.")

    def _on_joint_states(self, message: JointState) -> None:
        if message.name != self._names and not self._learn_names(list(message.name)):
            return
        positions = np.frombuffer(message.position, dtype=np.float64)
        if len(positions) != len(self._names):
            return
        motion = self._arm.joint_state(to_nanoseconds(message.header.stamp), positions[self._order])
        if self._arm.stamp == to_nanoseconds(message.header.stamp):
            answer = JointState(name=PROPRIOCEPTION_NAMES)
            answer.header.stamp = message.header.stamp
            answer.position = array.array("d", self._arm.proprioception().tobytes())
            self._proprioception.publish(answer)
        if motion is not None:
            self._backend.send(motion)

    def _learn_names(self, names: list[str]) -> bool:
        missing = [name for name in JOINT_NAMES if name not in names]
        if missing:
            self.get_logger().error(
                f"joint_states lacks {', '.join(missing)}: the message is ignored.",
                throttle_duration_sec=10.0,
            )
            return False
        self._names, self._order = names, [names.index(name) for name in JOINT_NAMES]
        return True

    def _on_command(self, message: ArmCommand) -> None:
        motion = self._arm.command(
            Command(to_nanoseconds(message.header.stamp), message.mode, message.action, message.actor)
        )
        if motion is not None:
            self._backend.send(motion)

    def _on_tick(self) -> None:
        motion = self._arm.tick()
        if motion is not None:
            self._backend.send(motion)

    def _publish_status(self) -> None:
        arm = self._arm
        message = ArmStatus(stamp=to_time(max(arm.stamp, 0)), state=int(arm.state), message=arm.message)
        message.home_command = to_time(arm.home_command)
        for name, count in vars(arm.counters).items():
            setattr(message, name, int(count))
        self._status.publish(message)
        wrong = arm.state in (ArmState.REFUSING, ArmState.STOPPED)
        self._diagnostics.report(ERROR if wrong else OK, arm.message)

    def close(self) -> None:
        """Hold the pose at the end."""
        motion = self._arm.halt("the arm node ends")
        if motion is not None:
            self._backend.send(motion)


def main() -> None:
    """Entry point."""
    sys.exit(run(ArmNode))


if __name__ == "__main__":
    main()
