"""The camera node as a real process over DDS."""

import itertools

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from robofume_common.conversion import array_to_image, image_to_array, to_nanoseconds, to_time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from robofume_common import qos


class Camera:
    """The driver's side and the policy's side of the camera node."""

    def __init__(self, graph) -> None:
        self.graph = graph
        self.images: list[Image] = []
        self.reports: list[DiagnosticStatus] = []
        self.raw = graph.node.create_publisher(Image, "camera/image_raw", qos.IMAGE)
        graph.node.create_subscription(Image, "observation/image", self.images.append, qos.IMAGE)
        graph.node.create_subscription(
            DiagnosticArray,
            "diagnostics",
            lambda message: self.reports.extend(message.status),
            qos.DIAGNOSTICS,
        )

    def publish(self, picture, stamp) -> None:
        self.raw.publish(array_to_image(picture, to_time(stamp), "camera"))

    def newest(self) -> int:
        return to_nanoseconds(self.images[-1].header.stamp) if self.images else -1

    def show(self, level: int, stamp: int, done) -> bool:
        """One picture; whether `done` comes true soon after. To be called `until` it does."""
        self.publish(np.full((100, 100, 3), level, np.uint8), stamp)
        return self.graph.until(done, 0.2)

    def connect(self, ended=lambda: False) -> None:
        """Pictures until one has come back, or the node, tired of waiting for the next one, has `ended`."""
        assert self.graph.until(lambda: self.raw.get_subscription_count() or ended())
        assert self.graph.until(lambda: self.show(30, 1, lambda: self.images or ended())), "no image"
        self.graph.settle()
        self.images.clear()


@pytest.fixture
def camera(graph):
    return Camera(graph)


def test_images_keep_their_stamp_and_repetitions_pass(graph, camera):
    process = graph.start("camera", lockstep=True, rate=1.0)
    camera.connect()
    rng = np.random.default_rng(0)
    for stamp in (10, 20, 30, 30, 40):
        count = len(camera.images)
        picture = np.full((100, 100, 3), rng.integers(20, 250), np.uint8)
        camera.publish(picture, stamp)
        # By its stamp: pictures of `connect` may still be on their way.
        assert graph.until(lambda count=count, stamp=stamp: len(camera.images) > count and camera.newest() == stamp)
        image = camera.images[-1]
        assert (image.encoding, image.height, image.width) == ("rgb8", 64, 64)
        np.testing.assert_array_equal(image_to_array(image), picture[:64, :64])
    code, output = graph.stop(process)
    assert code == 0 and "Traceback" not in output


def test_pictures_of_other_encodings(graph, camera):
    graph.start("camera", lockstep=True, depth_range=1.0)
    camera.connect()
    colours = {
        "bgr8": ((10, 20, 30), (30, 20, 10)),
        "rgba8": ((10, 20, 30, 255), (10, 20, 30)),
        "bgra8": ((10, 20, 30, 255), (30, 20, 10)),
        "mono8": ((10,), (10, 10, 10)),
        "mono16": ((25600,), (100, 100, 100)),
        "16UC1": ((500,), (127, 127, 127)),  # 0.5 m of 1 m
    }
    for stamp, (encoding, (pixel, expected)) in enumerate(colours.items(), start=100):
        pixels = np.empty((80, 80, len(pixel)), np.uint16 if "16" in encoding else np.uint8)
        pixels[:] = pixel
        message = Image(height=80, width=80, encoding=encoding, step=pixels[0].nbytes)
        message.header.stamp = to_time(stamp)
        message.data = pixels.tobytes()
        camera.raw.publish(message)
        assert graph.until(lambda stamp=stamp: camera.newest() == stamp), encoding
        np.testing.assert_array_equal(image_to_array(camera.images[-1])[32, 32], expected, encoding)


def test_a_camera_that_stops_is_one_sentence_and_an_exit_code(graph, camera):
    process = graph.start("camera", image_deadline=1.0)
    camera.connect(ended=lambda: process.poll() is not None)
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == 1 and "Traceback" not in output
    assert "The camera has stopped: no image from camera/image_raw for 1 s." in output


def test_a_camera_that_stops_can_be_only_reported(graph, camera):
    process = graph.start("camera", image_deadline=0.5, exit_when_lost=False)
    camera.connect()
    assert graph.until(lambda: camera.reports and camera.reports[-1].level == DiagnosticStatus.ERROR)
    assert process.poll() is None

    def back():
        return camera.images and camera.reports[-1].level == DiagnosticStatus.OK

    assert graph.until(lambda: camera.show(200, 50, back)), "one picture is in time for half a second only"
    assert graph.stop(process)[0] == 0


def test_a_camera_that_never_comes_ends_the_node(graph):
    process = graph.start("camera", first_image_deadline=0.5, exit_when_lost=False)
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == 1 and "No image came from camera/image_raw" in output and "Traceback" not in output


def test_a_file_plays_through_and_then_the_camera_has_stopped(graph, camera, tmp_path):
    path = str(tmp_path / "clip.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (120, 90))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write MJPG")
    for blue in range(0, 160, 4):
        writer.write(np.full((90, 120, 3), (blue, 0, 255 - blue), np.uint8))
    writer.release()
    # Again and again, however long two nodes take to know one another; then once, whoever sees it.
    process = graph.start("camera", source=path, loop=True)
    assert graph.until(lambda: len(camera.images) > 5)
    image = image_to_array(camera.images[-1])
    assert image.shape == (64, 64, 3) and abs(int(image[0, 0, 0]) + int(image[0, 0, 2]) - 255) < 12
    assert graph.stop(process)[0] == 0
    process = graph.start("camera", source=path, image_deadline=2.0)
    assert graph.until(lambda: process.poll() is not None)
    assert process.returncode == 1 and "has stopped" in process.stdout.read()


def test_a_source_that_does_not_open_is_one_sentence(graph):
    process = graph.start("camera", source="/nowhere/clip.avi")
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == 1 and "Cannot open the camera source" in output and "Traceback" not in output


def test_compressed_pictures_pass_once_the_calibration_is_there(graph, camera):
    process = graph.start("camera", compressed=True, undistort=True, lockstep=True)
    raw = graph.node.create_publisher(CompressedImage, "camera/image_raw/compressed", qos.IMAGE)
    info = graph.node.create_publisher(CameraInfo, "camera/camera_info", qos.IMAGE)
    data = cv2.imencode(".jpg", np.full((96, 128, 3), (50, 100, 200), np.uint8))[1].tobytes()

    def send(stamp: int) -> None:
        message = CompressedImage(format="jpeg", data=data)
        message.header.stamp = to_time(stamp)
        raw.publish(message)

    assert graph.until(lambda: raw.get_subscription_count() and info.get_subscription_count())
    send(1)
    assert graph.until(lambda: any("camera_info has not arrived" in report.message for report in camera.reports))
    graph.settle()
    assert not camera.images
    calibration = CameraInfo(width=128, height=96, distortion_model="plumb_bob", d=[-0.1, 0.0, 0.0, 0.0, 0.0])
    calibration.k = [120.0, 0.0, 64.0, 0.0, 120.0, 48.0, 0.0, 0.0, 1.0]

    def calibrated():
        info.publish(calibration)
        send(2)
        return graph.until(lambda: camera.images, 0.2)

    assert graph.until(calibrated)
    np.testing.assert_allclose(image_to_array(camera.images[-1])[32, 32], (200, 100, 50), atol=4)
    assert graph.stop(process)[0] == 0


def test_nobody_sees_stale_black_or_frozen_pictures(graph, camera):
    """A picture that must not be seen is followed by one that is: what comes back of the one was not before it."""
    process = graph.start("camera", max_age=60.0, hold_when_blind=True, frozen_after=2)

    def send(level: int, age: float = 0.0) -> int:
        stamp = graph.node.get_clock().now().nanoseconds - int(age * 1e9)
        camera.publish(np.full((100, 100, 3), level, np.uint8), stamp)
        return stamp

    def stamps() -> list[int]:
        return [to_nanoseconds(image.header.stamp) for image in camera.images]

    def is_seen(stamp: int) -> bool:
        return graph.until(lambda: stamp in stamps())

    levels = itertools.cycle(range(30, 90))
    assert graph.until(lambda: send(next(levels)) and graph.until(lambda: camera.images, 0.5))
    assert is_seen(send(100))
    for level, age, next_level in ((200, 3600.0, 110), (0, 0.0, 120)):
        stamp = send(level, age)
        assert is_seen(send(next_level)) and stamp not in stamps()
    assert is_seen(send(90)) and is_seen(send(90))
    frozen = send(90)
    assert is_seen(send(91)) and frozen not in stamps()
    assert graph.stop(process)[0] == 0
