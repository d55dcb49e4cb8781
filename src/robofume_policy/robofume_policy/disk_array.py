"""An array that lies on the disk and not in the process's own memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from robofume_common.errors import RobofumeError

DISK_FLOOR = 500_000_000
"""Bytes that what is written beside the bags leaves free."""


class DiskArray:
    """An array of zeros in a file in `folder`, mapped into memory.

    The file has no name, so that the system removes it when the process ends, killed or not. It takes room only as rows
    are reserved; a row that was not must not be written to, since a full disk would then end the process without a
    word. Raises RobofumeError where the folder cannot be written to.
    """

    def __init__(self, folder: str | Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._folder = Path(folder)
        self._row = dtype.itemsize * int(np.prod(shape[1:]))
        self._reserved = 0
        if self._row == 0:  # what has no size cannot be mapped
            self.array: np.ndarray[Any, Any] = np.zeros(shape, dtype)
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  as long as the array
            os.ftruncate(self._file.fileno(), shape[0] * self._row)
            self.array = np.asarray(np.memmap(self._file, dtype, "r+", shape=shape))
        except OSError as error:
            raise self._refusal(error) from error

    def reserve(self, end: int) -> None:
        """Make sure that the disk has room for the rows before `end`. Raises RobofumeError where it has not."""
        missing = (end - self._reserved) * self._row
        if missing <= 0:
            return
        check_room(self._folder, missing, "a replay memory")
        try:
            os.posix_fallocate(self._file.fileno(), self._reserved * self._row, missing)
        except OSError as error:
            raise self._refusal(error) from error
        self._reserved = end

    def _refusal(self, error: OSError) -> RobofumeError:
        return RobofumeError(
            f"Cannot keep a replay memory in {self._folder}: {error.strerror or error}; make room, make it writable, "
            "or leave online_folder empty to keep it in memory."
        )


def check_room(folder: Path, size: int, what: str) -> None:
    """Raise RobofumeError where `size` bytes more for `what` would leave less than DISK_FLOOR free."""
    free = shutil.disk_usage(folder).free
    if free < DISK_FLOOR + size:
        raise RobofumeError(
            f"Only {free / 2**20:.0f} MiB are free at {folder}, and {what} leaves {DISK_FLOOR / 2**20:.0f}: make room."
        )
