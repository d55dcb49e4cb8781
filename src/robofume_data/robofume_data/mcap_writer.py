"""Writes MCAP files; a large picture goes from its array to the file without being copied on the way.

The `mcap` library's own writer copies each message four times and packs every chunk. This one keeps the parts of the
messages as they come until their chunk is full, and packs a chunk only where that is worth it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.well_known import MessageEncoding, SchemaEncoding
from mcap.writer import MCAP0_MAGIC

from robofume_data.mcap_records import crc32

_CHUNK_SIZE = 2**20
"""Bytes from which on a chunk is full."""
_MESSAGE = struct.Struct("<BQHIQQ")
"""Opcode, length, channel, sequence number, log time and publish time."""
_CHUNK = struct.Struct("<BQQQQII")
"""Opcode, length, first and last log time, size and CRC-32 of the records, length of the compression's name."""
_LENGTH = struct.Struct("<Q")
_FOOTER = struct.Struct("<BQQQ")
_SAMPLES, _SAMPLE = 4, 4096
"""Pieces of a chunk, and their bytes, that tell whether packing it is worth it."""
_WORTHWHILE = 0.8
"""A chunk is packed where its samples become smaller than this. Pictures of cameras do not: noise cannot be packed, and
the attempt takes longer than all the rest of writing them."""
_NOT_ASKED = 7
"""After a chunk that was not packed as many are not even sampled: the noise of a camera stays what it is."""

Part = bytes | memoryview


class McapWriter:
    """Writes to an open file. OSError where that fails."""

    def __init__(self, file: BinaryIO, profile: str, library: str) -> None:
        self._file = file
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._counts: dict[int, int] = {}
        self._indices: list[ChunkIndex] = []
        self._packer = zstandard.ZstdCompressor()
        self._open_chunks = 0
        """How many chunks, the present one included, stay as they are without being sampled."""
        self._chunk = _Chunk()
        self._place = 0
        self._put(MCAP0_MAGIC, _bytes(Header(profile, library)))

    def add_schema(self, name: str, definition: str) -> int:
        """Registers a type by its definition (ros2msg); its number."""
        number = len(self._schemas) + 1
        self._schemas[number] = Schema(number, definition.encode(), SchemaEncoding.ROS2, name)
        self._chunk.add((_bytes(self._schemas[number]),))
        return number

    def add_channel(self, topic: str, schema: int, metadata: dict[str, str]) -> int:
        """Registers a topic of serialised ROS 2 messages; its number."""
        number = len(self._channels) + 1
        self._channels[number] = Channel(
            id=number, topic=topic, message_encoding=MessageEncoding.CDR, metadata=metadata, schema_id=schema
        )
        self._counts[number] = 0
        self._chunk.add((_bytes(self._channels[number]),))
        return number

    def add_message(self, channel: int, log_time: int, parts: Sequence[Part], sequence: int) -> None:
        """Adds a message, whose bytes are these parts one behind the other. They must not change before `flush`."""
        length = sum(map(len, parts))
        head = _MESSAGE.pack(
            Opcode.MESSAGE, _MESSAGE.size - 9 + length, channel, sequence & 0xFFFFFFFF, log_time, log_time
        )
        self._chunk.note(channel, log_time)
        self._chunk.add((head, *parts))
        self._counts[channel] += 1
        if self._chunk.size > _CHUNK_SIZE:
            self._end_chunk()

    def flush(self) -> None:
        """Writes out all messages so far. It does not put them on the disk: that is up to the operating system."""
        self._end_chunk()
        self._file.flush()

    def finish(self) -> None:
        """Writes out the rest and the summary; the file stays open."""
        self._end_chunk()
        self._put(_bytes(DataEnd(0)))
        groups: list[tuple[Opcode, Sequence[McapRecord]]] = [
            (Opcode.SCHEMA, list(self._schemas.values())),
            (Opcode.CHANNEL, list(self._channels.values())),
            (Opcode.STATISTICS, [self._statistics()]),
            (Opcode.CHUNK_INDEX, self._indices),
        ]
        begin, summary, offsets = self._place, b"", b""
        for opcode, records in groups:
            group = b"".join(map(_bytes, records))
            offsets += _bytes(SummaryOffset(opcode, begin + len(summary), len(group)))
            summary += group
        offsets_begin = begin + len(summary)
        summary += offsets
        footer = _FOOTER.pack(Opcode.FOOTER, 20, begin, offsets_begin)
        self._put(summary, _bytes(Footer(begin, offsets_begin, crc32(footer, crc32(summary)))), MCAP0_MAGIC)

    def _statistics(self) -> Statistics:
        return Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts={channel: count for channel, count in self._counts.items() if count},
            chunk_count=len(self._indices),
            message_count=sum(self._counts.values()),
            metadata_count=0,
            message_start_time=min((index.message_start_time for index in self._indices), default=0),
            message_end_time=max((index.message_end_time for index in self._indices), default=0),
            schema_count=len(self._schemas),
        )

    def _end_chunk(self) -> None:
        chunk = self._chunk
        if not chunk.messages:
            return
        self._chunk = _Chunk()
        parts, compression = chunk.parts, ""
        self._open_chunks = self._open_chunks - 1 if self._open_chunks > 0 else 0
        if not self._open_chunks and not chunk.is_worth_packing(self._packer):
            self._open_chunks = _NOT_ASKED + 1
        if not self._open_chunks:
            parts, compression = [self._packer.compress(b"".join(parts))], "zstd"
        times = [time for entries in chunk.messages.values() for time, _ in entries]
        size = sum(map(len, parts))
        name = compression.encode()
        length = _CHUNK.size - 9 + len(name) + _LENGTH.size + size
        begin = self._place
        head = _CHUNK.pack(Opcode.CHUNK, length, min(times), max(times), chunk.size, chunk.checksum, len(name))
        self._put(head + name + _LENGTH.pack(size), *parts)
        after = self._place
        offsets: dict[int, int] = {}
        for channel, entries in chunk.messages.items():
            offsets[channel] = self._place
            self._put(_bytes(MessageIndex(channel, entries)))
        self._indices.append(
            ChunkIndex(
                chunk_length=after - begin,
                chunk_start_offset=begin,
                compression=compression,
                compressed_size=size,
                message_end_time=max(times),
                message_index_length=self._place - after,
                message_index_offsets=offsets,
                message_start_time=min(times),
                uncompressed_size=chunk.size,
            )
        )

    def _put(self, *parts: Part) -> None:
        for part in parts:
            self._file.write(part)
            self._place += len(part)


class _Chunk:
    """Records that are not written yet."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.size = 0
        self.checksum = 0
        """CRC-32 of the records so far: taken as they come, while they are in the cache."""
        self.messages: dict[int, list[tuple[int, int]]] = {}
        """Times and places of the messages of each channel."""

    def note(self, channel: int, time: int) -> None:
        """Notes that a message comes next."""
        self.messages.setdefault(channel, []).append((time, self.size))

    def add(self, parts: Sequence[Part]) -> None:
        """Takes in a record."""
        for part in parts:
            self.parts.append(part)
            self.size += len(part)
            self.checksum = crc32(part, self.checksum)

    def is_worth_packing(self, packer: zstandard.ZstdCompressor) -> bool:
        """Whether samples of the chunk become smaller by a fifth or more; a chunk that is hardly larger is packed."""
        if self.size <= 4 * _SAMPLES * _SAMPLE:
            return True
        wanted = [(2 * number + 1) * self.size // (2 * _SAMPLES) for number in range(_SAMPLES)]
        sample, end = b"", 0
        for part in self.parts:
            begin, end = end, end + len(part)
            while wanted and wanted[0] < end:
                place = wanted.pop(0) - begin
                sample += part[place : place + _SAMPLE]
        return len(packer.compress(sample)) < _WORTHWHILE * len(sample)


def _bytes(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return builder.end()
