"""Pictures that show nothing: no verdict can be read from them, whatever a model says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLANK_SPREAD = 3.0
"""Grey levels: a picture whose standard deviation is below this is black, white or covered."""
MOVED_TRANSLATION = 0.01  # m between two steps, which a camera that works shows
MOVED_GRIPPER = 0.2  # of its opening


class PictureCheck:
    """Looks at the pictures of one robot in turn.

    A frozen camera gives the very same picture although the arm has moved; one that stands still may give it twice in
    simulation, and that is no fault.
    """

    def __init__(self) -> None:
        self._picture: NDArray[np.uint8] | None = None
        self._pose: NDArray[np.float32] | None = None  # of the arm when this picture first came

    def problem(self, picture: NDArray[np.uint8], proprioception: NDArray[np.float32]) -> str:
        """What is wrong with a picture (H, W, 3) taken at a `proprioception` (7,); empty where nothing is."""
        if float(picture.std()) < BLANK_SPREAD:
            return "blank"
        same = self._picture is not None and np.array_equal(self._picture, picture)
        if not same or self._pose is None:
            self._picture, self._pose = picture, proprioception
            return ""
        moved = float(np.linalg.norm(proprioception[:3] - self._pose[:3])) > MOVED_TRANSLATION
        moved = moved or abs(float(proprioception[6] - self._pose[6])) > MOVED_GRIPPER
        return "frozen" if moved else ""
