"""Which part of a data set is what a further camera saw, and its picture at a moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from robofume_common.errors import RobofumeError

if TYPE_CHECKING:  # the settings of an import are read without loading what reads bags
    from robofume_data.importing.bag_messages import Picture


def by_camera(items: Sequence[str], example: str) -> dict[str, str]:
    """Field or topic by camera, of CAMERA=FIELD each. RobofumeError for what is none, with the example."""
    named = {}
    for item in items:
        camera, _, field = item.partition("=")
        if not (camera.isascii() and camera.isidentifier() and field):
            raise RobofumeError(
                f"further_images takes {example}, not {item!r}; a camera's name has letters, digits and _."
            )
        if camera in named:
            raise RobofumeError(f"further_images names the camera {camera} twice.")
        named[camera] = field
    return named


class NearestPictures:
    """The picture of one camera that is nearest in time, for moments that follow one another.

    Two pictures are held. Where the times go back (a clock that was set, a simulation that began again), the pictures
    are followed to where theirs do.

    Arguments:
        pictures: in the order of their recording.
        most: time [ns] from a moment at which a picture no longer belongs to it.
    """

    def __init__(self, pictures: Iterable[Picture], most: int) -> None:
        self._coming = iter(pictures)
        self._most = most
        self._moment = 0
        self._last: Picture | None = None
        self._next: Picture | None = next(self._coming, None)

    def at(self, stamp: int) -> Picture | None:
        """The one that belongs to the moment `stamp` [ns]; None where there is none."""
        if self._last is not None and stamp < self._moment and self._last.stamp - stamp > self._most:
            while self._next is not None and self._next.stamp >= self._last.stamp:
                self._advance()
            self._advance()
        self._moment = stamp
        while self._next is not None and self._is_nearer(self._next, stamp):
            self._advance()
        last = self._last
        return last if last is not None and abs(last.stamp - stamp) <= self._most else None

    def _advance(self) -> None:
        self._last, self._next = self._next, next(self._coming, None)

    def _is_nearer(self, picture: Picture, stamp: int) -> bool:
        return self._last is None or abs(picture.stamp - stamp) <= abs(self._last.stamp - stamp)
