"""Pictures of image messages as rosbags decodes them. (`robofume_common.conversion` is for those of rclpy.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError

from robofume_data.importing.conversion import MAX_PIXELS, square

_ENCODINGS = {
    "rgb8": (3, None),
    "8UC3": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
}
"""Channels of each encoding, and what makes RGB of it."""


Place = Callable[[int, int], "NDArray[np.uint8] | None"]
"""Where a picture of this height and width shall be written to (H, W, 3); None: to memory of its own."""


def pixels(message: Any, size: int = 0, place: Place = lambda *_: None) -> bytes | NDArray[np.uint8]:
    """RGB (H, W, 3) of an Image, cut to `size` x `size` where that is given, or the JPEG or PNG bytes of a
    CompressedImage; RobofumeError where it is neither."""
    if hasattr(message, "format"):
        return bytes(message.data)
    if message.encoding not in _ENCODINGS:
        raise RobofumeError(f"Cannot read images of encoding {message.encoding!r}; record {', '.join(_ENCODINGS)}.")
    channels, conversion = _ENCODINGS[message.encoding]
    height, width, row = int(message.height), int(message.width), int(message.width) * channels
    step = int(message.step) or row
    data = np.frombuffer(message.data, np.uint8)
    if not row or not height or step < row or data.size < step * (height - 1) + row or height * width > MAX_PIXELS:
        raise RobofumeError(f"An image of {width}x{height} {message.encoding} has {data.size} bytes.")
    # The last row may lack its padding.
    plain: NDArray[np.uint8] = np.ndarray((height, width, channels), np.uint8, data, strides=(step, channels, 1))
    picture = square(plain, size) if size else plain
    if conversion is None and not np.may_share_memory(picture, data):
        return picture
    target = place(*picture.shape[:2])
    if conversion is not None:
        return np.asarray(cv2.cvtColor(picture, conversion, target), np.uint8)
    if target is None:
        return np.array(picture)
    target[:] = picture
    return target
