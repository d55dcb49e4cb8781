"""Pictures that are read when they are written, one after the other, instead of being held for a whole episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robofume_data.importing.trajectory import SourceLostError


class LatePictures:
    """Pictures (S, H, W, 3) RGB of one size; one is read each time that it is asked for.

    It has what writing the `images` of an episode takes: `shape`, `dtype`, its length, a picture (H, W, 3) by its
    number, and slices. `np.asarray` reads them all. SourceLostError where one cannot be read any more.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, height: int, width: int, readers: list[Callable[[], Any]] | None = None) -> None:
        self._size = height, width, 3
        self._readers = readers or []

    def add(self, reader: Callable[[], Any]) -> None:
        """Takes in what reads the next picture."""
        self._readers.append(reader)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(S, H, W, 3)."""
        return len(self), *self._size

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return len(self) * self._size[0] * self._size[1] * self._size[2]

    def __len__(self) -> int:
        return len(self._readers)

    def __getitem__(self, which: int | slice) -> Any:
        if isinstance(which, slice):
            return LatePictures(*self._size[:2], self._readers[which])
        read = self._readers[which]
        try:
            picture = read()
        except Exception as error:  # the libraries raise what they like on damaged data
            raise SourceLostError(f"A picture that was there cannot be read any more: {error}") from error
        if getattr(picture, "shape", None) != self._size:
            raise SourceLostError("A picture has changed while it was imported.")
        return picture

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(list(self), dtype or self.dtype)
