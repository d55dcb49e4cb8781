"""From the camera's picture to the policy's image, and what is noticed about the camera."""

import cv2
import numpy as np
import pytest
from robofume_common.errors import RobofumeError
from robofume_robot.camera_config import CameraConfig
from robofume_robot.image_pipeline import (
    CameraWatch,
    RateLimiter,
    crop_and_resize,
    decode_picture,
    depth_to_picture,
)
from robofume_robot.undistortion import Calibration, Undistorter

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


def test_compressed_pictures_are_rgb():
    picture = np.full((40, 60, 3), (200, 100, 50), np.uint8)
    for ending, tolerance in ((".jpg", 4), (".png", 0)):
        data = cv2.imencode(ending, picture[:, :, ::-1])[1].tobytes()
        assert np.abs(decode_picture(data).astype(int) - picture).max() <= tolerance
    for data in (b"", b"no picture"):
        with pytest.raises(RobofumeError, match="neither JPEG nor PNG"):
            decode_picture(data)


CALIBRATION = Calibration(160, 120, "plumb_bob", (150.0, 0, 80, 0, 150.0, 60, 0, 0, 1), (-0.3, 0.1, 0, 0, 0))


def bent(calibration: Calibration) -> np.ndarray:
    """What the calibrated camera sees of a straight pattern of squares, by the model's own projection."""
    k = np.array(calibration.k).reshape(3, 3)
    y, x = np.mgrid[0:120, 0:160].astype(np.float32)
    points = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    if calibration.model == "equidistant":
        straight = cv2.fisheye.undistortPoints(points, k, np.array(calibration.d[:4]), P=k)
    else:
        straight = cv2.undistortPoints(points, k, np.array(calibration.d), P=k)
    x, y = straight.reshape(120, 160, 2).transpose(2, 0, 1)
    grey = np.where((np.floor(x / 20) + np.floor(y / 20)) % 2, 200, 40).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    "calibration",
    [CALIBRATION, Calibration(160, 120, "equidistant", CALIBRATION.k, (-0.02, 0.001, 0.0, 0.0))],
)
def test_undistortion_makes_lines_straight(calibration):
    config = CameraConfig(width=140, height=100, crop=(10, 10, 140, 100))
    y, x = np.mgrid[10:110, 10:150]
    straight = np.where((x // 20 + y // 20) % 2, 200, 40)
    inside = (x % 20 > 2) & (x % 20 < 17) & (y % 20 > 2) & (y % 20 < 17)
    picture = bent(calibration)
    mended = crop_and_resize(picture, config, Undistorter(calibration))[:, :, 0]
    assert (np.abs(mended.astype(int) - straight) < 30)[inside].mean() > 0.99
    untouched = crop_and_resize(picture, config)[:, :, 0]
    assert (np.abs(untouched.astype(int) - straight) < 30)[inside].mean() < 0.99


def test_a_calibration_that_does_not_fit_is_one_sentence(tmp_path):
    with pytest.raises(RobofumeError, match="is for 160 x 120"):
        crop_and_resize(np.zeros((48, 64, 3), np.uint8), CameraConfig(), Undistorter(CALIBRATION))
    with pytest.raises(RobofumeError, match="not calibrated"):
        Calibration(160, 120, "plumb_bob", (0.0,) * 9, ())
    with pytest.raises(RobofumeError, match="distortion model"):
        Calibration(160, 120, "wobbly", CALIBRATION.k, ())
    file = tmp_path / "ost.yaml"
    file.write_text("image_width: 160\n")
    with pytest.raises(RobofumeError, match="not one of camera_calibration"):
        Calibration.load(str(file))
    file.write_text(
        "image_width: 160\nimage_height: 120\ndistortion_model: plumb_bob\n"
        "camera_matrix: {rows: 3, cols: 3, data: [150, 0, 80, 0, 150, 60, 0, 0, 1]}\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [-0.3, 0.1, 0, 0, 0]}\n"
    )
    assert Calibration.load(str(file)) == CALIBRATION


@pytest.mark.parametrize("d", [(0.1, 0.2, 0.3), (0.1, float("nan"), 0.0, 0.0, 0.0)])
def test_coefficients_that_cannot_be_used_are_one_sentence(d):
    with pytest.raises(RobofumeError, match="coefficients"):
        Calibration(64, 64, "plumb_bob", (60.0, 0.0, 32.0, 0.0, 60.0, 32.0, 0.0, 0.0, 1.0), d)
    with pytest.raises(RobofumeError, match="coefficients"):
        Calibration(64, 64, "equidistant", (60.0, 0.0, 32.0, 0.0, 60.0, 32.0, 0.0, 0.0, 1.0), (0.1,) * 3)


def test_stale_pictures_are_counted_and_named_when_nothing_else_comes():
    watch = CameraWatch(CameraConfig(max_age=0.5, first_image_deadline=1.0), started=0.0)
    assert not watch.is_stale(0.4) and watch.is_stale(7.25) and watch.stale == 1
    assert "7.2 s old by its stamp" in watch.complaint(2.0)
    ageless = CameraWatch(CameraConfig(first_image_deadline=1.0), started=0.0)
    assert not ageless.is_stale(1e9) and "old" not in ageless.complaint(2.0)
