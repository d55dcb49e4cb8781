"""Values that a programmer did not think of, by chance; and messages full of them."""

from __future__ import annotations

import array
import random
from typing import Any

import numpy as np
from rosidl_parser.definition import (
    AbstractSequence,
    Array,
    BasicType,
    BoundedSequence,
    NamespacedType,
)

INTEGERS = (0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, 2**64 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-320, 1e-9, 1e9, 3.4e38, 1e308, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "", " ", "a", "x" * 300, "../../../etc/passwd", "/dev/null", "rgb8", "16UC1", "mono16", "practice-000001",
    "Ünïcode 布", "\u202e", "%s%n", "'; --", "{", "[1", "nan", "0", "-1", "null", "~",
    "!!python/object/apply:os.system [id]", "put the pot into the tray", "waist", "plumb_bob",
)  # fmt: skip


def integer(dice: random.Random, low: int, high: int) -> int:
    """Within the bounds, often at an edge."""
    if dice.random() < 0.7:
        return min(high, max(low, dice.choice(INTEGERS)))
    return dice.randint(low, high)


def number(dice: random.Random) -> float:
    """Any float."""
    return dice.choice(FLOATS) if dice.random() < 0.5 else dice.uniform(-10.0, 10.0)


def text(dice: random.Random) -> str:
    """Any text without NUL, which the middleware does not carry."""
    if dice.random() < 0.7:
        return dice.choice(TEXTS)
    letters = (dice.choice((dice.randint(1, 127), dice.randint(160, 0xD7FF))) for _ in range(dice.randint(0, 30)))
    return "".join(map(chr, letters))


def plain(dice: random.Random, depth: int = 0) -> Any:
    """What YAML and JSON can hold."""
    kind = dice.randrange(8 if depth < 3 else 6)
    if kind < 5:
        return (None, dice.random() < 0.5, integer(dice, -(2**63), 2**64), number(dice), text(dice))[kind]
    if kind == 5:
        return dice.choice((date_like(dice), "2026-01-01", 1e400))
    if kind == 6:
        return [plain(dice, depth + 1) for _ in range(dice.randint(0, 8))]
    return {str(plain(dice, 3)): plain(dice, depth + 1) for _ in range(dice.randint(0, 5))}


def date_like(dice: random.Random) -> str:
    """YAML takes it for a date."""
    return f"{dice.randint(0, 9999):04d}-{dice.randint(0, 20):02d}-{dice.randint(0, 40):02d}"


def bytes_(dice: random.Random, length: int) -> bytes:
    """So many bytes."""
    return dice.randbytes(length)


def mutated(dice: random.Random, data: bytes) -> bytes:
    """A few bytes changed, cut, doubled or put in."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 5, 20))):
        if not changed:
            return bytes_(dice, dice.randint(0, 50))
        place = dice.randrange(len(changed))
        way = dice.randrange(6)
        if way == 0:
            changed[place] ^= 1 << dice.randrange(8)
        elif way == 1:
            changed[place] = dice.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif way == 2:
            del changed[place:]
        elif way == 3:
            del changed[place : place + dice.randint(1, 100)]
        elif way == 4:
            changed[place:place] = changed[place : place + dice.randint(1, 100)]
        else:
            changed[place:place] = bytes_(dice, dice.randint(1, 8))
    return bytes(changed)


_RANGES = {
    f"{sign}int{bits}": (0 if sign else -(2 ** (bits - 1)), 2**bits - 1 if sign else 2 ** (bits - 1) - 1)
    for bits in (8, 16, 32, 64)
    for sign in ("", "u")
}
_CODES = {"float": "f", "double": "d", "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i",
          "uint32": "I", "int64": "q", "uint64": "Q"}  # fmt: skip


def message(dice: random.Random, kind: Any, base: Any = None) -> Any:
    """A message of the class `kind`: `base` with some fields changed, or one with every field by chance."""
    filled = base if base is not None else kind()
    share = dice.choice((0.1, 0.3, 1.0)) if base is not None else 1.0
    for name, slot in zip(kind.get_fields_and_field_types(), kind.SLOT_TYPES, strict=True):
        if dice.random() < share:
            setattr(filled, name, _field(dice, slot, getattr(filled, name), base is not None))
    return filled


def _field(dice: random.Random, slot: Any, present: Any, keep: bool) -> Any:
    if isinstance(slot, BasicType):
        return _basic(dice, slot.typename)
    if isinstance(slot, NamespacedType):
        return message(dice, type(present), present if keep else None)
    if isinstance(slot, (Array, AbstractSequence)):
        size = _size(dice, slot, len(present))
        if isinstance(slot.value_type, BasicType):
            code = _CODES.get(slot.value_type.typename)
            values = [_basic(dice, slot.value_type.typename) for _ in range(min(size, 16))]
            values = (values * (size // max(1, len(values)) + 1))[:size]
            if isinstance(slot, Array):
                return np.array(values, dtype=present.dtype)
            return array.array(code, values) if code else values
        if isinstance(slot.value_type, NamespacedType):
            made = _class_of(slot.value_type)
            return [message(dice, made) for _ in range(min(size, 8))]
        return [text(dice) for _ in range(min(size, 20))]
    return text(dice)


def _size(dice: random.Random, slot: Any, present: int) -> int:
    if isinstance(slot, Array):
        return int(slot.size)
    most = int(slot.maximum_size) if isinstance(slot, BoundedSequence) else 40_000
    return min(most, dice.choice((0, 1, 6, 7, 8, present, present, max(0, present - 1), present + 1, 2000, 40_000)))


def _basic(dice: random.Random, name: str) -> Any:
    if name == "boolean":
        return dice.random() < 0.5
    if name == "float":
        value = number(dice)
        return value if abs(value) < 3.4e38 or value != value or value in (float("inf"), float("-inf")) else 1e9
    if name == "double":
        return number(dice)
    if name == "octet":
        return bytes_(dice, 1)
    low, high = _RANGES[name]
    return integer(dice, low, high)


def _class_of(slot: NamespacedType) -> Any:
    from importlib import import_module

    return getattr(import_module(".".join(slot.namespaces)), slot.name)
