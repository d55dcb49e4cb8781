"""The camera node: any picture in, the policy's image out, with the source's stamp."""

from __future__ import annotations

import array
import threading
import time
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Image

from robofume_common import qos
from robofume_common.diagnostics import DiagnosticsPublisher
from robofume_common.errors import RobofumeError
from robofume_common.node import run
from robofume_common.parameters import declare
from robofume_robot import image_pipeline
from robofume_robot.image_pipeline import CameraConfig, CameraWatch, RateLimiter, crop_and_resize, decode
from robofume_robot.opencv_source import OpenCvSource


class CameraNode(Node):
    """Thin shell over the image pipeline."""

    def __init__(self) -> None:
        super().__init__("camera")
        self._config = declare(self, CameraConfig)
        self._limiter = RateLimiter(0.0 if self._config.lockstep else self._config.rate)
        self._watch = CameraWatch(self._config, time.monotonic())
        self._lost = ""
        self._failure: RobofumeError | None = None
        self._publisher = self.create_publisher(Image, "observation/image", qos.IMAGE)
        self._diagnostics = DiagnosticsPublisher(self, self._report)
        self._source: OpenCvSource | None = None
        self._ended = threading.Event()
        if self._config.source:
            self._source = OpenCvSource(self._config.source, self._config.loop)
            self._thread = threading.Thread(target=self._read, name="camera source", daemon=True)
            self._thread.start()
        else:
            self.create_subscription(Image, "camera/image_raw", self._on_image, qos.CAMERA_IMAGE)
        period = min(0.5, self._config.image_deadline / 5.0, self._config.first_image_deadline / 5.0)
        self.create_timer(period, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_image(self, message: Image) -> None:
        stamp = message.header.stamp
        if self._limiter.passes(int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)):
            picture = decode(
                memoryview(message.data),
                message.encoding,
                message.height,
                message.width,
                message.step,
                bool(message.is_bigendian),
                self._config.depth_range,
            )
            self._publish(picture, stamp, message.header.frame_id)

    def _read(self) -> None:
        """Runs in a thread of its own: reading a device blocks."""
        assert self._source is not None
        try:
            for picture in self._source:
                if self._ended.is_set():
                    return
                now = self.get_clock().now()
                if self._limiter.passes(now.nanoseconds):
                    self._publish(picture, now.to_msg(), "camera")
        except RobofumeError as error:
            self._failure = error  # raised by the timer, in the thread that can end the node

    def _publish(self, picture: image_pipeline.Image, stamp: Time, frame: str) -> None:
        image = crop_and_resize(picture, self._config)
        message = Image(height=image.shape[0], width=image.shape[1], encoding="rgb8", step=image.shape[1] * 3)
        message.header.stamp = stamp
        message.header.frame_id = frame
        message.data = array.array("B", image.tobytes())
        self._publisher.publish(message)
        self._watch.saw(image, int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec), time.monotonic())

    def _look(self) -> None:
        if self._failure is not None:
            raise self._failure
        lost = self._watch.complaint(time.monotonic())
        if lost and (self._watch.images == 0 or self._config.exit_when_lost):
            raise RobofumeError(lost)
        if lost and not self._lost:
            self.get_logger().error(lost)
        elif self._lost and not lost:
            self.get_logger().info("The camera is back.")
        self._lost = lost

    def _report(self) -> tuple[int, str, dict[str, Any]]:
        values = {"images": self._watch.images, "frozen": self._watch.frozen, "black": self._watch.black}
        if self._lost:
            return 2, self._lost, values
        warning = self._watch.warning()
        return (1, warning, values) if warning else (0, "images arrive", values)

    def destroy_node(self) -> None:
        """Let go of the device."""
        self._ended.set()
        super().destroy_node()


def main() -> None:
    """Entry point."""
    run(CameraNode)


if __name__ == "__main__":
    main()
