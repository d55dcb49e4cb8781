"""The last images of the episode that goes on, for models that look at more than the newest."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from .saved import View


class FrameHistory:
    """Keeps as many images as a view reaches back."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._episode = ""
        self._images: OrderedDict[int, Any] = OrderedDict()

    def add(self, episode_id: str, index: int, image: Any) -> tuple[Any, ...]:
        """Notes an image and returns what the model looks at for it, oldest first.

        Where an image was never seen, the next later one stands for it; another `episode_id` starts afresh.
        """
        if episode_id != self._episode:
            self._episode = episode_id
            self._images.clear()
        self._images[index] = image
        while next(iter(self._images)) < index - self.view.reach:
            self._images.popitem(last=False)
        wanted = [index - self.view.stride * back for back in range(self.view.frames - 1, -1, -1)]
        return tuple(self._images[min(known for known in self._images if known >= place)] for place in wanted)
