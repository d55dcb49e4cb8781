"""Joint states of a recording, gathered by the thousand: only those that a picture needs become a pose.

A publisher names the same joints in every message, so all its messages have the same bytes but for the stamp and the
numbers. One message of each layout is decoded; of all others with these bytes only the numbers are taken.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robofume_data.importing.bag_messages import Message

SECOND = 1_000_000_000
_LITTLE_ENDIAN = b"\0\1"
Pose = NDArray[np.float64]
_MOST_LAYOUTS = 16
"""A topic with more is decoded message by message."""


@dataclass
class _Layout:
    """Messages of one publisher: little-endian CDR of sensor_msgs/JointState."""

    names: list[str]
    size: int
    head: bytes
    """The bytes from the frame id to the number of positions."""
    parts: struct.Struct
    """Byte order, stamp in s and ns, head, and positions, which are float64."""
    times: array[int] = field(default_factory=lambda: array("q"))
    values: bytearray = field(default_factory=bytearray)

    def rows(self) -> NDArray[np.float64]:
        """(N, J) positions."""
        return np.frombuffer(self.values, "<f8").reshape(len(self.times), -1)


class JointStates:
    """Poses of the arm by time. `pose_of(names, positions)` gives (7,), or None where they are not those of the arm."""

    def __init__(self, pose_of: Callable[[Sequence[str], Sequence[float]], Pose | None]) -> None:
        self._pose_of = pose_of
        self._layouts: list[_Layout] = []
        self._single: list[tuple[int, Pose]] = []
        self._rows: list[NDArray[np.float64]] = []
        self._times: NDArray[np.int64] = np.zeros(0, np.int64)
        self._sources: NDArray[np.int16] = np.zeros(0, np.int16)
        self._indices: NDArray[np.int64] = np.zeros(0, np.int64)
        self.refused = 0
        """Messages without the joints of the arm, or with numbers that are not finite."""

    def __len__(self) -> int:
        return len(self._times)

    def add(self, message: Message) -> None:
        """Takes a message in; raises what decoding raises."""
        data = message.data
        if not self._take(data, message.log_time):
            content = message.decode()
            found = _layout(data, content) if len(self._layouts) < _MOST_LAYOUTS else None
            if found is not None:
                self._layouts.append(found)
                self._take(data, message.log_time)
                return
            pose = self._pose_of(content.name, content.position)
            if pose is None:
                self.refused += 1
            else:
                self._single.append((message.stamp, pose))

    def _take(self, data: bytes | memoryview, log_time: int) -> bool:
        for layout in self._layouts:
            if len(data) == layout.size:
                order, seconds, nanoseconds, head, positions = layout.parts.unpack_from(data)
                if order == _LITTLE_ENDIAN and head == layout.head:
                    layout.times.append(seconds * SECOND + nanoseconds or log_time)
                    layout.values += positions
                    return True
        return False

    def sort(self) -> None:
        """To be called when all are in, and before `nearest`."""
        times: list[NDArray[Any]] = [np.array([time for time, _ in self._single], np.int64)]
        sources: list[NDArray[Any]] = [np.full(len(self._single), -1, np.int16)]
        indices: list[NDArray[Any]] = [np.arange(len(self._single))]
        for number, layout in enumerate(self._layouts):
            rows = layout.rows()
            usable: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
            if usable.any() and self._pose_of(layout.names, rows[np.argmax(usable)]) is None:
                usable[:] = False
            else:
                for index in np.flatnonzero(~usable):  # the joint that is not finite may be none of the arm's
                    usable[index] = self._pose_of(layout.names, rows[index]) is not None
            self.refused += int((~usable).sum())
            self._rows.append(rows)
            times.append(np.array(layout.times, np.int64)[usable])
            indices.append(np.flatnonzero(usable))
            sources.append(np.full(len(indices[-1]), number, np.int16))
        every = np.concatenate(times)
        order = np.argsort(every, kind="stable")
        self._times = every[order]
        self._sources, self._indices = np.concatenate(sources)[order], np.concatenate(indices)[order]

    def nearest(self, stamp: int, max_age: float) -> Pose | None:
        """The pose whose time is nearest to a stamp (ns), before or after it; None where none is within `max_age` s."""
        after = int(np.searchsorted(self._times, stamp))
        near = [index for index in (after - 1, after) if 0 <= index < len(self._times)]
        best = min(near, key=lambda index: abs(int(self._times[index]) - stamp))
        if abs(int(self._times[best]) - stamp) > max_age * SECOND:
            return None
        source, index = int(self._sources[best]), int(self._indices[best])
        if source < 0:
            return self._single[index][1]
        return self._pose_of(self._layouts[source].names, self._rows[source][index])


def _layout(data: bytes | memoryview, content: Any) -> _Layout | None:
    """The layout of a message, found by its bytes and held against its decoded content; None where they differ."""
    if bytes(data[:2]) != _LITTLE_ENDIAN:
        return None
    body = memoryview(data)[4:]
    try:
        position = _after_text(body, 8)
        (count,) = struct.unpack_from("<I", body, _aligned(position, 4))
        position = _aligned(position, 4) + 4
        for _ in range(min(count, len(body))):
            position = _after_text(body, _aligned(position, 4))
        (numbers,) = struct.unpack_from("<I", body, _aligned(position, 4))
        head_end = _aligned(position, 4) + 4
        begin = _aligned(head_end, 8)
        values = np.frombuffer(body, "<f8", numbers, begin)
    except (struct.error, ValueError):
        return None
    names = [str(name) for name in content.name]
    if not numbers or count != len(names) or not np.array_equal(values, content.position, equal_nan=True):
        return None
    parts = struct.Struct(f"<2s2xiI{head_end - 8}s{begin - head_end}x{8 * numbers}s")
    return _Layout(names, len(data), bytes(body[8:head_end]), parts)


def _aligned(position: int, size: int) -> int:
    return -(-position // size) * size


def _after_text(body: memoryview, position: int) -> int:
    (length,) = struct.unpack_from("<I", body, position)
    if position + 4 + length > len(body):
        raise ValueError
    return int(position + 4 + length)
