"""Episodes in which nothing happened: neither the picture nor the arm is, at any step, another than at step 0."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from robofume_common.action import GRIPPER
from robofume_common.parameters import setting


@dataclass(frozen=True)
class StillnessConfig:
    """What counts as no change."""

    still_distance: float = setting(0.015, "an arm that moved less than this stood still", unit="m", minimum=0.0)
    still_angle: float = setting(0.1, "the same for its roll, pitch and yaw", unit="rad", minimum=0.0)
    still_opening: float = setting(
        0.3, "the same for its gripper, of 0 closed to 1 open", minimum=0.0, maximum=1.0
    )
    still_level: float = setting(
        0.1, "a pixel has changed by more than this share of its range in any colour: above a camera's noise",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    still_pixels: float = setting(
        0.01, "share of changed pixels up to which a picture is the same", minimum=0.0, maximum=1.0
    )


class StillnessWatch:
    """Compares the steps of one episode at a time with its step 0."""

    def __init__(self, config: StillnessConfig) -> None:
        self.config = config
        self._episode = ""
        self._image: NDArray[np.uint8] | None = None
        self._proprioception: NDArray[np.float32] | None = None
        self._changed = False

    def changed(
        self, episode_id: str, index: int, proprioception: NDArray[np.float32], image: Callable[[], NDArray[np.uint8]]
    ) -> bool:
        """Whether anything has changed in this episode up to this step.

        `proprioception` (7,); `image` gives (H, W, 3): it is only asked for until the first change. An episode whose
        step 0 was not seen counts as changed, since nobody knows.
        """
        if index == 0:
            self._episode, self._image, self._proprioception = episode_id, image(), proprioception
            self._changed = False
        elif self._image is None or episode_id != self._episode:
            return True
        elif not self._changed:
            self._changed = self._moved(proprioception) or self._looks_different(image())
        return self._changed

    def _moved(self, proprioception: NDArray[np.float32]) -> bool:
        assert self._proprioception is not None
        apart = np.abs(np.asarray(proprioception, np.float64) - self._proprioception)
        turned = np.minimum(apart[3:GRIPPER], 2.0 * np.pi - apart[3:GRIPPER])
        return bool(
            np.linalg.norm(apart[:3]) > self.config.still_distance
            or (turned > self.config.still_angle).any()
            or apart[GRIPPER] > self.config.still_opening
        )

    def _looks_different(self, image: NDArray[np.uint8]) -> bool:
        assert self._image is not None
        if image.shape != self._image.shape:
            return True
        apart = np.abs(image.astype(np.int16) - self._image)
        return bool((apart.max(axis=-1) > 255.0 * self.config.still_level).mean() > self.config.still_pixels)
