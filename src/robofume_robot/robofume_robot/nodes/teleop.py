"""The teleop node: a person's keys and joystick on `arm/override`, in the policy's place while they are used, and the
emergency stop. What the keys mean is in `teleoperation`."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty

import numpy as np
from rclpy.clock import Clock, ClockType
from robofume_common.conversion import to_nanoseconds
from robofume_common.enums import Actor, ArmMode, ArmState
from robofume_common.errors import MalformedMessage
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, ArmStatus
from robofume_robot.kinematics import PROPRIOCEPTION_NAMES
from robofume_robot.teleop_config import TeleopConfig
from robofume_robot.teleoperation import HELP, Keyboard, Request, Teleoperator


class Terminal:
    """Single keys from the terminal without waiting; nothing where standard input is none."""

    def __init__(self) -> None:
        self._file = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else -1
        self._keyboard = Keyboard()
        self._before = termios.tcgetattr(self._file) if self._file >= 0 else []
        if self._file >= 0:
            tty.setcbreak(self._file)

    @property
    def is_there(self) -> bool:
        """Whether there is a terminal."""
        return self._file >= 0

    def read(self) -> str:
        """What was typed since the last call."""
        if self._file < 0 or not select.select([self._file], [], [], 0.0)[0]:
            return ""
        return self._keyboard.keys(os.read(self._file, 64).decode(errors="ignore"))

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._file >= 0:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)


class TeleopNode(GraphNode):
    """Thin shell over `Teleoperator`."""

    def __init__(self) -> None:
        super().__init__("teleop")
        self._config = config = declare(self, TeleopConfig)
        self._teleoperator = Teleoperator(config)
        self._stamp, self._sent = None, -1
        self._opening: float | None = None
        """Of the gripper, as commanded last: what is held keeps its fingers apart."""
        self._seen = ""
        self._override = self.create_publisher(ArmCommand, "arm/override", qos.COMMAND)
        self._command = self.create_publisher(ArmCommand, "arm/command", qos.COMMAND)
        self._stop = self.create_publisher(Bool, "arm/emergency_stop", qos.COMMAND)
        self._release = self.create_client(Trigger, "arm/release")
        self.create_subscription(JointState, "observation/proprioception", self._on_proprioception, qos.STATE)
        self.create_subscription(ArmCommand, "arm/command", self._on_command, qos.COMMAND)
        self.create_subscription(Joy, "joy", self._on_joystick, qos.SENSOR_INPUT)
        self.create_subscription(ArmStatus, "arm/status", self._on_status, qos.LATCHED)
        self._terminal = Terminal() if config.keyboard else None
        if self._terminal is not None and self._terminal.is_there:
            print(HELP, flush=True)
            self.create_timer(0.02, self._read_keys, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _read_keys(self) -> None:
        assert self._terminal is not None
        for key in self._terminal.read():
            self._handle(self._teleoperator.key(key, time.monotonic()))

    def _on_joystick(self, message: Joy) -> None:
        self._handle(self._teleoperator.joystick(message.axes, message.buttons, time.monotonic()))

    def _on_proprioception(self, message: JointState) -> None:
        if len(message.position) != len(PROPRIOCEPTION_NAMES):
            raise MalformedMessage(f"It has {len(message.position)} values and not {len(PROPRIOCEPTION_NAMES)}.")
        self._stamp = message.header.stamp
        opening = message.position[6] if self._opening is None else self._opening
        stamp = to_nanoseconds(message.header.stamp)
        if 0 <= stamp - self._sent < self._config.command_period * 1e9:
            return
        command = self._teleoperator.command(opening, time.monotonic())
        if command is not None:
            self._sent = stamp
            self._override.publish(self._message(*command))

    def _on_command(self, message: ArmCommand) -> None:
        if message.mode != ArmMode.HOLD:
            self._opening = 1.0 if message.mode == ArmMode.HOME else float(message.action[6])

    def _handle(self, request: Request | None) -> None:
        if request is Request.STOP:
            self._stop.publish(Bool(data=True))
        elif request is Request.RELEASE:
            if self._release.service_is_ready():
                self._release.call_async(Trigger.Request())
            else:
                self.get_logger().error("Nothing was released: the arm node is not there.")
        elif request is Request.HOME and self._stamp is not None:
            self._command.publish(self._message(ArmMode.HOME, np.zeros(7)))

    def _message(self, mode: ArmMode, action: np.ndarray) -> ArmCommand:
        message = ArmCommand(mode=int(mode), action=action.astype(np.float32), actor=int(Actor.PERSON))
        message.header.stamp = self._stamp
        return message

    def _on_status(self, message: ArmStatus) -> None:
        text = f"{ArmState(message.state).name.lower()}: {message.message}"
        if text != self._seen:
            self._seen = text
            print(f"arm {text}", flush=True)

    def close(self) -> None:
        """Leave the terminal as it was; without overrides the policy acts, or the arm's watchdog holds."""
        if self._terminal is not None:
            self._terminal.close()


def main() -> None:
    """Entry point."""
    sys.exit(run(TeleopNode))


if __name__ == "__main__":
    main()
