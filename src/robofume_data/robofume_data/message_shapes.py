"""Decodes messages that have the shape of one before: the same lengths of texts and sequences at the same places.

Messages of one topic hardly ever differ in more than their values. The shape of one is worked out once; then two
`struct` calls read the next, where rosbags walks field by field, which takes five times as long. What has no shape
here, or does not fit the one that is known, goes to rosbags, and so does whatever looks damaged: rosbags says why.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Nodetype
from rosbags.typesys.store import Typestore

_CODES = {
    "bool": "?", "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q",
    "uint64": "Q", "float32": "f", "float64": "d",
}  # fmt: skip
_HEAD = b"\0\1"
"""Little-endian CDR; two bytes of options follow."""
_MOST_VALUES = 512
"""A message with more is left to rosbags."""
_MOST_SHAPES = 64
"""Of one type; when there are more, they are forgotten."""


class ShapedDecoder:
    """Decodes messages of one type; gives the same objects as rosbags, and raises its errors."""

    def __init__(self, typestore: Typestore, type_name: str) -> None:
        self._typestore = typestore
        self._type_name = type_name
        self._shapes: dict[int, _Shape | None] = {}

    def __call__(self, data: bytes | memoryview) -> Any:
        """The message of serialised bytes (CDR)."""
        size = len(data)
        shape = self._shapes.get(size)
        if shape is not None:
            message = shape.decode(data)
            if message is not None:
                return message
        message = self._typestore.deserialize_cdr(data, self._type_name)
        if len(self._shapes) >= _MOST_SHAPES:
            self._shapes.clear()
        # A size that comes once, as that of every JPEG, is not worth a shape.
        self._shapes[size] = _shape(data, self._typestore, self._type_name) if size in self._shapes else None
        return message


class _Shape:
    """What messages of one shape have in common, in the order of their bytes.

    lengths, expected: how to read the header and all lengths, and what they are. content: how to read the values, with
    empty bytes in the place of sequences of numbers. texts: which values are texts, with their terminator. arrays:
    which are sequences (index, type, count, place). builds: what takes the values from a place to another and makes one
    of them, inner messages first.
    """

    def __init__(self, walk: _Walk) -> None:
        self._lengths = struct.Struct("<" + "".join(walk.lengths)).unpack_from
        self._expected = tuple(walk.expected)
        self._content = struct.Struct("<" + "".join(walk.content)).unpack_from
        self._texts, self._arrays, self._builds = tuple(walk.texts), tuple(walk.arrays), tuple(walk.builds)

    def decode(self, data: bytes | memoryview) -> Any:
        """The message; None where it has another shape or a text is damaged."""
        if self._lengths(data) != self._expected:
            return None
        values: list[Any] = list(self._content(data))
        for index in self._texts:
            text = values[index]
            if text[-1]:
                return None
            try:
                values[index] = text[:-1].decode()
            except UnicodeDecodeError:
                return None
        for index, kind, count, place in self._arrays:
            values[index] = np.frombuffer(data, kind, count, place)
        for make, begin, end in self._builds:
            values[begin:end] = (make(*values[begin:end]),)
        return values[0]


def _shape(data: bytes | memoryview, typestore: Typestore, type_name: str) -> _Shape | None:
    """The shape of a message that rosbags could decode; None where it has none."""
    if bytes(data[:2]) != _HEAD:
        return None
    walk = _Walk(memoryview(data)[4:], typestore)
    try:
        walk.message(type_name)
    except (struct.error, ValueError, KeyError):
        return None
    return _Shape(walk)


class _Walk:
    """Goes through a message and gathers its shape; ValueError or KeyError where that cannot be done."""

    def __init__(self, body: memoryview, typestore: Typestore) -> None:
        self._body = body
        self._typestore = typestore
        self._at = 0
        self.lengths, self._lengths_end = ["2s2x"], 0
        self.expected: list[Any] = [_HEAD]
        self.content, self._content_end = ["4x"], 0
        self.texts: list[int] = []
        self.arrays: list[tuple[int, np.dtype[Any], int, int]] = []
        self.builds: list[tuple[Callable[..., Any], int, int]] = []
        self._values = 0
        """Read so far."""
        self._folded = 0
        """Of these and what was built of them, how many stand in a row."""

    def message(self, type_name: str) -> None:
        """Walks through the fields of a message."""
        begin = self._folded
        for _, (kind, inner) in self._typestore.fielddefs[type_name][1]:
            if kind == Nodetype.ARRAY:
                self._many(inner[0], inner[1])
            elif kind == Nodetype.SEQUENCE:
                self._many(inner[0], self._length())
            else:
                self._one(kind, inner)
        self._build(self._typestore.types[type_name], begin)

    def _one(self, kind: Nodetype, inner: Any) -> None:
        if kind == Nodetype.NAME:
            self.message(inner)
        elif inner[0] == "string":
            length = self._length()
            if length < 1:
                raise ValueError
            self.texts.append(self._values)
            self._value(f"{length}s", length, 1)
        else:
            code = _CODES[inner[0]]
            self._value(code, struct.calcsize(code), struct.calcsize(code))

    def _many(self, of: Any, count: int) -> None:
        kind, inner = of
        if kind == Nodetype.BASE and inner[0] != "string":
            numbers: NDArray[Any] = np.empty(0, "<" + _CODES[inner[0]])
            size = numbers.itemsize
            if count:
                self._align(size)
            self.arrays.append((self._values, numbers.dtype, count, 4 + self._at))
            self._value("0s", 0, 1)
            self._at += count * size
            return
        begin = self._folded
        for _ in range(count):
            self._one(kind, inner)
        self._build(_listed, begin)

    def _length(self) -> int:
        self._align(4)
        (length,) = struct.unpack_from("<I", self._body, self._at)
        self.lengths.append(f"{self._at - self._lengths_end}xI")
        self.expected.append(length)
        self._at += 4
        self._lengths_end = self._at
        return int(length)

    def _value(self, code: str, size: int, alignment: int) -> None:
        if self._values >= _MOST_VALUES:
            raise ValueError
        self._align(alignment)
        self.content.append(f"{self._at - self._content_end}x{code}")
        self._at += size
        self._content_end = self._at
        self._values += 1
        self._folded += 1

    def _build(self, make: Callable[..., Any], begin: int) -> None:
        self.builds.append((make, begin, self._folded))
        self._folded = begin + 1

    def _align(self, size: int) -> None:
        self._at += -self._at % size


def _listed(*items: Any) -> list[Any]:
    return list(items)
