"""The camera node: any picture in, the policy's image out, with the source's stamp."""

from __future__ import annotations

import struct
import sys
import threading
import time
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.serialization import deserialize_message
from robofume_common.conversion import array_to_image, depth_to_array, image_to_array, to_nanoseconds
from robofume_common.diagnostics import ERROR, OK, WARN, Diagnostics
from robofume_common.errors import MalformedMessage, RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from robofume_common import qos
from robofume_robot import image_pipeline
from robofume_robot.camera_config import CameraConfig
from robofume_robot.image_pipeline import (
    CameraWatch,
    RateLimiter,
    crop_and_resize,
    decode_picture,
    depth_to_picture,
)
from robofume_robot.motion import SECOND
from robofume_robot.opencv_source import OpenCvSource
from robofume_robot.undistortion import Calibration, Undistorter


class CameraNode(GraphNode):
    """Thin shell over the image pipeline."""

    def __init__(self) -> None:
        super().__init__("camera")
        self._config = declare(self, CameraConfig)
        self._limiter = RateLimiter(0.0 if self._config.lockstep else self._config.rate)
        self._watch = CameraWatch(self._config, time.monotonic())
        self._lost = ""
        self._publisher = self.create_publisher(Image, "observation/image", qos.IMAGE)
        self._diagnostics = Diagnostics(self, self._counters)
        self._source: OpenCvSource | None = None
        self._ended = threading.Event()
        self._undistorter: Undistorter | None = None
        if self._config.undistort and self._config.calibration:
            self._undistorter = Undistorter(Calibration.load(self._config.calibration))
        elif self._config.undistort:
            self.create_subscription(CameraInfo, "camera/camera_info", self._on_camera_info, qos.sensor_input(False))
        if self._config.source:
            self._source = OpenCvSource(self._config.source, self._config.loop)
            self._thread = threading.Thread(target=self._read, name="camera source", daemon=True)
            self._thread.start()
        else:
            kind, topic = (CompressedImage, "/compressed") if self._config.compressed else (Image, "")
            profile = qos.sensor_input(self._config.lockstep)
            # Serialised: a picture that the rate leaves out need not be unpacked.
            self.create_subscription(kind, f"camera/image_raw{topic}", self._on_data, profile, raw=True)
        period = min(0.5, self._config.image_deadline / 5.0, self._config.first_image_deadline / 5.0)
        self.create_timer(period, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_camera_info(self, message: CameraInfo) -> None:
        if self._undistorter is None:
            model = message.distortion_model
            calibration = Calibration(message.width, message.height, model, tuple(message.k), tuple(message.d))
            self._undistorter = Undistorter(calibration)

    def _on_data(self, data: bytes) -> None:
        if not self._limiter.passes(_stamp_of(data)):
            return
        kind = CompressedImage if self._config.compressed else Image
        try:
            message = deserialize_message(data, kind)
        except Exception as error:
            raise MalformedMessage(f"It cannot be unpacked ({error}).") from error
        if self._config.compressed:
            picture = decode_picture(message.data)
        elif message.encoding == "16UC1":
            picture = depth_to_picture(depth_to_array(message), self._config.depth_range)
        else:
            picture = image_to_array(message)
        self._publish(picture, message.header.stamp, message.header.frame_id)

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
            self.failure = error

    def _publish(self, picture: image_pipeline.Image, stamp: Time, frame: str) -> None:
        if self._config.undistort and self._undistorter is None:
            return  # the calibration has not come yet; `_look` says so
        if self._config.max_age > 0.0:
            age = 1e-9 * (self.get_clock().now().nanoseconds - to_nanoseconds(stamp))
            if self._watch.is_stale(age):
                return
        image = crop_and_resize(picture, self._config, self._undistorter)
        self._watch.saw(image, to_nanoseconds(stamp), time.monotonic())
        if not (self._config.hold_when_blind and self._watch.blind):
            self._publisher.publish(array_to_image(image, stamp, frame))

    def _look(self) -> None:
        lost = self._watch.complaint(time.monotonic())
        if lost and (self._watch.images == 0 or self._config.exit_when_lost):
            raise RobofumeError(lost)
        if lost and not self._lost:
            self.get_logger().error(lost)
        elif self._lost and not lost:
            self.get_logger().info("The camera is back.")
        self._lost = lost
        warning = self._watch.warning()
        if lost:
            self._diagnostics.report(ERROR, lost)
        elif self._config.undistort and self._undistorter is None:
            self._diagnostics.report(WARN, "camera/camera_info has not arrived yet: no image is passed on")
        elif self._watch.images == 0:
            self._diagnostics.report(WARN, "no image has arrived yet")
        else:
            self._diagnostics.report(WARN if warning else OK, warning or "images arrive")

    def _counters(self) -> dict[str, Any]:
        watch = self._watch
        return {"images": watch.images, "stale": watch.stale, "frozen": watch.frozen, "black": watch.black}

    def close(self) -> None:
        """Let the thread that reads the device end, and the device go."""
        self._ended.set()
        if self._source is not None:
            self._thread.join(timeout=2.0)
            if not self._thread.is_alive():  # otherwise it hangs in the driver, and ends with the process
                self._source.close()


def _stamp_of(data: bytes) -> int:
    """Stamp (ns) of a serialised message that begins with a header: CDR, after its four bytes of encapsulation."""
    if len(data) < 12:
        raise MalformedMessage(f"It has {len(data)} bytes, less than a header.")
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return seconds * SECOND + nanoseconds


def main() -> None:
    """Entry point."""
    sys.exit(run(CameraNode))


if __name__ == "__main__":
    main()
