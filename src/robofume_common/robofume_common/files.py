"""Files and folders that are whole or not there, whenever the process is killed or the disk is full."""

import ctypes
import os
import shutil
import sys
import tempfile
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part of it. Raises OSError."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def replace_folder(new: Path, place: Path) -> None:
    """Put the folder `new`, beside `place`, in its place; what was there is removed. Raises OSError.

    At every moment `place` is the old folder or the new one (where the file system cannot exchange two names, it is
    missing for a moment).
    """
    sync_folder(new)
    if not place.exists():
        new.rename(place)
    elif _exchange(new, place):
        shutil.rmtree(new)
    else:
        old = place.with_name(f".{place.name}.old")
        place.rename(old)
        try:
            new.rename(place)
        except OSError:
            old.rename(place)
            raise
        shutil.rmtree(old)
    _sync(place.parent)


def sync_folder(folder: Path) -> None:
    """Put every file below a folder on the disk, and the names of those in it. Raises OSError."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places in one step; False where that is not to be had."""
    if sys.platform != "linux":
        return False
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
