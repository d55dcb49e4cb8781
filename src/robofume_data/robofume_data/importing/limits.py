"""Bounds on what reading a recording may take, whatever the recording asks for: a few kilobytes of zstd, lz4 or Parquet
unpack to gigabytes, and the libraries that read them ask nobody first."""

from __future__ import annotations

import contextlib
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

LEAST_MEMORY = 2 * 2**30
"""Bytes that reading may add to the memory of the process in any case: eight times the longest episode of a raw bag."""
MEMORY_SHARE = 0.5
"""Of the memory that is available, what it may add where that is more: a film of minutes is decoded as a whole."""
DISK_SHARE = 0.5
"""Of the space left for temporary files, how much one unpacked file may take."""


def memory_room() -> int:
    """Bytes that reading one recording may take."""
    return max(LEAST_MEMORY, int(MEMORY_SHARE * _told(Path("/proc/meminfo"), "MemAvailable:")))


@contextlib.contextmanager
def bounded_memory(room: int) -> Iterator[None]:
    """Within, allocations that would add more than `room` bytes to this process raise MemoryError (RLIMIT_DATA).

    Holds for the whole process, libraries in C included; does nothing where the system does not tell its memory.
    """
    used = _told(Path("/proc/self/status"), "VmData:")
    if not used:
        yield
        return
    with _limit(resource.RLIMIT_DATA, used + room):
        yield


@contextlib.contextmanager
def bounded_files() -> Iterator[None]:
    """Within, a file that would grow beyond a share of the space for temporary files raises OSError (RLIMIT_FSIZE)."""
    with _limit(resource.RLIMIT_FSIZE, int(DISK_SHARE * shutil.disk_usage(tempfile.gettempdir()).free)):
        yield


def _told(file: Path, name: str) -> int:
    """Bytes of a line in kB of the kernel's; 0 where it is not told."""
    try:
        return int(file.read_text().partition(name)[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return 0


@contextlib.contextmanager
def _limit(kind: int, value: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    unlimited = resource.RLIM_INFINITY
    lowest = min(value, *(bound for bound in (soft, hard) if bound != unlimited), value)
    resource.setrlimit(kind, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))
