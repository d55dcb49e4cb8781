"""Pictures that help to choose the crop: the camera's with a grid, and what the policy then sees. No ROS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically

from robofume_robot.camera_config import CameraConfig
from robofume_robot.image_pipeline import Image, crop_and_resize, crop_window
from robofume_robot.opencv_source import OpenCvSource
from robofume_robot.undistortion import Window

WARM_UP = 10
"""Pictures that are thrown away: a webcam needs a moment for its exposure."""
GRID = 40
"""Distance of the grid's lines [px]; every second one has a number."""


def read_picture(source: str) -> Image:
    """An RGB picture (h, w, 3) of an image file, or of a device number, video file or URL."""
    if Path(source).is_file():
        picture = cv2.imread(source, cv2.IMREAD_COLOR)
        if picture is not None:
            return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    camera = OpenCvSource(source)
    try:
        newest = None
        for count, picture in enumerate(camera):
            newest = picture
            if count >= WARM_UP or Path(source).is_file():
                break
    finally:
        camera.close()
    if newest is None:
        raise RobofumeError(f"The camera source {source} gives no picture.")
    return newest


def write_picture(path: Path, picture: Image) -> None:
    """Write an RGB picture (h, w, 3) as PNG or JPEG. Raises RobofumeError where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise RobofumeError(f"Cannot write the picture {path}.")


def grid_picture(picture: Image, crop: Sequence[int]) -> Image:
    """The picture with lines every GRID pixels, numbers at their ends, and a frame around the crop (x, y, w, h)."""
    drawn = np.ascontiguousarray(picture).copy()
    height, width = drawn.shape[:2]
    lines = drawn.copy()
    for x in range(0, width, GRID):
        cv2.line(lines, (x, 0), (x, height - 1), (255, 255, 255), 1)
    for y in range(0, height, GRID):
        cv2.line(lines, (0, y), (width - 1, y), (255, 255, 255), 1)
    drawn = np.asarray(cv2.addWeighted(lines, 0.35, drawn, 0.65, 0.0), dtype=np.uint8)
    for x in range(0, width, 2 * GRID):
        _label(drawn, str(x), (x + 2, 11))
    for y in range(2 * GRID, height, 2 * GRID):
        _label(drawn, str(y), (2, y - 3))
    left, top, w, h = crop
    cv2.rectangle(drawn, (left, top), (left + w - 1, top + h - 1), (60, 255, 90), 2)
    return np.asarray(drawn, dtype=np.uint8)


def _label(picture: Image, text: str, place: tuple[int, int]) -> None:
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 120), 1)):
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thickness, cv2.LINE_AA)


def policy_picture(picture: Image, crop: Sequence[int], size: int, enlarge: int = 6) -> Image:
    """What the policy sees of a crop (x, y, w, h), enlarged without smoothing."""
    image = crop_and_resize(picture, CameraConfig(width=size, height=size, crop=tuple(crop)))
    return np.repeat(np.repeat(image, enlarge, axis=0), enlarge, axis=1)


def usable_crop(picture: Image, crop: Sequence[int], size: int) -> Window:
    """The crop (x, y, w, h); none given: the middle. Raises RobofumeError where it is not inside the picture."""
    height, width = picture.shape[:2]
    return crop_window(width, height, CameraConfig(width=size, height=size, crop=tuple(crop)))


def parse_crop(text: str) -> tuple[int, ...]:
    """`"80, 0, 480, 480"` or with spaces -> (80, 0, 480, 480). Raises RobofumeError for anything else."""
    numbers = re.findall(r"\d+", text)
    if len(numbers) != 4 or re.sub(r"[\d\s,\[\]]", "", text):
        raise RobofumeError(f"A crop is four whole numbers, x y width height in pixels, not {text!r}.")
    return tuple(int(number) for number in numbers)


def write_crop(task_file: Path, crop: Sequence[int]) -> None:
    """Put the crop into a task file and leave the rest of it, comments too, as it is."""
    try:
        text = task_file.read_text(encoding="utf-8")
    except OSError as error:
        raise RobofumeError(f"Cannot read the task file {task_file}: {error.strerror}.") from error
    line = f"crop: [{', '.join(str(int(value)) for value in crop)}]"
    changed, count = re.subn(r"(?m)^crop:[^#\n]*?(?=[ \t]*(#|$))", line, text, count=1)
    if not count:
        changed = f"{text.rstrip()}\n{line}\n"
    try:
        write_atomically(task_file.resolve(), changed.encode())  # a link stays one
    except OSError as error:
        raise RobofumeError(f"Cannot write the task file {task_file}: {error.strerror}.") from error
