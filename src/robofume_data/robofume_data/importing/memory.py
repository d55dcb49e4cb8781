"""Memory that is used again: to take new memory from the system for a large picture takes as long as to fill it."""

from __future__ import annotations

import threading
import weakref

import numpy as np
from numpy.typing import NDArray


class Pool:
    """Lends arrays and takes their memory back by itself once nobody has an array or a view of it any more.

    kept: bytes of returned memory that stay for the next; what is beyond that goes back to the system.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._free: list[NDArray[np.uint8]] = []
        self._lock = threading.RLock()  # the collector may return memory while some is taken

    def take(self, size: int) -> NDArray[np.uint8]:
        """An array (size,) with anything in it."""
        with self._lock:
            index = next((index for index, memory in enumerate(self._free) if len(memory) >= size), None)
            memory = None if index is None else self._free.pop(index)
        if memory is None:
            memory = np.empty(size, np.uint8)
        # Not a view of it, whose base an array's views would have instead: what is finalized is the base of them all.
        lent = np.frombuffer(memory.data, np.uint8)
        weakref.finalize(lent, self._take_back, memory).atexit = False
        return lent[:size]

    def _take_back(self, memory: NDArray[np.uint8]) -> None:
        with self._lock:
            if sum(map(len, self._free)) + len(memory) <= self._kept:
                self._free.append(memory)
