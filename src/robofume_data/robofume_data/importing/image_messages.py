"""Pictures of image messages as rosbags decodes them. (`robofume_common.conversion` is for those of rclpy.)"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}


def pixels(message: Any) -> bytes | NDArray[np.uint8]:
    """(H, W, 3) RGB of an Image, or the JPEG or PNG bytes of a CompressedImage; RobofumeError where it is neither."""
    if hasattr(message, "format"):
        return bytes(message.data)
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        raise RobofumeError(f"Cannot read images of encoding {message.encoding!r}; record {', '.join(_CHANNELS)}.")
    height, width, row = int(message.height), int(message.width), int(message.width) * channels
    step = int(message.step) or row
    data = np.frombuffer(message.data, np.uint8)
    if not row or not height or step < row or data.size < step * (height - 1) + row:
        raise RobofumeError(f"An image of {width}x{height} {message.encoding} has {data.size} bytes.")
    if data.size < step * height:  # the last row may lack its padding
        data = np.concatenate([data, np.zeros(step * height - data.size, np.uint8)])
    plain = data[: step * height].reshape(height, step)[:, :row].reshape(height, width, channels)
    if channels == 1:
        return np.repeat(plain, 3, axis=2)
    colours = plain[:, :, 2::-1] if message.encoding.startswith("bgr") else plain[:, :, :3]
    return np.ascontiguousarray(colours)
