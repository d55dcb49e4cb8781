"""The arm node: `arm/command` in, safe joint trajectories and proprioception out. The work is done in
`Arm`."""

from __future__ import annotations

import array
import sys

import numpy as np
from rclpy.clock import Clock, ClockType
from robofume_common.conversion import to_nanoseconds, to_time
from robofume_common.diagnostics import ERROR, OK, Diagnostics
from robofume_common.enums import ArmState, BackendState
from robofume_common.errors import RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Empty
from std_srvs.srv import Trigger

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, ArmStatus, BackendStatus
from robofume_robot.arm import Arm
from robofume_robot.arm_config import ArmConfig
from robofume_robot.backend import Backend
from robofume_robot.interbotix_config import InterbotixConfig
from robofume_robot.kinematics import JOINT_NAMES, PROPRIOCEPTION_NAMES
from robofume_robot.motion import Command, Motion
from robofume_robot.nodes.trajectory_controller import TrajectoryController

NOT_ALONE = (
    "The arm will not move while another arm node {name} is in this ROS domain, perhaps with another policy: end "
    "that graph, or give this one a ROS_DOMAIN_ID or a namespace of its own. One that was killed is forgotten after "
    "some 20 s."
)

LAST_HOLD_DEADLINE = InterbotixConfig().arm_timeout
"""s until the last hold must have arrived; after so long a silence the interbotix node holds the arm by itself."""
NOT_HELD = (
    f"The arm's driver has not acknowledged the last hold within {LAST_HOLD_DEADLINE:g} s: the arm may still be on its "
    "way. Look at it. The interbotix node stops it by itself, since it hears nothing more from this one; where it "
    "moves all the same, press space in `robofume teleop`, or support the arm and cut its power."
)


class ArmNode(GraphNode):
    """Thin shell over `Arm`."""

    def __init__(self) -> None:
        super().__init__("arm")
        config = declare(self, ArmConfig)
        self._arm = Arm(config, on_status=self._publish_status)
        self._order: list[int] = []
        self._names: list[str] = []
        self._alone, self._lockstep = True, config.lockstep
        self._controller = TrajectoryController(self)
        self._backend: Backend = self._controller
        self._proprioception = self.create_publisher(JointState, "observation/proprioception", qos.STATE)
        self._status = self.create_publisher(ArmStatus, "arm/status", qos.LATCHED)
        self._diagnostics = Diagnostics(self, lambda: vars(self._arm.counters))
        self.create_subscription(JointState, "joint_states", self._on_joint_states, qos.sensor_input(config.lockstep))
        self.create_subscription(ArmCommand, "arm/command", self._on_command, qos.COMMAND)
        self.create_subscription(BackendStatus, "arm/backend_status", self._on_backend_status, qos.LATCHED)
        self._released = self.create_publisher(Empty, "arm/released", qos.COMMAND)
        self.create_subscription(Bool, "arm/emergency_stop", self._on_emergency_stop, qos.COMMAND)
        self.create_service(Trigger, "arm/stop", self._on_stop_service)
        self.create_service(Trigger, "arm/release", self._on_release_service)
        # Wall time on purpose: a simulated clock stands still just when the watchdog is needed.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(min(0.1, config.watchdog / 5.0), self._on_tick, clock=steady)
        self.create_timer(1.0, self._look_around, clock=steady)
        self._publish_status()
        if self._arm.limits is None:
            self.get_logger().error(f"The arm will not move: {self._arm.message}.")

    def _on_joint_states(self, message: JointState) -> None:
        if message.name != self._names and not self._learn_names(list(message.name)):
            return
        positions = np.frombuffer(message.position, dtype=np.float64)
        if len(positions) != len(self._names):
            return
        efforts = message.effort
        efforts = [efforts[i] for i in self._order[:6]] if len(efforts) == len(self._names) else ()
        motion = self._arm.joint_state(to_nanoseconds(message.header.stamp), positions[self._order], efforts)
        if self._arm.stamp == to_nanoseconds(message.header.stamp):
            answer = JointState(name=list(PROPRIOCEPTION_NAMES))
            answer.header.stamp = message.header.stamp
            answer.position = array.array("d", self._arm.proprioception().tobytes())
            self._proprioception.publish(answer)
        self._send(motion)

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
        if not self._alone and not self._lockstep:  # a simulation in lockstep is answered, or it would stand still
            return
        motion = self._arm.command(
            Command(to_nanoseconds(message.header.stamp), message.mode, message.action, message.actor)
        )
        self._send(motion)

    def _on_emergency_stop(self, message: Bool) -> None:
        if message.data:
            self._stop()

    def _on_stop_service(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop()
        response.success, response.message = True, "Stopped; arm/release lets the arm move again."
        return response

    def _stop(self) -> None:
        self._send(self._arm.emergency_stop())
        self.get_logger().warning("Emergency stop.", throttle_duration_sec=1.0)  # a button may be held

    def _on_release_service(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = True, self._arm.release()
        self._released.publish(Empty())
        return response

    def _on_backend_status(self, message: BackendStatus) -> None:
        self._send(self._arm.backend_status(BackendState(message.state), message.message))

    def _on_tick(self) -> None:
        self._send(self._arm.tick())

    def _send(self, motion: Motion | None) -> None:
        if motion is not None:
            self._backend.send(motion)

    def _look_around(self) -> None:
        own = (self.get_name(), self.get_namespace())
        self._alone = self.get_node_names_and_namespaces().count(own) <= 1
        if not self._alone:
            sentence = NOT_ALONE.format(name=self.get_fully_qualified_name())
            self.get_logger().error(sentence, throttle_duration_sec=10.0)
        self._publish_status()

    def _publish_status(self) -> None:
        arm = self._arm
        message = ArmStatus(stamp=to_time(max(arm.stamp, 0)), state=int(arm.state), message=arm.message)
        message.home_command = to_time(arm.home_command)
        for name, count in vars(arm.counters).items():
            setattr(message, name, int(count))
        self._status.publish(message)
        wrong = arm.state in (ArmState.REFUSING, ArmState.STOPPED) or not self._alone
        self._diagnostics.report(ERROR if wrong else OK, arm.message)

    def close(self) -> None:
        """Hold the pose at the end. Raises RobofumeError where the hold may not have arrived and the arm may move."""
        motion = self._arm.halt("the arm node ends")
        if motion is None or self._controller.deliver(motion, LAST_HOLD_DEADLINE):
            return
        if not self._lockstep:  # where the world stands still without an answer
            raise RobofumeError(NOT_HELD)


def main() -> None:
    """Entry point."""
    sys.exit(run(ArmNode))


if __name__ == "__main__":
    main()
