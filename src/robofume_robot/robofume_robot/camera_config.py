"""Settings of the camera node."""

from __future__ import annotations

from dataclasses import dataclass

from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting


@dataclass(frozen=True)
class CameraConfig:
    """Settings of the camera node."""

    source: str = setting("", "OpenCV source: device number, file or URL; empty: the topic camera/image_raw")
    loop: bool = setting(False, "Start a file again at its end")
    compressed: bool = setting(False, "Take camera/image_raw/compressed (JPEG or PNG) in place of camera/image_raw")
    undistort: bool = setting(False, "Straighten the picture with the file `calibration`, or else camera/camera_info")
    calibration: str = setting("", "YAML file of camera_calibration; empty: the topic camera/camera_info")
    width: int = setting(64, "Width of the policy's image", unit="pixel", minimum=8, maximum=2048)
    height: int = setting(64, "Height of the policy's image", unit="pixel", minimum=8, maximum=2048)
    crop: tuple[int, ...] = setting(
        (),
        "x, y, width, height of the part to use; empty: the largest centred part of the right shape",
        unit="pixel",
    )
    rate: float = setting(0.0, "Images per second of the source's clock; 0: all", unit="1/s", minimum=0.0, maximum=1e3)
    lockstep: bool = setting(False, "Pass every image: the world waits for the answer to each")
    depth_range: float = setting(2.0, "Distance that is white in a 16UC1 picture", unit="m", minimum=0.1, maximum=60.0)
    first_image_deadline: float = setting(
        30.0, "Wall time until the first image must be there", unit="s", minimum=0.1, maximum=3600.0
    )
    image_deadline: float = setting(
        5.0,
        "Wall time without an image that means the camera has stopped",
        unit="s",
        minimum=0.1,
        maximum=3600.0,
    )
    exit_when_lost: bool = setting(True, "End with exit code 1 when the camera has stopped, not only report it")
    max_age: float = setting(
        0.0,
        "Age by its stamp at which a picture is stale and not passed on; 0: stamps are not looked at",
        unit="s",
        minimum=0.0,
        maximum=60.0,
    )
    hold_when_blind: bool = setting(
        False, "Do not pass on black or frozen images: nobody acts on them, and the arm's watchdog holds"
    )
    frozen_after: int = setting(
        100, "Equal images in a row that are reported as frozen; 0: never", minimum=0, maximum=100_000
    )
    black_level: int = setting(8, "An image with no value over this is reported as black", minimum=0, maximum=255)

    def __post_init__(self) -> None:
        """Raise RobofumeError for a crop that makes no sense."""
        if self.crop and (len(self.crop) != 4 or min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise RobofumeError(f"crop needs x, y, width and height in pixels, not {list(self.crop)}.")
