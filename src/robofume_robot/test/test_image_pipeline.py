"""From the camera's picture to the policy's image, and what is noticed about the camera."""

import numpy as np
import pytest
from robofume_common.errors import RobofumeError
from robofume_robot.camera_config import CameraConfig
from robofume_robot.image_pipeline import CameraWatch, RateLimiter, crop_and_resize, depth_to_picture

MILLISECOND = 1_000_000


def _gradient(height, width):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 255 // height, x * 255 // width, np.full_like(x, 7)], axis=2).astype(np.uint8)


def test_shrinking_averages_areas():
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[::2, ::2] = 200  # a quarter of each 2 x 2 area
    image = crop_and_resize(picture, CameraConfig())
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, 50)


def test_the_usual_sizes():
    image = crop_and_resize(_gradient(100, 100), CameraConfig())
    assert image.shape == (64, 64, 3) and image.flags.c_contiguous
    assert (np.diff(image[:, 0, 0].astype(int)) > 0).all() and (np.diff(image[0, :, 1].astype(int)) > 0).all()
    assert crop_and_resize(_gradient(20, 20), CameraConfig()).shape == (64, 64, 3)
    same = _gradient(64, 64)
    np.testing.assert_array_equal(crop_and_resize(same, CameraConfig()), same)


def test_without_a_crop_the_middle_of_the_right_shape_is_used():
    wide = np.zeros((64, 96, 3), np.uint8)
    wide[:, 16:80] = 100
    np.testing.assert_array_equal(crop_and_resize(wide, CameraConfig()), 100)
    image = crop_and_resize(_gradient(100, 100), CameraConfig(width=80, height=40))
    assert image.shape == (40, 80, 3)


def test_the_crop_is_x_y_width_height():
    picture = np.zeros((100, 120, 3), np.uint8)
    picture[20:84, 40:104] = 9
    np.testing.assert_array_equal(crop_and_resize(picture, CameraConfig(crop=(40, 20, 64, 64))), 9)
    with pytest.raises(RobofumeError, match="does not fit"):
        crop_and_resize(picture, CameraConfig(crop=(60, 20, 64, 64)))
    with pytest.raises(RobofumeError, match="crop needs"):
        CameraConfig(crop=(1, 2, 3))


def test_depth_is_grey_up_to_its_range():
    picture = depth_to_picture(np.array([[0, 1000, 2000, 65535]], np.uint16), 2.0)
    np.testing.assert_array_equal(picture[0, :, 0], (0, 127, 255, 255))
    assert picture.shape == (1, 4, 3)


def test_the_rate_keeps_its_beat():
    limiter = RateLimiter(10.0)
    stamps = [index * 33 * MILLISECOND for index in range(300)]
    passed = [stamp for stamp in stamps if limiter.passes(stamp)]
    assert len(passed) == pytest.approx(99, abs=3)
    assert limiter.passes(passed[-1])  # a repetition of the last one
    exact = RateLimiter(10.0)
    jitter = [index * 100 * MILLISECOND + (index % 3) * 100_000 for index in range(50)]
    assert all(exact.passes(stamp) for stamp in jitter)


def test_rate_zero_passes_everything():
    limiter = RateLimiter(0.0)
    assert all(limiter.passes(stamp) for stamp in (5, 5, 6, 3))


def test_a_source_that_starts_again_passes():
    limiter = RateLimiter(10.0)
    assert limiter.passes(10_000 * MILLISECOND)
    assert not limiter.passes(9_990 * MILLISECOND)  # out of order
    assert limiter.passes(0) and not limiter.passes(50 * MILLISECOND) and limiter.passes(100 * MILLISECOND)


def test_a_camera_that_never_comes_and_one_that_stops():
    watch = CameraWatch(CameraConfig(first_image_deadline=10.0, image_deadline=2.0), started=0.0)
    assert watch.complaint(9.9) == ""
    assert "No image came from camera/image_raw" in watch.complaint(10.1)
    watch.saw(_gradient(8, 8), 1, 20.0)
    assert watch.complaint(21.9) == ""
    assert "has stopped" in watch.complaint(22.1)
    watch.saw(_gradient(8, 8), 2, 23.0)
    assert watch.complaint(23.1) == ""


def test_black_and_frozen_images_are_noticed():
    watch = CameraWatch(CameraConfig(frozen_after=5, black_level=8), started=0.0)
    rng = np.random.default_rng(0)
    for stamp in range(10):
        watch.saw(rng.integers(0, 255, (8, 8, 3), np.uint8), stamp, 0.0)
        assert watch.warning() == ""
    for stamp in range(10, 16):
        watch.saw(_gradient(8, 8), stamp, 0.0)
    assert "the same" in watch.warning()
    watch.saw(np.full((8, 8, 3), 8, np.uint8), 20, 0.0)
    assert "black" in watch.warning()
    watch.saw(_gradient(8, 8), 21, 0.0)
    assert watch.warning() == ""


def test_a_repeated_image_is_not_a_frozen_camera():
    watch = CameraWatch(CameraConfig(frozen_after=3), started=0.0)
    for _ in range(20):
        watch.saw(_gradient(8, 8), 7, 0.0)
    assert watch.warning() == ""
