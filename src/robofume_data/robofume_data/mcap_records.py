"""Messages of an MCAP file in the order in which they were written, also of one that was cut off."""

from __future__ import annotations

import io
import logging
import os
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Schema
from mcap.writer import MCAP0_MAGIC
from robofume_common.errors import RobofumeError

try:  # six times as fast; zlib's takes longer than all the rest of reading a chunk that is not compressed
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

log = logging.getLogger(__name__)

_RECORD = struct.Struct("<BQ")
"""Opcode and length before each record (MCAP specification)."""
_MESSAGE = struct.Struct("<HIQQ")
"""Channel, sequence number, log time and publish time before each message."""
_CHUNK = struct.Struct("<QQQII")
"""First and last log time, size and CRC-32 of the records, and the length of the compression's name."""
_LENGTH = struct.Struct("<Q")
_STATISTICS = struct.Struct("<QHIIII")
"""Numbers of messages, schemas, channels, attachments, metadata and chunks."""
_INDEX = struct.Struct("<HI")
"""Channel, and bytes of the entries of an index of messages."""
_FOOTER = struct.Struct("<BQQQI")
"""Opcode, length, start of the summary, start of its offsets, CRC-32 of both and of what stands before the CRC."""
_KINDS = frozenset(int(kind) for kind in Opcode)
_PRIVATE = 0x80
"""Kinds of records from here on belong to whoever wrote the file."""
_MAX_TIME = 2**63 - 1
"""ns; what is later does not fit an int64, and is damage."""
_MAX_CHUNK = 2**29
"""Bytes; a chunk that claims to unpack to more is taken for damage."""

_NOTHING = memoryview(b"")

_BROKEN = (McapError, zstandard.ZstdError, RuntimeError, MemoryError, struct.error, ValueError, KeyError)
"""What damage makes of a chunk or a record; lz4 raises RuntimeError."""


class RawMessage(NamedTuple):
    """One message as it was recorded."""

    topic: str
    type_name: str
    definition: str
    log_time: int
    """Wall time, ns since 1970."""
    data: memoryview
    chunk: int = -1
    """Where in the file the compressed chunk is that holds it; -1: it lies open."""
    position: int = 0
    """Of its first byte, in the unpacked chunk or in the file."""


class McapFile:
    """One MCAP file; iterate over it, as often as wanted, for its messages.

    A file that ends in the middle of a record gives what is whole before it and sets `truncated`.
    RobofumeError where the file is missing, empty, no MCAP file or damaged in the middle.

    keep: bytes of unpacked chunks that stay in memory, so that `again` and further readings need not unpack them.
    """

    def __init__(self, path: str | Path, keep: int = 0) -> None:
        self.path = Path(path)
        self.truncated = False
        self.left_out = 0
        """How many damaged blocks the last reading went past."""
        self._room = keep
        self._kept: dict[int, memoryview] = {}
        self._newest: tuple[int, memoryview] = (-1, memoryview(b""))
        self._buffer = bytearray()

    def __iter__(self) -> Iterator[RawMessage]:
        return self.messages()

    def messages(self, topics: Collection[str] | None = None, past_damage: bool = False) -> Iterator[RawMessage]:
        """The messages of these topics (full names; None: of all).

        past_damage: go on behind a block that is damaged inside, and count it in `left_out`. Where the topics are
        described in such a block, what the summary says of them is taken; without one their messages are left out.
        """
        channels: dict[int, tuple[str, str, str] | None] = {}
        if past_damage:
            channels = defaultdict(lambda: None, self._summary_channels() or {})
        schemas: dict[int, Schema] = {}
        message, head, size = int(Opcode.MESSAGE), _MESSAGE.unpack_from, _MESSAGE.size
        try:
            for opcode, payload, chunk, position in self._records(past_damage):
                if opcode == message:
                    channel_id, _, log_time, _ = head(payload)
                    channel = channels[channel_id]
                    if channel is not None:
                        time = log_time if log_time < _MAX_TIME else _MAX_TIME
                        payload = payload[size:]
                        yield RawMessage(*channel, time, payload, chunk, position + size)
                        payload = _NOTHING
                elif opcode == Opcode.SCHEMA:
                    schema = Schema.read(_stream(payload))
                    schemas[schema.id] = schema
                elif opcode == Opcode.CHANNEL:
                    found = Channel.read(_stream(payload))
                    wanted = topics is None or found.topic in topics
                    channels[found.id] = self._described(found, schemas) if wanted else None
        except ChunkDamagedError as error:
            raise self._damaged("a block does not match its checksum") from error
        except _BROKEN as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from error

    def again(self, chunk: int, position: int, length: int) -> memoryview | bytes:
        """The bytes of a message that was read before, by its place; RobofumeError where they cannot be read.

        They stay what they are until this is called again: new memory for each picture takes as long as reading it.
        """
        try:
            holder, begin = (self._open_bytes(position, length), 0) if chunk < 0 else (self._unpacked(chunk), position)
            data = holder[begin : begin + length]
        except OSError as error:
            raise RobofumeError(f"Cannot read the bag {self.path}: {error.strerror}.") from error
        except _BROKEN as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from error
        if len(data) != length:
            raise self._damaged("it was changed while it was read")
        return data

    def summary_topics(self) -> dict[str, str] | None:
        """Type of each topic, from the summary at the end of the file; None where there is none, or a damaged one, or
        where a topic is not encoded as ROS 2 messages."""
        topics = {topic: type_name for topic, type_name, _ in (self._summary_channels() or {}).values()}
        return topics or None

    def _summary_channels(self) -> dict[int, tuple[str, str, str]] | None:
        """Topic, type and definition of each channel by its number; None where `summary_topics` is."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _FOOTER.size - len(MCAP0_MAGIC)))
                footer = file.read(_FOOTER.size)
                opcode, _, start, _, checksum = _FOOTER.unpack(footer)
                if opcode != Opcode.FOOTER or file.read() != MCAP0_MAGIC or not 0 < start < size:
                    return None
                file.seek(start)
                summary = file.read(size - start - _FOOTER.size - len(MCAP0_MAGIC))
            if checksum and crc32(footer[:-4], crc32(summary)) != checksum:
                return None
            schemas: dict[int, Schema] = {}
            channels: dict[int, tuple[str, str, str]] = {}
            for opcode, payload, _, _ in _inner_records(memoryview(summary)):
                if opcode == Opcode.SCHEMA:
                    schema = Schema.read(_stream(payload))
                    schemas[schema.id] = schema
                elif opcode == Opcode.CHANNEL:
                    channel = Channel.read(_stream(payload))
                    channels[channel.id] = self._described(channel, schemas)
        except (OSError, RobofumeError, *_BROKEN):
            return None
        return channels

    def _described(self, channel: Channel, schemas: dict[int, Schema]) -> tuple[str, str, str]:
        schema = schemas[channel.schema_id]
        if channel.message_encoding != "cdr" or schema.encoding != "ros2msg":
            raise self._damaged(f"topic {channel.topic} is not encoded as ROS 2 messages")
        return channel.topic, schema.name, schema.data.decode()

    def _records(self, past_damage: bool = False) -> Iterator[tuple[int, memoryview, int, int]]:
        """Opcode, payload and place of each record, those inside of chunks included, up to the end of the data."""
        self.truncated, self.left_out = False, 0
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
            position = len(MCAP0_MAGIC)
            chunks = messages = 0
            while True:
                head = file.read(_RECORD.size)
                opcode, length = _RECORD.unpack(head) if len(head) == _RECORD.size else (0, 0)
                position += _RECORD.size
                # A file system may leave zeros where a crash kept the data from the disk.
                if opcode == 0 or position + length > size:
                    return self._cut_off()
                if opcode == Opcode.DATA_END:
                    file.seek(length, os.SEEK_CUR)
                    return _check_counts(file.read(), chunks, messages)
                chunks, messages = chunks + (opcode == Opcode.CHUNK), messages + (opcode == Opcode.MESSAGE)
                if opcode == Opcode.CHUNK and position in self._kept:
                    file.seek(length, os.SEEK_CUR)
                    yield from _inner_records(self._kept[position], position)
                    position += length
                    continue
                payload = data = _NOTHING  # so that its memory is used again, while it is in the cache
                payload = memoryview(file.read(length))
                if opcode == Opcode.CHUNK:
                    try:
                        data, open_at = _chunk_data(payload)
                    except _BROKEN:
                        if length and payload[-1] == 0 and _only_zeros(file):
                            return self._cut_off()  # the same zeros, from the middle of a chunk on
                        if past_damage:  # the next record is where its length says
                            self.left_out, position = self.left_out + 1, position + length
                            continue
                        raise
                    if open_at:
                        yield from _inner_records(data, base=position + open_at)
                    else:
                        self._keep(position, data)
                        yield from _inner_records(data, position)
                else:
                    try:
                        _check_kind(opcode, payload)
                    except _BROKEN:
                        if (not length or payload[-1] == 0) and _only_zeros(file):
                            return self._cut_off()
                        raise
                    yield opcode, payload, -1, position
                position += length

    def _keep(self, chunk: int, data: memoryview) -> None:
        if len(data) <= self._room:
            self._room -= len(data)
            self._kept[chunk] = data

    def _unpacked(self, chunk: int) -> memoryview:
        if chunk in self._kept:
            return self._kept[chunk]
        if self._newest[0] != chunk:
            _, length = _RECORD.unpack(self._bytes(chunk - _RECORD.size, _RECORD.size))
            self._newest = (chunk, _chunk_data(memoryview(self._bytes(chunk, length)))[0])
        return self._newest[1]

    def _open_bytes(self, position: int, length: int) -> memoryview:
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        view = memoryview(self._buffer)[:length]
        file = os.open(self.path, os.O_RDONLY)
        try:
            return view[: os.preadv(file, [view], position)]
        finally:
            os.close(file)

    def _bytes(self, position: int, length: int) -> bytes:
        with self.path.open("rb", buffering=0) as file:
            file.seek(position)
            return file.read(length)

    def _cut_off(self) -> None:
        self.truncated = True
        log.warning("The bag %s was cut off; what is whole in it is read.", self.path)

    def _damaged(self, reason: str) -> RobofumeError:
        return RobofumeError(f"The bag {self.path} is damaged ({reason}); move it away to go on without it.")


class ChunkDamagedError(ValueError):
    """A chunk does not match its checksum."""


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


def _chunk_data(payload: memoryview) -> tuple[memoryview, int]:
    """The records of a chunk, and where in the payload they lie open; 0 where they had to be unpacked."""
    _, _, size, checksum, name_length = _CHUNK.unpack_from(payload)
    begin = _CHUNK.size + name_length + _LENGTH.size
    (length,) = _LENGTH.unpack_from(payload, begin - _LENGTH.size)
    compression = bytes(payload[_CHUNK.size : _CHUNK.size + name_length])
    packed = payload[begin : begin + length]
    if len(payload) != begin + length or size > _MAX_CHUNK:
        raise ValueError(f"a chunk of {len(payload) - begin} bytes says that it has {length}, unpacked {size}")
    if compression == b"":
        data = packed
    elif compression == b"zstd":
        told = zstandard.frame_content_size(packed)  # memory is taken for it, whatever was asked for
        if told not in (-1, size):
            raise ValueError(f"a chunk says that it unpacks to {size} bytes, and its contents that it is {told}")
        data = memoryview(zstandard.ZstdDecompressor().decompress(packed, max_output_size=size))
    elif compression == b"lz4":
        data = memoryview(lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size + 1))
    else:
        raise ValueError(f"a chunk is compressed with {compression.decode(errors='replace')!r}")
    if len(data) != size:
        raise ValueError(f"a chunk unpacks to {len(data)} bytes instead of {size}")
    if checksum and crc32(data) != checksum:
        raise ChunkDamagedError
    return data, 0 if compression else begin


def _check_kind(opcode: int, payload: memoryview) -> None:
    """ValueError where a record cannot be what it says it is: a reader would pass over what it does not know, and a
    chunk whose kind was damaged would be lost in silence."""
    if not (opcode in _KINDS or opcode >= _PRIVATE):
        raise ValueError(f"a record of the unknown kind {opcode}")
    if opcode == Opcode.MESSAGE_INDEX:
        _, length = _INDEX.unpack_from(payload)
        if length != len(payload) - _INDEX.size:
            raise ValueError("an index of messages has another length than it says")


def _check_counts(rest: bytes, chunks: int, messages: int) -> None:
    """ValueError where the statistics in the rest of a file tell of other chunks or messages than were read.

    Those of a file that was cut off say nothing: a file system may have put zeros where they would go on.
    """
    if not rest.endswith(MCAP0_MAGIC):
        return
    try:
        records = _inner_records(memoryview(rest))
        statistics = next(payload for opcode, payload, *_ in records if opcode == Opcode.STATISTICS)
        recorded, *_, packed = _STATISTICS.unpack_from(statistics)
    except (struct.error, ValueError, StopIteration):
        return  # what follows the data is not needed to read them
    if chunks != packed or (not packed and messages != recorded):
        raise ValueError(f"{chunks} blocks and {messages} messages beside them were found of {packed} and {recorded}")


def _inner_records(data: memoryview, chunk: int = -1, base: int = 0) -> Iterator[tuple[int, memoryview, int, int]]:
    """Opcode, payload, `chunk` and place of each record of a chunk or summary that begins at `base`."""
    position, end, read = 0, len(data), _RECORD.unpack_from
    while position < end:
        opcode, length = read(data, position)
        position += _RECORD.size
        after = position + length
        if after > end:
            raise ValueError("a record is longer than what holds it")
        yield opcode, data[position:after], chunk, base + position
        position = after
