"""From any camera picture to the policy's image: crop, resize, limit the rate, watch the camera. No ROS."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from robofume_common.errors import MalformedMessage, RobofumeError
from robofume_common.stamps import RESTART_JUMP

from robofume_robot.camera_config import CameraConfig
from robofume_robot.undistortion import Undistorter, Window

Image = NDArray[np.uint8]
MOST_PIXELS = 50_000_000
"""Of a compressed picture: more than any camera of a robot has, and 150 MB."""
_HEADER_BYTES = 2**18
"""A JPEG's size comes after its metadata."""
cv2.setNumThreads(1)  # the pictures are small, and the other cores have work of their own


def depth_to_picture(depth: NDArray[np.uint16], depth_range: float) -> Image:
    """RGB picture (h, w, 3) of distances (h, w) in mm: 0 is black, `depth_range` m and more is white."""
    grey = np.minimum(depth * (255.0 / (1000.0 * depth_range)), 255.0).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def decode_picture(data: bytes | bytearray | memoryview | NDArray[np.uint8]) -> Image:
    """RGB picture (h, w, 3) of a JPEG or PNG. Raises RobofumeError where it is neither, MalformedMessage where it is
    damaged or says that it is larger than MOST_PIXELS: a few bytes can ask for gigabytes of memory."""
    width, height = _announced_size(bytes(data[:_HEADER_BYTES]))
    if width * height > MOST_PIXELS:
        raise MalformedMessage(f"The picture is {width} x {height}, more than {MOST_PIXELS} pixels.")
    picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise MalformedMessage(f"The picture of {len(data)} bytes is damaged.")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _announced_size(head: bytes) -> tuple[int, int]:
    """Width and height that a PNG or JPEG says it has; 0 where a JPEG's cannot be found."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if not head.startswith(b"\xff\xd8"):
        raise RobofumeError("A compressed picture is neither JPEG nor PNG: set the driver's transport to one of them.")
    place = 2
    while place + 9 <= len(head):
        marker, length = head[place + 1], int.from_bytes(head[place + 2 : place + 4], "big")
        if head[place] != 0xFF or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            break
        place += 2 + length
    return int.from_bytes(head[place + 7 : place + 9], "big"), int.from_bytes(head[place + 5 : place + 7], "big")


def crop_window(width: int, height: int, config: CameraConfig) -> Window:
    """x, y, width and height of the part of a picture that is used: the crop, or the largest centred part of the right
    shape. Raises RobofumeError where the crop is not inside the picture."""
    if config.crop:
        x, y, w, h = config.crop
        if x + w > width or y + h > height:
            raise RobofumeError(
                f"crop x={x} y={y} width={w} height={h} does not fit into the picture of {width} x {height}."
            )
        return x, y, w, h
    w = min(width, max(1, round(height * config.width / config.height)))
    h = min(height, max(1, round(width * config.height / config.width)))
    return (width - w) // 2, (height - h) // 2, w, h


def crop_and_resize(picture: Image, config: CameraConfig, undistorter: Undistorter | None = None) -> Image:
    """The policy's image (config.height, config.width, 3), contiguous, of an RGB picture (h, w, 3).

    Areas are averaged when it gets smaller. Raises RobofumeError where the crop is not inside the picture.
    """
    height, width = picture.shape[:2]
    window = x, y, w, h = crop_window(width, height, config)
    part = picture[y : y + h, x : x + w] if undistorter is None else undistorter.part(picture, window)
    if (h, w) == (config.height, config.width):
        return np.ascontiguousarray(part)
    smaller = h >= config.height and w >= config.width
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(part), (config.width, config.height), interpolation=method)
    return np.asarray(resized, dtype=np.uint8)


class RateLimiter:
    """Passes images at most at a rate, by their stamps; a repetition of the last one that passed passes
    again."""

    def __init__(self, rate: float) -> None:
        self._period = int(1e9 / rate) if rate > 0.0 else 0
        self._due = 0
        self._last = -1

    def passes(self, stamp: int) -> bool:
        """Whether the image with this stamp (ns) is to be published."""
        if self._period == 0 or stamp == self._last:
            return True
        if self._last >= 0 and 0 <= self._last - stamp <= RESTART_JUMP:
            return False  # out of order
        # Half a millisecond of jitter must not drop every second image of a camera that runs at just this
        # rate.
        if stamp < self._due - 500_000 and stamp > self._last:
            return False
        # Keep the beat; after a gap or a source that was started again a new one begins.
        in_beat = self._last >= 0 and 0 <= stamp - self._due < self._period
        self._due = (self._due if in_beat else stamp) + self._period
        self._last = stamp
        return True


class CameraWatch:
    """Watches that images come, and that they show something. Times are s of steady wall time."""

    def __init__(self, config: CameraConfig, started: float) -> None:
        self._config = config
        self._time = started
        self._last: Image | None = None
        self._stamp = -1
        self._equal = 0
        self._age = 0.0
        self.black = False
        self.images = 0
        self.stale = 0

    @property
    def frozen(self) -> bool:
        """The same picture again and again."""
        return 0 < self._config.frozen_after <= self._equal

    @property
    def blind(self) -> bool:
        """The pictures come and show nothing."""
        return self.black or self.frozen

    def is_stale(self, age: float) -> bool:
        """Whether a picture of this age (s, its stamp against the clock) is too old to act on; counts those."""
        self._age = age
        stale = 0.0 < self._config.max_age < age
        self.stale += stale
        return stale

    def saw(self, image: Image, stamp: int, now: float) -> None:
        """Take note of a policy image (h, w, 3)."""
        self._time = now
        self.images += 1
        if stamp == self._stamp:
            return  # the source repeats itself because nobody answered
        self._stamp = stamp
        equal = self._last is not None and np.array_equal(self._last, image)
        self._equal = self._equal + 1 if equal else 0
        self._last = image
        self.black = int(image.max()) <= self._config.black_level

    def _why(self) -> str:
        """What may be behind the silence."""
        if 0.0 < self._config.max_age < self._age:
            return (
                f" Pictures come, but the newest is {self._age:.1f} s old by its stamp: synchronise the clocks, or set "
                "max_age."
            )
        return ""

    def complaint(self, now: float) -> str:
        """One sentence where the camera has stopped or never began; empty otherwise."""
        silent = now - self._time
        origin = f"the source {self._config.source}" if self._config.source else "camera/image_raw"
        if self.images == 0 and silent > self._config.first_image_deadline:
            return (
                f"No image came from {origin} within {self._config.first_image_deadline:g} s: "
                "start the camera, or check its topic name and its cable." + self._why()
            )
        if self.images > 0 and silent > self._config.image_deadline:
            deadline = f"{self._config.image_deadline:g} s"
            return f"The camera has stopped: no image from {origin} for {deadline}." + self._why()
        return ""

    def warning(self) -> str:
        """One sentence about images that come but show nothing; empty otherwise."""
        if self.black:
            return "The camera's image is black: is the lens covered or the light off?"
        if self.frozen:
            return f"The camera's last {self._equal + 1} images are all the same: it may be frozen."
        return ""
