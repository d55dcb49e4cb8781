"""Images and times convert exactly."""

import numpy as np
import pytest
from robofume_common.conversion import (
    array_to_image,
    depth_to_array,
    image_to_array,
    to_nanoseconds,
    to_time,
)
from robofume_common.errors import RobofumeError
from sensor_msgs.msg import Image

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def message(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=rows.shape[1],
        is_bigendian=int(big_endian),
        data=rows.tobytes(),
    )


@pytest.mark.parametrize("padding", [0, 5])
def test_colour_encodings(padding):
    alpha = np.full((5, 7, 1), 9, np.uint8)
    for encoding, pixels in {
        "rgb8": RGB,
        "bgr8": RGB[..., ::-1],
        "rgba8": np.concatenate([RGB, alpha], axis=2),
        "bgra8": np.concatenate([RGB[..., ::-1], alpha], axis=2),
    }.items():
        image = image_to_array(message(np.ascontiguousarray(pixels), encoding, padding))
        np.testing.assert_array_equal(image, RGB, err_msg=encoding)


def test_grey_and_sixteen_bits():
    grey = RGB[..., 0].copy()
    np.testing.assert_array_equal(image_to_array(message(grey, "mono8")), np.repeat(grey[..., None], 3, axis=2))
    deep = RGB.astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(image_to_array(message(deep, "rgb16")), RGB)
    np.testing.assert_array_equal(image_to_array(message(deep.byteswap(), "rgb16", big_endian=True)), RGB)
    np.testing.assert_array_equal(depth_to_array(message(deep[..., 0].copy(), "16UC1", padding=4)), deep[..., 0])


def test_the_last_row_may_lack_its_padding():
    padded = message(RGB, "rgb8", padding=4)
    padded.data = padded.data[:-4]
    np.testing.assert_array_equal(image_to_array(padded), RGB)


def test_round_trip():
    image = array_to_image(RGB[:, ::-1], to_time(3_000_000_007))
    assert (image.height, image.width, image.encoding, image.step) == (5, 7, "rgb8", 21)
    assert image.header.stamp.sec == 3
    assert image.header.stamp.nanosec == 7
    np.testing.assert_array_equal(image_to_array(image), RGB[:, ::-1])


def test_malformed_images_are_refused():
    good = message(RGB, "rgb8")
    good.encoding = "yuv422"
    with pytest.raises(RobofumeError, match="yuv422"):
        image_to_array(good)
    short = message(RGB, "rgb8")
    short.data = short.data[:-1]
    with pytest.raises(RobofumeError, match="malformed"):
        image_to_array(short)
    with pytest.raises(RobofumeError, match="malformed"):
        image_to_array(Image(encoding="rgb8"))
    with pytest.raises(RobofumeError, match="uint8"):
        array_to_image(RGB.astype(np.float32))


def test_times_are_exact():
    for nanoseconds in (0, 1, 999_999_999, 1_000_000_000, 1_795_229_067_636_168_501):
        assert to_nanoseconds(to_time(nanoseconds)) == nanoseconds
