"""Straight pictures from a calibrated camera's bent ones. No ROS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError

MODELS = ("plumb_bob", "rational_polynomial", "equidistant")
Window = tuple[int, int, int, int]
"""x, y, width and height of a part of a picture (px)."""


@dataclass(frozen=True)
class Calibration:
    """What sensor_msgs/CameraInfo says of a camera: size (px), distortion model, matrix k (9), coefficients d."""

    width: int
    height: int
    model: str
    k: tuple[float, ...]
    d: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise RobofumeError(f"Cannot undo the distortion model {self.model!r}; known are {', '.join(MODELS)}.")
        if len(self.k) != 9 or not np.isfinite(self.k).all() or self.k[0] <= 0.0 or self.k[4] <= 0.0:
            raise RobofumeError("The camera is not calibrated: its matrix k has no focal lengths. Calibrate it first.")
        known = len(self.d) >= 4 if self.model == "equidistant" else len(self.d) in (0, 4, 5, 8, 12, 14)
        if not known or not np.isfinite(self.d).all():
            raise RobofumeError(
                f"The camera's distortion model {self.model} cannot have the coefficients {list(self.d)}: calibrate it "
                "anew."
            )

    @staticmethod
    def load(path: str) -> Calibration:
        """Reads the YAML file that the camera calibrator of ROS writes; RobofumeError where it cannot be used."""
        try:
            values: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
            return Calibration(
                int(values["image_width"]),
                int(values["image_height"]),
                str(values["distortion_model"]),
                tuple(float(value) for value in values["camera_matrix"]["data"]),
                tuple(float(value) for value in values["distortion_coefficients"]["data"]),
            )
        except OSError as error:
            raise RobofumeError(f"Cannot read the calibration {path}: {error.strerror}.") from error
        except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise RobofumeError(f"The calibration {path} is not one of camera_calibration: {error!r}.") from error


class Undistorter:
    """Straightens windows of pictures; what it needs for a window is worked out once."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self._window: Window | None = None
        self._maps: tuple[NDArray[Any], NDArray[Any]] = (np.empty(0), np.empty(0))

    def part(self, picture: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
        """The window of the straightened picture. Raises RobofumeError for a picture of another size."""
        height, width = picture.shape[:2]
        if (width, height) != (self.calibration.width, self.calibration.height):
            raise RobofumeError(
                f"The calibration is for {self.calibration.width} x {self.calibration.height} pixels, "
                f"and the camera's picture has {width} x {height}: calibrate the camera at this size."
            )
        if window != self._window:
            self._window, self._maps = window, self._make_maps(window)
        return np.asarray(cv2.remap(picture, *self._maps, cv2.INTER_LINEAR), dtype=np.uint8)

    def _make_maps(self, window: Window) -> tuple[NDArray[Any], NDArray[Any]]:
        x, y, width, height = window
        k = np.array(self.calibration.k).reshape(3, 3)
        d = np.array(self.calibration.d)
        shifted = k.copy()  # the window's own camera matrix: the same rays, another corner
        shifted[0, 2] -= x
        shifted[1, 2] -= y
        size = (width, height)
        if self.calibration.model == "equidistant":
            maps = cv2.fisheye.initUndistortRectifyMap(k, d[:4], np.eye(3), shifted, size, cv2.CV_16SC2)
        else:
            maps = cv2.initUndistortRectifyMap(k, d, np.eye(3), shifted, size, cv2.CV_16SC2)
        return maps[0], maps[1]
