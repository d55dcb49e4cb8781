"""Writes MCAP bags with the ROS 2 profile such that a kill at any moment loses the open episode at most."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from mcap.well_known import Profile
from robofume_common.errors import RobofumeError

from robofume_data.mcap_writer import McapWriter, Part
from robofume_data.message_definitions import definition

_LIBRARY = "robofume_data"
_DISK_CHECK_BYTES = 16 * 2**20
"""The free space is looked up again after this many bytes."""


class DiskFullError(RobofumeError):
    """Less disk space is left than the configured floor."""


def prepare_folder(folder: str | Path) -> Path:
    """Makes the folder and proves that it can be written to; RobofumeError otherwise."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write_probe_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RobofumeError(
            f"Cannot write bags to {folder}: {error.strerror}; choose another folder or make it writable."
        ) from error
    return folder


def next_path(folder: Path, name: str) -> Path:
    """`<name>_<index>.mcap` with the first index above all that are there."""
    taken = [
        int(index)
        for path in folder.glob(f"{name}_*.mcap*")
        if (index := path.name.removeprefix(f"{name}_").split(".")[0]).isdigit()
    ]
    return folder / f"{name}_{max(taken, default=-1) + 1:04d}.mcap"


class BagWriter:
    """One bag. Messages are serialised CDR bytes, kept as they came; `commit()` makes them safe.

    The file appears under its name once its header is on disk, so a bag is never empty, and it never
    replaces another one. Raises RobofumeError where the file cannot be written and DiskFullError when
    less than `disk_floor` bytes are free; the bag can be closed and read after either.
    """

    def __init__(self, path: str | Path, disk_floor: int = 0) -> None:
        self.path = Path(path)
        self.messages = 0
        self.bytes = 0
        self._committed = 0
        self._disk_floor = disk_floor
        self._unchecked = 0
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._check_disk(0)
        if self.path.exists():
            raise RobofumeError(f"The bag {self.path} exists already; choose another name.")
        part = self.path.with_name(self.path.name + ".part")
        try:
            self._file: BinaryIO | None = part.open("wb")
            self._writer = McapWriter(self._file, Profile.ROS2, _LIBRARY)
            self._sync()
            os.rename(part, self.path)
        except OSError as error:
            raise self._failure(error) from error

    def add_topic(self, topic: str, type_name: str, text: str = "") -> None:
        """Registers a topic and its type, such as `robofume_interfaces/msg/Step`, before its messages.

        text: the type's definition; that of the installed package where it is not given.
        """
        if type_name not in self._schemas:
            self._schemas[type_name] = self._writer.add_schema(type_name, text or definition(type_name))
        # Played back as they were published: reliable, volatile.
        self._channels[topic] = self._writer.add_channel(topic, self._schemas[type_name], {"offered_qos_profiles": ""})

    def write(self, topic: str, data: bytes | Sequence[Part], log_time: int | None = None) -> None:
        """Adds one serialised message. log_time: wall time, ns since 1970; now if not given.

        data: its bytes, whole or in parts; parts must not change before the bag is committed or closed.
        """
        log_time = time.time_ns() if log_time is None else log_time
        parts = (data,) if isinstance(data, bytes) else data
        size = sum(map(len, parts))
        self._check_disk(size)
        try:
            self._writer.add_message(self._channels[topic], log_time, parts, self.messages)
        except OSError as error:
            raise self._failure(error) from error
        self.messages += 1
        self.bytes += size

    def commit(self) -> None:
        """Puts everything so far on the disk, readable whatever happens next."""
        if self._committed == self.messages:
            return
        self._committed = self.messages
        try:
            self._writer.flush()
            self._sync()
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Ends the bag with its summary. Closing twice does nothing."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            self._writer.finish()
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise self._failure(error) from error
        finally:
            with contextlib.suppress(OSError):  # the failed flush above has been told already
                file.close()

    def _sync(self) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())

    def _check_disk(self, size: int) -> None:
        self._unchecked -= size
        if self._disk_floor <= 0 or self._unchecked > 0:
            return
        self._unchecked = _DISK_CHECK_BYTES
        _check_free(self.path.parent, self._disk_floor)

    def _failure(self, error: OSError) -> RobofumeError:
        return _failure(self.path, error)

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def copy_bag(source: Path, target: Path, disk_floor: int = 0) -> None:
    """Copies a bag and puts it on the disk. RobofumeError where that fails, DiskFullError when less than `disk_floor`
    bytes would be left."""
    try:
        if disk_floor > 0:
            _check_free(target.parent, disk_floor + source.stat().st_size)
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise _failure(target, error) from error


def _check_free(folder: Path, floor: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < floor:
        raise DiskFullError(
            f"Only {free / 2**20:.0f} MiB are free at {folder}, less than the floor of "
            f"{floor / 2**20:.0f} MiB: recording stops; make room or choose another folder."
        )


def _failure(path: Path, error: OSError) -> RobofumeError:
    return RobofumeError(f"Cannot write the bag {path}: {error.strerror or error}.")
