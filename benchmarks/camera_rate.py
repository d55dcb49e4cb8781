"""Share of one core that the camera node takes for a camera of 640 x 480 pixels at 30 pictures a second.

python benchmarks/camera_rate.py [--seconds 20]; writes benchmarks/results/camera_rate.csv. Nothing else should run.

Over shared memory, as DDS does by itself on one machine: over UDP alone pictures of this size are lost.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import array

import cv2
import numpy as np
import psutil
import rclpy
from robofume_common.domain import claim_domain
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from robofume_common import qos

WIDTH, HEIGHT, RATE = 640, 480, 30.0
RESULTS = Path(__file__).parent / "results" / "camera_rate.csv"
CASES = {
    "every picture": {},
    "5 per second": {"rate": 5.0},
    "every picture, cropped": {"crop": [80, 0, 480, 480]},
    "every picture, undistorted": {"undistort": True},
    "every picture, JPEG": {"compressed": True},
    "5 per second, JPEG": {"compressed": True, "rate": 5.0},
}


def pictures(count: int = 8) -> list[np.ndarray]:
    """Pictures with the noise of a webcam."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = np.stack([x * 255 / WIDTH, y * 255 / HEIGHT, (x + y) % 256], axis=2)
    return [np.clip(smooth + random.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def measure(node: rclpy.node.Node, name: str, seconds: float) -> dict[str, object]:
    """Play the camera to one camera node and weigh its process."""
    parameters = {"image_deadline": 60.0, **CASES[name]}
    command = [sys.executable, "-m", "robofume_robot.nodes.camera", "--ros-args"]
    for key, value in parameters.items():
        command += ["-p", f"{key}:={str(value).lower() if isinstance(value, bool) else value}"]
    process = subprocess.Popen(command)
    compressed = bool(parameters.get("compressed"))
    kind, topic = (CompressedImage, "camera/image_raw/compressed") if compressed else (Image, "camera/image_raw")
    publisher = node.create_publisher(kind, topic, qos.IMAGE)
    info = node.create_publisher(CameraInfo, "camera/camera_info", qos.IMAGE)
    received: list[float] = []
    subscription = node.create_subscription(
        Image, "observation/image", lambda _message: received.append(time.monotonic()), qos.IMAGE
    )
    messages = []
    for picture in pictures():
        message = kind()
        if compressed:
            message.format = "jpeg"
            message.data = array.array("B", cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
        else:
            message.height, message.width, message.encoding, message.step = HEIGHT, WIDTH, "bgr8", 3 * WIDTH
            message.data = array.array("B", picture.tobytes())
        messages.append(message)
    calibration = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob")
    calibration.k = [600.0, 0.0, 320.0, 0.0, 600.0, 240.0, 0.0, 0.0, 1.0]
    calibration.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    weigh = psutil.Process(process.pid)
    start, used, due, count = 0.0, 0.0, time.monotonic(), 0
    while True:
        now = time.monotonic()
        if received and not start:
            start, used, count = now + 2.0, 0.0, 0
            received.clear()
        if start and not used and now >= start:
            used, received[:], count = sum(weigh.cpu_times()[:2]), [], 0
            start = now
        if used and now - start >= seconds:
            break
        message = messages[count % len(messages)]
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        info.publish(calibration)
        count += 1
        due = max(due + 1.0 / RATE, now - 0.5)
        while time.monotonic() < due:
            rclpy.spin_once(node, timeout_sec=max(0.0, due - time.monotonic()))
    share = (sum(weigh.cpu_times()[:2]) - used) / (time.monotonic() - start)
    process.send_signal(signal.SIGINT)
    process.wait(30)
    for thing in (publisher, info):
        node.destroy_publisher(thing)
    node.destroy_subscription(subscription)
    row = {
        "case": name,
        "pictures_per_second": round(count / seconds, 1),
        "images_per_second": round(len(received) / seconds, 1),
        "core_percent": round(100 * share, 1),
    }
    print(row, flush=True)
    return row


def main() -> None:
    """Measure every case and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    domain, _lock = claim_domain("benchmarks/camera_rate.py")
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    rclpy.init()
    node = rclpy.create_node("camera_rate")
    rows = [measure(node, name, options.seconds) for name in CASES]
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}: {RESULTS}")
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
