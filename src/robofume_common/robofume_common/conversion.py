"""Messages to arrays and back, without a Python loop over pixels.

Times are integers of nanoseconds; images are (H, W, 3) uint8, RGB.
"""

import array
import sys
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image

from robofume_common.errors import MalformedMessage, RobofumeError

_NANOSECONDS = 1_000_000_000

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}
_CHANNELS_16 = {"mono16": 1, "16UC1": 1, "rgb16": 3, "bgr16": 3, "rgba16": 4, "bgra16": 4}


def to_nanoseconds(time: Time) -> int:
    """A message's time as nanoseconds."""
    return time.sec * _NANOSECONDS + time.nanosec


def to_time(nanoseconds: int) -> Time:
    """Nanoseconds as a message's time."""
    seconds, rest = divmod(int(nanoseconds), _NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def _pixels(message: Image) -> np.ndarray:
    """The image as sent, (H, W, C) of uint8 or native uint16, without copying where possible."""
    encoding, height, width = message.encoding, message.height, message.width
    if encoding in _CHANNELS:
        channels, size = _CHANNELS[encoding], 1
    elif encoding in _CHANNELS_16:
        channels, size = _CHANNELS_16[encoding], 2
    else:
        raise RobofumeError(
            f"Cannot read images of encoding {encoding!r}; "
            f"set the camera driver to one of {', '.join([*_CHANNELS, *_CHANNELS_16])}."
        )
    row = width * channels * size
    step = message.step or row
    if height == 0 or width == 0 or step < row or len(message.data) < step * (height - 1) + row:
        raise MalformedMessage(
            f"A malformed image: {width}x{height} {encoding} with step {step} and {len(message.data)} bytes."
        )
    data = np.frombuffer(message.data, dtype=np.uint8)
    if len(data) >= step * height:
        rows = data[: step * height].reshape(height, step)[:, :row]
    else:  # the last row may lack its padding
        rows = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)
    if size == 1:
        return rows.reshape(height, width, channels)
    order = ">" if message.is_bigendian else "<"
    pixels = np.ascontiguousarray(rows).view(np.dtype(f"{order}u2")).reshape(height, width, channels)
    return pixels.astype(np.uint16, copy=False)


def image_to_array(message: Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Grey is repeated, alpha dropped, 16 bits scaled to 8.

    The result shares memory with the message for rgb8; copy it before writing into it.
    Raises RobofumeError for unknown encodings and for sizes that do not fit.
    """
    pixels = _pixels(message)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    pixels = pixels[:, :, :3]
    return np.ascontiguousarray(pixels[:, :, ::-1]) if message.encoding.startswith("bgr") else pixels


def depth_to_array(message: Image) -> np.ndarray:
    """(H, W) uint16 as sent (usually mm), for mono16 and 16UC1."""
    if message.encoding not in ("mono16", "16UC1"):
        raise RobofumeError(f"Expected a 16-bit single-channel image, got encoding {message.encoding!r}.")
    return _pixels(message)[:, :, 0]


def fill_image(message: Image, image: np.ndarray) -> Image:
    """Puts (H, W, 3) uint8 RGB into the message as rgb8; stamp and frame stay as they are."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise RobofumeError(f"Expected an image (H, W, 3) of uint8, got {image.shape} of {image.dtype}.")
    message.height, message.width = image.shape[:2]
    message.encoding = "rgb8"
    message.is_bigendian = 0 if sys.byteorder == "little" else 1
    message.step = 3 * image.shape[1]
    # An array.array is taken as it is; anything else is checked byte by byte.
    message.data = array.array("B", image.tobytes())
    return message


def array_to_image(image: np.ndarray, stamp: Time | None = None, frame_id: str = "") -> Image:
    """An rgb8 message of (H, W, 3) uint8."""
    message = Image()
    if stamp is not None:
        message.header.stamp = stamp
    message.header.frame_id = frame_id
    return fill_image(message, image)


def floats(values: Any) -> array.array:
    """Values for a `float32[]` field."""
    return array.array("f", np.asarray(values, dtype=np.float32).ravel().tobytes())
