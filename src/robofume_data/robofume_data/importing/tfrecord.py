"""Records of a TFRecord file and the tf.train.Example in each, without TensorFlow.

The framing is that of TensorFlow's record writer: length (8 bytes), masked CRC-32C of the length (4), data, masked
CRC-32C of the data (4), all little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from robofume_common.errors import RobofumeError

from robofume_data.importing.trajectory import Skipped

_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")
MAX_RECORD = 2**31 - 1
"""Bytes; protobuf holds no more."""


def records(path: Path) -> Iterator[bytes | Skipped]:
    """The data of each record in order. A record that does not match its checksum is given as Skipped; so is the
    rest of a file that was cut off or whose framing is broken. RobofumeError where the file cannot be read."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            number = 0
            while file.tell() < size:
                begin = file.tell()
                head = file.read(_HEAD.size)
                if len(head) < _HEAD.size:
                    yield Skipped(f"record {number}", f"the file was cut off at byte {begin}")
                    return
                length, checksum = _HEAD.unpack(head)
                if masked_crc(head[:8]) != checksum or length > MAX_RECORD:
                    yield Skipped(f"record {number} and all after it", f"the framing is damaged at byte {begin}")
                    return
                if begin + _HEAD.size + length + _TAIL.size > size:
                    yield Skipped(f"record {number}", f"the file was cut off at byte {size} of it")
                    return
                data = file.read(length)
                (checksum,) = _TAIL.unpack(file.read(_TAIL.size))
                if masked_crc(data) == checksum:
                    yield data
                else:
                    yield Skipped(f"record {number}", "it does not match its checksum")
                number += 1
    except OSError as error:
        raise RobofumeError(f"Cannot read {path}: {error.strerror}.") from error


def masked_crc(data: bytes) -> int:
    """The checksum as the format keeps it: rotated by 15 bits and moved, so that a CRC of CRCs stays random."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data: bytes) -> bytes:
    """One record as the file holds it."""
    length = struct.pack("<Q", len(data))
    return length + _TAIL.pack(masked_crc(length)) + data + _TAIL.pack(masked_crc(data))


def parse_example(data: bytes) -> dict[str, list[bytes] | np.ndarray]:
    """Name -> list of bytes, float32 array or int64 array. RobofumeError where it is no Example."""
    try:
        features = example_class().FromString(data).features.feature
    except DecodeError as error:
        raise RobofumeError("it is no tf.train.Example") from error
    result: dict[str, list[bytes] | np.ndarray] = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        if kind == "bytes_list":
            result[name] = list(feature.bytes_list.value)
        elif kind == "float_list":
            result[name] = np.array(feature.float_list.value, np.float32)
        elif kind == "int64_list":
            result[name] = np.array(feature.int64_list.value, np.int64)
    return result


@cache
def example_class() -> Any:
    """The protobuf class of tf.train.Example, from its published fields."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="robofume_example.proto", package="tensorflow", syntax="proto3")

    def message(parent: Any, name: str, *fields: tuple[str, int, int, int, str]) -> Any:
        made = parent.add(name=name)
        for field, number, label, kind, type_name in fields:
            made.field.add(name=field, number=number, label=label, type=kind, type_name=type_name or None)
        return made

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    for name, kind in (("Bytes", kinds.TYPE_BYTES), ("Float", kinds.TYPE_FLOAT), ("Int64", kinds.TYPE_INT64)):
        message(file.message_type, f"{name}List", ("value", 1, many, kind, ""))
    feature = message(file.message_type, "Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("Bytes", "Float", "Int64"), start=1):
        feature.field.add(
            name=f"{name.lower()}_list",
            number=number,
            label=one,
            type=kinds.TYPE_MESSAGE,
            type_name=f".tensorflow.{name}List",
            oneof_index=0,
        )
    entry = ".tensorflow.Features.FeatureEntry"
    features = message(file.message_type, "Features", ("feature", 1, many, kinds.TYPE_MESSAGE, entry))
    pair = message(
        features.nested_type,
        "FeatureEntry",
        ("key", 1, one, kinds.TYPE_STRING, ""),
        ("value", 2, one, kinds.TYPE_MESSAGE, ".tensorflow.Feature"),
    )
    pair.options.map_entry = True
    message(file.message_type, "Example", ("features", 1, one, kinds.TYPE_MESSAGE, ".tensorflow.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
