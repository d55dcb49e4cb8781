"""The interbotix node: the real arm, driven through Interbotix' Python library. The decisions are in
`interbotix_arm.InterbotixArm`.

It is a process of its own because the library calls sys.exit, spins a node of its own and waits for its driver without
an end. For the graph it looks like the simulated arm: `arm_controller/joint_trajectory` in, `joint_states` out."""

from __future__ import annotations

import array
import os
import signal
import sys
import threading
import time

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from robofume_common.conversion import to_nanoseconds
from robofume_common.diagnostics import ERROR, OK, WARN, Diagnostics
from robofume_common.enums import ArmState, BackendState
from robofume_common.errors import RobofumeError
from robofume_common.node import EXIT_REFUSED, GraphNode, run
from robofume_common.parameters import declare
from robofume_common.parent import RUNNER_PID, signal_at_parents_end
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Empty
from trajectory_msgs.msg import JointTrajectory

from robofume_common import qos
from robofume_interfaces.msg import ArmStatus, BackendStatus
from robofume_robot.deadlines import Call
from robofume_robot.interbotix_arm import InterbotixArm
from robofume_robot.interbotix_config import InterbotixConfig
from robofume_robot.interbotix_driver import SERVICES, InterbotixLibrary, load_library
from robofume_robot.interbotix_joints import JointReader
from robofume_robot.kinematics import JOINT_NAMES
from robofume_robot.motion import SECOND, Motion, MotionPoint
from robofume_robot.sleeping import is_asleep


class InterbotixNode(GraphNode):
    """Thin shell over `InterbotixArm`."""

    def __init__(self) -> None:
        super().__init__("interbotix")
        self._listener: SingleThreadedExecutor | None = None
        self._config = declare(self, InterbotixConfig).check()
        load_library()
        self._wait_for_driver()
        self._driver = self._start_library()
        try:
            self._begin()
        except BaseException:
            self._let_go()  # its thread would outlive this one
            raise

    def _begin(self) -> None:
        config = self._config
        self._arm = InterbotixArm(
            config, self._driver, sleep=self._wait, on_status=self._publish_status, warn=self._warn
        )
        self._reader = JointReader()
        self._names, self._order = list(JOINT_NAMES), [JOINT_NAMES.index(name) for name in JOINT_NAMES]
        self._joint_states = self.create_publisher(JointState, "joint_states", qos.STATE)
        self._status = self.create_publisher(BackendStatus, "arm/backend_status", qos.LATCHED)
        self._stamp = BackendStatus().stamp
        self._diagnostics = Diagnostics(self, lambda: vars(self._arm.counters), hardware_id=config.robot_model)
        self._set_up_servos()
        source = f"/{config.namespace}/joint_states"
        self.create_subscription(JointState, source, self._on_joint_states, qos.SENSOR_INPUT)
        self.create_subscription(JointTrajectory, "arm_controller/joint_trajectory", self._on_trajectory, qos.COMMAND)
        self.create_subscription(ArmStatus, "arm/status", self._on_arm_status, qos.LATCHED)
        self.create_subscription(Bool, "arm/emergency_stop", self._on_emergency_stop, qos.COMMAND)
        self.create_subscription(Empty, "arm/released", lambda _message: self._arm.release(), qos.COMMAND)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(config.stream_period, self._on_tick, clock=steady)
        self.create_timer(1.0, self._publish_status, clock=steady)
        self._publish_status()
        self.get_logger().info(f"The arm {config.robot_model} is ready under /{config.namespace}.")

    # Start

    def _wait_for_driver(self) -> None:
        """Raise RobofumeError where the driver's services and joint states are not there in time."""
        name, ends = self._config.namespace, time.monotonic() + self._config.startup_timeout
        wanted = {f"/{name}/{service}" for service in SERVICES}
        while time.monotonic() < ends:
            missing = wanted - {found for found, _types in self.get_service_names_and_types()}
            if not missing and self.count_publishers(f"/{name}/joint_states"):
                return
            time.sleep(0.1)
        raise RobofumeError(
            f"No Interbotix driver was found under /{name} within {self._config.startup_timeout:g} s: start it "
            "(ros2 launch interbotix_xsarm_control xsarm_control.launch.py "
            f"robot_model:={self._config.robot_model}), and look at the power and at the USB cable."
        )

    def _start_library(self) -> InterbotixLibrary:
        """The library's own waits have no end: where they take too long, this process ends. Nothing has moved yet."""

        def give_up() -> None:
            print(
                f"The Interbotix driver under /{self._config.namespace} did not answer within "
                f"{self._config.startup_timeout:g} s: start it again.",
                file=sys.stderr,
                flush=True,
            )
            os._exit(EXIT_REFUSED)

        timer = threading.Timer(self._config.startup_timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            return InterbotixLibrary(self._config)
        except (SystemExit, AttributeError) as error:
            raise RobofumeError(
                f"The Interbotix library refused to start ({error}): is the driver's robot_model "
                f"{self._config.robot_model}?"
            ) from error
        finally:
            timer.cancel()

    def _set_up_servos(self) -> None:
        measured = self._driver.measured()
        if measured is None:
            raise RobofumeError("The driver's joint states lack joints of the arm: look at its motor configuration.")
        if not self._config.guided:
            self._driver.prepare()
            self._driver.torque(True)  # the end of the last session has cut it, or it was guided by hand
            return
        if not is_asleep(measured[1], self._config.sleep_tolerance):
            raise RobofumeError("guided needs the arm in its sleep pose: without torque it would fall.")
        self._driver.torque(False)

    # What it is told

    def _on_joint_states(self, message: JointState) -> None:
        positions = self._reader.positions(message.name, message.position)
        if positions is None:
            self._warn(
                "The driver's joint states lack joints of the arm, are not finite, or are where no arm can be, as when "
                "a servo does not answer: they are ignored."
            )
            return
        self._arm.joint_state(positions)
        self._stamp = message.header.stamp
        answer = JointState(name=self._names)
        answer.header.stamp = message.header.stamp
        answer.position = array.array("d", positions.tobytes())
        efforts = self._reader.efforts(message.name, message.effort)
        if len(efforts):
            answer.effort = array.array("d", np.append(efforts, (0.0, 0.0)).tobytes())
        self._joint_states.publish(answer)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        points = []
        if set(message.joint_names) != set(JOINT_NAMES):
            self._warn(f"A trajectory of other joints than {', '.join(JOINT_NAMES)} is ignored.")
            return
        order = [list(message.joint_names).index(name) for name in JOINT_NAMES]
        for point in message.points:
            values = np.asarray(point.positions, dtype=np.float64)
            values = values[order] if len(values) == len(order) else np.empty(0)
            seconds = point.time_from_start.sec + point.time_from_start.nanosec / SECOND
            points.append(MotionPoint(values, seconds))
        self._arm.send(Motion(to_nanoseconds(message.header.stamp), tuple(points)))

    def _on_arm_status(self, message: ArmStatus) -> None:
        self._arm.arm_status(ArmState(message.state), message.emergency_stops)

    def _on_emergency_stop(self, message: Bool) -> None:
        if message.data:
            self._arm.emergency_stop()

    def _on_tick(self) -> None:
        self._arm.tick()
        if self._arm.failure is not None:
            self.failure = self._arm.failure

    def _publish_status(self) -> None:
        arm = self._arm
        self._status.publish(BackendStatus(stamp=self._stamp, state=int(arm.state), message=arm.message))
        level = ERROR if arm.state is BackendState.NEEDS_PERSON else OK if arm.state is BackendState.READY else WARN
        self._diagnostics.report(level, arm.message)

    def _warn(self, sentence: str) -> None:
        self.get_logger().warning(sentence, throttle_duration_sec=2.0)

    def close(self) -> None:
        """The sleep pose, then torque off, on every way out."""
        parts = [str(self.failure)] if self.failure else []
        print(" ".join([*parts, self._arm.end()]), file=sys.stderr, flush=True)
        self._let_go()

    def _wait(self, seconds: float) -> None:
        """Let time pass while the arm is laid down, when nothing else listens: the emergency stop must be heard."""
        ends = time.monotonic() + seconds
        try:
            if self._listener is None:
                self._listener = SingleThreadedExecutor()
                self._listener.add_node(self)
            while (left := ends - time.monotonic()) > 0.0:
                self._listener.spin_once(timeout_sec=left)
        except Exception as error:  # noqa: BLE001  whatever it was, the arm has to be laid down all the same
            self._warn(f"The emergency stop is not heard any more ({error}).")
            time.sleep(max(0.0, ends - time.monotonic()))

    def _let_go(self) -> None:
        Call(self._driver.close).result(5.0, "The Interbotix library does not let go.")


def main() -> None:
    """Entry point."""
    if RUNNER_PID in os.environ:
        # The runner has the kernel kill its nodes when it is gone itself; this one must lay the arm down first.
        signal_at_parents_end(signal.SIGTERM)
    sys.exit(run(InterbotixNode))


if __name__ == "__main__":
    main()
