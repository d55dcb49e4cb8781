"""Messages of an MCAP file in the order in which they were written, also of one that was cut off."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import zstandard
from mcap.exceptions import EndOfFile, McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, DataEnd, Footer, McapRecord, Message, Schema
from mcap.stream_reader import CRCValidationError, StreamReader, get_chunk_data_stream
from robofume_common.errors import RobofumeError

log = logging.getLogger(__name__)


class RawMessage(NamedTuple):
    """One message as it was recorded."""

    topic: str
    type_name: str
    definition: str
    log_time: int
    """Wall time, ns since 1970."""
    data: bytes


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
        for record in self._records():
            if isinstance(record, Message):
                yield RawMessage(*channels[record.channel_id], record.log_time, record.data)
            elif isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                schema = schemas.get(record.schema_id)
                if schema is None or record.message_encoding != "cdr" or schema.encoding != "ros2msg":
                    raise self._damaged(f"topic {record.topic} is not encoded as ROS 2 messages")
                channels[record.id] = (record.topic, schema.name, schema.data.decode())

    def _records(self) -> Iterator[McapRecord]:
        self.truncated = False
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise RobofumeError(f"Cannot read the bag {self.path}: {error.strerror}.") from error
        with file:
            if not file.read(1):
                raise RobofumeError(f"The bag {self.path} is empty; delete it.")
            file.seek(0)
            try:
                for record in StreamReader(file, emit_chunks=True).records:
                    if isinstance(record, Chunk):
                        yield from _chunk_records(record)
                    elif isinstance(record, (DataEnd, Footer)):
                        return
                    else:
                        yield record
            except EndOfFile:
                self._cut_off()
            except CRCValidationError as error:
                raise self._damaged("a block does not match its checksum") from error
            except (McapError, zstandard.ZstdError, struct.error, zlib.error, ValueError, KeyError) as error:
                if file.tell() <= 8:
                    raise RobofumeError(f"{self.path} is not an MCAP bag.") from error
                raise self._damaged(str(error) or type(error).__name__) from error

    def _cut_off(self) -> None:
        self.truncated = True
        log.warning("The bag %s was cut off; what is whole in it is read.", self.path)

    def _damaged(self, reason: str) -> RobofumeError:
        return RobofumeError(f"The bag {self.path} is damaged ({reason}); move it away to go on without it.")


def _chunk_records(chunk: Chunk) -> Iterator[McapRecord]:
    stream, length = get_chunk_data_stream(chunk, validate_crc=True)
    while stream.count < length:
        opcode, size = stream.read1(), stream.read8()
        if opcode == Opcode.MESSAGE:
            yield Message.read(stream, size)
        elif opcode == Opcode.CHANNEL:
            yield Channel.read(stream)
        elif opcode == Opcode.SCHEMA:
            yield Schema.read(stream)
        else:
            stream.read(size)
