"""Saves one picture of an image topic: `snapshot --ros-args -r image:=/usb_cam/image_raw -p output:=camera.png`."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rclpy.clock import Clock, ClockType
from robofume_common.conversion import image_to_array
from robofume_common.errors import RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare, setting
from sensor_msgs.msg import Image

from robofume_common import qos
from robofume_robot.crop_picture import write_picture


@dataclass(frozen=True)
class SnapshotConfig:
    """Settings of the snapshot node."""

    output: str = setting("camera.png", "File for the picture, PNG or JPEG")
    deadline: float = setting(20.0, "Wall time to wait for a picture", unit="s", minimum=0.1, maximum=3600.0)


class SnapshotNode(GraphNode):
    """Waits for one picture, writes it, and ends."""

    def __init__(self) -> None:
        super().__init__("snapshot")
        self._config = declare(self, SnapshotConfig)
        self._due = time.monotonic() + self._config.deadline
        self._written = False
        self._subscription = self.create_subscription(Image, "image", self._on_image, qos.sensor_input(False))
        self.create_timer(0.2, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_image(self, message: Image) -> None:
        if not self._written:
            write_picture(Path(self._config.output), image_to_array(message))
            self._written = True

    def _look(self) -> None:
        if self._written:
            raise SystemExit(0)
        if time.monotonic() > self._due:
            topic = self._subscription.topic_name
            self.failure = RobofumeError(
                f"No picture came on {topic} within {self._config.deadline:g} s: does the camera's driver run?"
            )


def main() -> None:
    """Entry point."""
    sys.exit(run(SnapshotNode))


if __name__ == "__main__":
    main()
