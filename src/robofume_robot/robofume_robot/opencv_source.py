"""Pictures from a device, a file or a URL through OpenCV."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from robofume_common.errors import RobofumeError

from robofume_robot.image_pipeline import Image


class OpenCvSource:
    """Iterates over RGB pictures (h, w, 3). A file plays at its own speed; a device or URL gives its newest
    picture."""

    def __init__(self, source: str, loop: bool = False) -> None:
        self._source = source
        self._loop = loop
        self._capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
        if not self._capture.isOpened():
            raise RobofumeError(f"Cannot open the camera source {source}: give a device number, a video file or a URL.")
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self._period = 1.0 / rate if Path(source).is_file() and 0.1 < rate < 1000.0 else 0.0
        if not self._period:
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # old pictures are worth nothing

    def __iter__(self) -> Iterator[Image]:
        """Pictures until the source ends or fails."""
        due = time.monotonic()
        while True:
            arrived, picture = self._capture.read()
            if not arrived and self._loop and self._period:
                self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                arrived, picture = self._capture.read()
            if not arrived:
                return
            due += self._period
            if self._period:
                time.sleep(max(0.0, due - time.monotonic()))
            yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def close(self) -> None:
        """Let go of the device."""
        self._capture.release()
