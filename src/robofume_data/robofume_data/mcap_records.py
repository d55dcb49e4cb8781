"""Messages of an MCAP file in the order in which they were written, also of one that was cut off."""

from __future__ import annotations

import io
import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Schema
from mcap.stream_reader import CRCValidationError, get_chunk_data_stream
from mcap.writer import MCAP0_MAGIC
from robofume_common.errors import RobofumeError

log = logging.getLogger(__name__)

_RECORD = struct.Struct("<BQ")
"""Opcode and length before each record (MCAP specification)."""
_MESSAGE = struct.Struct("<HIQQ")
"""Channel, sequence number, log time and publish time before each message."""


_BROKEN_CHUNK = (McapError, zstandard.ZstdError, struct.error, ValueError)


class RawMessage(NamedTuple):
    """One message as it was recorded."""

    topic: str
    type_name: str
    definition: str
    log_time: int
    """Wall time, ns since 1970."""
    data: memoryview


class McapFile:
    """One MCAP file; iterate over it, as often as wanted, for its messages.

    A file that ends in the middle of a record gives what is whole before it and sets `truncated`.
    RobofumeError where the file is missing, empty, no MCAP file or damaged in the middle.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.truncated = False

    def __iter__(self) -> Iterator[RawMessage]:
        channels: dict[int, tuple[str, str, str]] = {}
        schemas: dict[int, Schema] = {}
        try:
            for opcode, payload in self._records():
                if opcode == Opcode.MESSAGE:
                    channel_id, _, log_time, _ = _MESSAGE.unpack_from(payload)
                    yield RawMessage(*channels[channel_id], log_time, payload[_MESSAGE.size :])
                elif opcode == Opcode.SCHEMA:
                    schema = Schema.read(_stream(payload))
                    schemas[schema.id] = schema
                elif opcode == Opcode.CHANNEL:
                    channel = Channel.read(_stream(payload))
                    schema = schemas[channel.schema_id]
                    if channel.message_encoding != "cdr" or schema.encoding != "ros2msg":
                        raise self._damaged(f"topic {channel.topic} is not encoded as ROS 2 messages")
                    channels[channel.id] = (channel.topic, schema.name, schema.data.decode())
        except CRCValidationError as error:
            raise self._damaged("a block does not match its checksum") from error
        except (*_BROKEN_CHUNK, KeyError) as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from error

    def _records(self) -> Iterator[tuple[int, memoryview]]:
        """Opcode and payload of each record, those inside of chunks included, up to the end of the data."""
        self.truncated = False
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise RobofumeError(f"Cannot read the bag {self.path}: {error.strerror}.") from error
        with file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise RobofumeError(f"The bag {self.path} is empty; delete it.")
            if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
                raise RobofumeError(f"{self.path} is not an MCAP bag.")
            while True:
                head = file.read(_RECORD.size)
                opcode, length = _RECORD.unpack(head) if len(head) == _RECORD.size else (0, 0)
                # A file system may leave zeros where a crash kept the data from the disk.
                if opcode == 0 or file.tell() + length > size:
                    return self._cut_off()
                if opcode == Opcode.DATA_END:
                    return None
                payload = memoryview(file.read(length))
                if opcode == Opcode.CHUNK:
                    try:
                        data = _chunk_data(payload)
                    except _BROKEN_CHUNK:
                        if length and payload[-1] == 0 and _only_zeros(file):
                            return self._cut_off()  # the same zeros, from the middle of a chunk on
                        raise
                    yield from _chunk_records(data)
                else:
                    yield opcode, payload

    def _cut_off(self) -> None:
        self.truncated = True
        log.warning("The bag %s was cut off; what is whole in it is read.", self.path)

    def _damaged(self, reason: str) -> RobofumeError:
        return RobofumeError(f"The bag {self.path} is damaged ({reason}); move it away to go on without it.")


def _only_zeros(file: BinaryIO) -> bool:
    """Whether a file has only zeros from here to its end; its position stays."""
    place = file.tell()
    try:
        while block := file.read(2**20):
            if block.count(0) < len(block):
                return False
        return True
    finally:
        file.seek(place)


def _stream(payload: memoryview) -> ReadDataStream:
    return ReadDataStream(io.BytesIO(payload))


def _chunk_data(payload: memoryview) -> memoryview:
    stream, size = get_chunk_data_stream(Chunk.read(_stream(payload)), validate_crc=True)
    return memoryview(stream.read(size))


def _chunk_records(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    position = 0
    while position < len(data):
        opcode, length = _RECORD.unpack_from(data, position)
        position += _RECORD.size
        yield opcode, data[position : position + length]
        position += length
