"""The workspace node: watches `joint_states` of an arm that a person guides by hand, and writes the box at its end. It
publishes nothing that could move an arm."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rclpy.clock import Clock, ClockType
from robofume_common.errors import RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare, setting
from sensor_msgs.msg import JointState

from robofume_common import qos
from robofume_robot.kinematics import ARM_JOINT_NAMES
from robofume_robot.workspace import WorkspaceRecorder


@dataclass(frozen=True)
class WorkspaceConfig:
    """Where the box goes."""

    output: str = setting("workspace.yaml", "File that is written; an existing one is not overwritten")
    margin: float = setting(0.01, "The box is smaller than what was shown by this on each side", unit="m", minimum=0.0)
    overwrite: bool = setting(False, "Replace an existing file")


class WorkspaceNode(GraphNode):
    """Thin shell over `WorkspaceRecorder`."""

    def __init__(self) -> None:
        super().__init__("workspace")
        self._config = declare(self, WorkspaceConfig)
        self._recorder = WorkspaceRecorder()
        self._shown = ""
        if Path(self._config.output).exists() and not self._config.overwrite:
            raise RobofumeError(f"{self._config.output} is there already: choose another file, or overwrite it.")
        self.create_subscription(JointState, "joint_states", self._on_joint_states, qos.SENSOR_INPUT)
        self.create_timer(1.0, self._show, clock=Clock(clock_type=ClockType.STEADY_TIME))
        print("Guide the gripper by hand along the edges of the workspace. Ctrl+C ends and writes the box.", flush=True)

    def _on_joint_states(self, message: JointState) -> None:
        if len(message.position) != len(message.name):
            return
        values = dict(zip(message.name, message.position, strict=True))
        if all(name in values for name in ARM_JOINT_NAMES):
            self._recorder.add([values[name] for name in ARM_JOINT_NAMES])

    def _show(self) -> None:
        text = self._recorder.shown()
        if text != self._shown:
            self._shown = text
            print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)

    def close(self) -> None:
        """Write the box. Raises RobofumeError where what was shown makes none."""
        box = self._recorder.box(self._config.margin)
        path = Path(self._config.output)
        try:
            path.write_text(box.to_yaml())
        except OSError as error:
            raise RobofumeError(f"{path} cannot be written ({error.strerror}).") from error
        print(f"{box.to_yaml()}written to {path}", flush=True)


def main() -> None:
    """Entry point."""
    sys.exit(run(WorkspaceNode))


if __name__ == "__main__":
    main()
