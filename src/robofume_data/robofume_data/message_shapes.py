"""Decodes messages that have the shape of one before: the same lengths of texts and sequences at the same places.

Messages of one topic hardly ever differ in more than their values. The shape of one is worked out once; then two
`struct` calls read the next, where rosbags walks field by field, which takes five times as long. What has no shape
here, or does not fit the one that is known, goes to rosbags, and so does whatever looks damaged: rosbags says why.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
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
    """What messages of one shape have in common: how to read the header and all lengths, and what they are; how to read
    the values; which of them are texts, which are sequences; and how a message is made of them."""

    def __init__(self, walk: _Walk, expression: str) -> None:
        self._lengths = struct.Struct("<" + "".join(walk.lengths)).unpack_from
        self._expected = tuple(walk.expected)
        self._content = struct.Struct("<" + "".join(walk.content)).unpack_from
        self._texts, self._arrays = tuple(walk.texts), tuple(walk.arrays)
        self._types = tuple(walk.types)
        self._make = _maker(expression)

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
        return self._make(self._types, values)


@functools.lru_cache(maxsize=256)  # many shapes differ in their lengths alone
def _maker(expression: str) -> Callable[[Sequence[type], Sequence[Any]], Any]:
    """What makes a message of its types and values. The expression has numbers in it alone, nothing of the bag."""
    maker: Callable[[Sequence[type], Sequence[Any]], Any] = eval(f"lambda types, values: {expression}")  # noqa: S307
    return maker


def _shape(data: bytes | memoryview, typestore: Typestore, type_name: str) -> _Shape | None:
    """The shape of a message that rosbags could decode; None where it has none."""
    if bytes(data[:2]) != _HEAD:
        return None
    walk = _Walk(memoryview(data)[4:], typestore)
    try:
        return _Shape(walk, walk.message(type_name))
    except (struct.error, ValueError, KeyError):
        return None


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
        """Which values are texts, with the zero at their end."""
        self.arrays: list[tuple[int, np.dtype[Any], int, int]] = []
        """Which values are sequences of numbers, their type, count and place; `content` has empty bytes for them."""
        self.types: list[type] = []
        self._values = 0

    def message(self, type_name: str) -> str:
        """Walks through the fields of a message; the expression that makes it of `types` and `values`."""
        fields = []
        described: list[tuple[str, tuple[Nodetype, Any]]] = list(self._typestore.fielddefs[type_name][1])
        for _, (kind, inner) in described:
            if kind == Nodetype.ARRAY:
                fields.append(self._many(inner[0], inner[1]))
            elif kind == Nodetype.SEQUENCE:
                fields.append(self._many(inner[0], self._length()))
            else:
                fields.append(self._one(kind, inner))
        self.types.append(self._typestore.types[type_name])
        return f"types[{len(self.types) - 1}]({','.join(fields)})"

    def _one(self, kind: Nodetype, inner: Any) -> str:
        if kind == Nodetype.NAME:
            return self.message(inner)
        if inner[0] == "string":
            length = self._length()
            if length < 1:
                raise ValueError
            self.texts.append(self._values)
            return self._value(f"{length}s", length, 1)
        code = _CODES[inner[0]]
        return self._value(code, struct.calcsize(code), struct.calcsize(code))

    def _many(self, of: Any, count: int) -> str:
        kind, inner = of
        if kind == Nodetype.NAME or inner[0] == "string":
            return f"[{','.join(self._one(kind, inner) for _ in range(count))}]"
        number = np.dtype("<" + _CODES[inner[0]])
        if count:
            self._align(number.itemsize)
        self.arrays.append((self._values, number, count, 4 + self._at))
        value = self._value("0s", 0, 1)
        self._at += count * number.itemsize
        return value

    def _length(self) -> int:
        self._align(4)
        (length,) = struct.unpack_from("<I", self._body, self._at)
        self.lengths.append(f"{self._at - self._lengths_end}xI")
        self.expected.append(length)
        self._at += 4
        self._lengths_end = self._at
        return int(length)

    def _value(self, code: str, size: int, alignment: int) -> str:
        if self._values >= _MOST_VALUES:
            raise ValueError
        self._align(alignment)
        self.content.append(f"{self._at - self._content_end}x{code}")
        self._at += size
        self._content_end = self._at
        self._values += 1
        return f"values[{self._values - 1}]"

    def _align(self, size: int) -> None:
        self._at += -self._at % size
