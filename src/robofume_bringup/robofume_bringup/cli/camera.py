"""`robofume camera`: choose the part of the picture that the policy sees."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError
from robofume_robot.crop_picture import (
    grid_picture,
    parse_crop,
    policy_picture,
    read_picture,
    usable_crop,
    write_crop,
    write_picture,
)

from robofume_bringup.snapshot import snapshot


def crop(
    source: str, topic: str, numbers: str, task_file: Path | None, output: Path, size: int, window: bool
) -> None:
    """Show a picture of the camera, take a crop, write it into the task file.

    With a display the crop is drawn with the mouse. Without one, the picture is written with a grid, and the numbers
    are given with --crop or typed. Raises RobofumeError where there is no picture, or the crop does not fit.
    """
    if not 8 <= size <= 2048:  # as the camera node takes
        raise RobofumeError(f"--image-size is from 8 to 2048 pixels, not {size}.")
    picture = snapshot(topic) if topic else read_picture(source)
    chosen: Sequence[int] = parse_crop(numbers) if numbers else ()
    frame = usable_crop(picture, chosen, size)
    if not chosen and window and _has_display():
        chosen = _draw_in_window(picture, frame)
    grid = output / "camera_grid.png"
    if not chosen and sys.stdin.isatty():
        write_picture(grid, grid_picture(picture, frame))
        print(f"The camera's picture with a grid: {grid}")
        typed = input(f"x y width height in pixels (Enter: the middle, {_text(frame)}): ").strip()
        chosen = parse_crop(typed) if typed else frame
    frame = usable_crop(picture, chosen, size)
    write_picture(grid, grid_picture(picture, frame))
    write_picture(output / "camera_policy.png", policy_picture(picture, frame, size))
    height, width = picture.shape[:2]
    print(f"picture      {width} x {height}, with a grid: {grid}")
    print(f"the policy   {size} x {size}, enlarged: {output / 'camera_policy.png'}")
    print(f"crop: [{_text(frame)}]")
    if task_file is not None and chosen:
        write_crop(task_file, frame)
        print(f"written to {task_file}")
    elif task_file is not None:
        print(f"{task_file} is as it was: give the numbers with --crop, as read off the grid.")
    if max(frame[2:]) > 1.05 * min(frame[2:]):
        print("The crop is not square: the policy's picture is squeezed.")


def _text(frame: Sequence[int]) -> str:
    return ", ".join(str(value) for value in frame)


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _draw_in_window(picture: Any, frame: Sequence[int]) -> Sequence[int]:
    """The crop as drawn with the mouse; empty where no window can be opened, or it was closed untouched."""
    import matplotlib.pyplot as plt
    from matplotlib.widgets import RectangleSelector

    drawn: list[int] = []

    def select(start: Any, end: Any) -> None:
        x0, x1 = sorted((start.xdata, end.xdata))
        y0, y1 = sorted((start.ydata, end.ydata))
        drawn[:] = [max(0, round(x0)), max(0, round(y0)), max(1, round(x1 - x0)), max(1, round(y1 - y0))]

    try:
        figure, axes = plt.subplots()
    except Exception as error:  # noqa: BLE001  whatever the window system says, the numbers can be typed
        print(f"No window can be opened here ({error}).", file=sys.stderr)
        return ()
    if plt.get_backend().lower() == "agg":
        plt.close(figure)
        return ()
    axes.imshow(picture)
    axes.set_title("Draw the crop (keep it square with Shift), then close the window")
    selector = RectangleSelector(axes, select, interactive=True)
    x, y, w, h = frame
    selector.extents = (x, x + w, y, y + h)
    plt.show()
    height, width = picture.shape[:2]
    if drawn:
        drawn[2], drawn[3] = min(drawn[2], width - drawn[0]), min(drawn[3], height - drawn[1])
    return tuple(drawn)
