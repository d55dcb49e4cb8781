"""Small files that unpack to gigabytes are refused before the memory is taken, and what came before them is kept."""

import contextlib
import itertools
import sqlite3
import struct
from pathlib import Path

import cv2
import lz4.frame
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from robofume_common.errors import RobofumeError
from robofume_data.importing import limits
from robofume_data.importing.bags import BagImporter
from robofume_data.importing.conversion import ImportOptions
from robofume_data.importing.limits import bounded_files, bounded_memory
from robofume_data.importing.raw_bags import RawBagConfig, raw_conventions
from robofume_data.importing.run import Source, import_sources
from robofume_data.importing.trajectory import Trajectory
from robofume_data.mcap_records import McapFile
from robot_recordings import pose_of, robot, write

BLOCK = bytes(2**24)
GIGABYTES = 4 * 2**30
ROOM = 300 * 2**20
"""Bytes that a refusal may take beside what the process has."""


def zstd_bomb() -> bytes:
    made = zstandard.ZstdCompressor(level=1).compressobj(size=GIGABYTES)
    return b"".join([*(made.compress(BLOCK) for _ in range(GIGABYTES // len(BLOCK))), made.flush()])


def lz4_bomb() -> bytes:
    made = lz4.frame.LZ4FrameCompressor()
    return b"".join([made.begin(), *(made.compress(BLOCK) for _ in range(2**30 // len(BLOCK))), made.flush()])


@pytest.fixture
def bound(monkeypatch):
    monkeypatch.setattr(limits, "memory_room", lambda: 2**29)
    return 2**29


@contextlib.contextmanager
def little_memory(bound=0):
    def told(name):
        return int(Path("/proc/self/status").read_text().partition(name)[2].split()[0]) * 1024

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = told("VmRSS:")
    yield
    assert told("VmHWM:") - before < bound + ROOM


def imported(bag, folder):
    config = RawBagConfig()
    options = ImportOptions(task="pot", direction=1, instruction="put the pot away")
    source = Source("bag", bag, BagImporter(config, pose_of))
    (report,) = import_sources([source], folder, raw_conventions(config.rate, "none"), options, disk_floor=0)
    return report


@pytest.mark.parametrize("told", [100, 2**28, GIGABYTES])
@pytest.mark.parametrize(("compression", "bomb"), [("zstd", zstd_bomb), ("lz4", lz4_bomb)])
def test_a_chunk_that_unpacks_to_gigabytes_is_damage(tmp_path, compression, bomb, told):
    packed = bomb()
    name = compression.encode()
    chunk = struct.pack("<QQQII", 0, 0, told, 0, len(name)) + name + struct.pack("<Q", len(packed)) + packed
    head = struct.pack("<I", 4) + b"ros2" + struct.pack("<I", 0)
    magic = b"\x89MCAP0\r\n"
    file = tmp_path / "bomb.mcap"
    records = b"".join(bytes([kind]) + struct.pack("<Q", len(part)) + part for kind, part in ((1, head), (6, chunk)))
    file.write_bytes(magic + records + magic)
    assert file.stat().st_size < 5 * 2**20
    with little_memory() if told != 2**28 else contextlib.nullcontext(), pytest.raises(RobofumeError, match="unpack"):
        list(McapFile(file).messages(None))


def test_a_message_that_unpacks_to_gigabytes_loses_only_what_follows_it(tmp_path, bound):
    bag = write(tmp_path / "bag", robot(4.0), "sqlite3", "message")
    with contextlib.closing(sqlite3.connect(next(bag.glob("*.db3")))) as database, database:
        (last,) = database.execute("SELECT max(id) FROM messages").fetchone()
        database.execute("UPDATE messages SET data = ? WHERE id = ?", (zstd_bomb(), last - 40))
    with little_memory(bound):
        report = imported(bag, tmp_path / "out")
    assert report.episodes == 1 and report.steps > 8
    assert "the rest of it cannot be read" in str(report.as_dict())


def test_a_file_that_unpacks_to_more_than_the_disk_has_room_for_is_one_sentence(tmp_path, monkeypatch):
    bag = write(tmp_path / "bag", robot(2.0), "sqlite3", "file")
    monkeypatch.setattr("robofume_data.importing.limits.DISK_SHARE", 1e-9)
    error = imported(bag, tmp_path / "out").error
    assert "Cannot read the bag" in error and "File too large" in error


def test_a_million_topics_are_one_sentence(tmp_path):
    bag = write(tmp_path / "bag", robot(2.0), "sqlite3")
    with contextlib.closing(sqlite3.connect(next(bag.glob("*.db3")))) as database, database:
        names = [row[1] for row in database.execute("PRAGMA table_info(topics)")]
        row = database.execute("SELECT * FROM topics").fetchone()
        fresh = itertools.count(1000)
        for_name = names.index("name")
        made = ((next(fresh), *row[1:for_name], f"/topic{i}", *row[for_name + 1 :]) for i in range(1_000_000))
        database.executemany(f"INSERT INTO topics VALUES ({','.join('?' * len(names))})", made)
    with little_memory():
        assert "names 1000002 topics" in imported(bag, tmp_path / "out").error


def test_metadata_of_a_million_topics_are_refused_before_they_are_read(tmp_path):
    bag = write(tmp_path / "bag", robot(2.0))
    with (bag / "metadata.yaml").open("a") as file:
        file.writelines(f"  - topic_{index}: {{}}\n" for index in range(1_000_000))
    with little_memory():
        assert "more than 8 MiB" in imported(bag, tmp_path / "out").error


def test_what_reading_may_take_is_bounded_and_the_bound_ends_with_it(tmp_path):
    with bounded_memory(2**28), pytest.raises(MemoryError):
        np.empty(2**30, np.uint8)
    np.empty(2**30, np.uint8)
    with bounded_memory(2**28), pytest.raises(MemoryError):  # libraries in C are bounded too
        zstandard.ZstdDecompressor().decompress(zstd_bomb())
    (tmp_path / "other").write_bytes(bytes(1000))
    with bounded_files():
        (tmp_path / "file").write_bytes(bytes(1000))


def test_parquet_that_unpacks_to_gigabytes_is_one_sentence(tmp_path, bound):
    file = tmp_path / "bomb.parquet"
    with pq.ParquetWriter(file, pa.schema([("a", pa.string())]), compression="zstd") as writer:
        batch = pa.table({"a": ["x" * 2**20] * 64})
        for _ in range(12):
            writer.write_table(batch)
    assert file.stat().st_size < 2**20

    def read(path, _):
        yield from pq.read_table(path, columns=["a"])["a"].to_pylist()

    config = RawBagConfig()
    source = Source("bomb", file, read)
    conventions = raw_conventions(config.rate, "none")
    (report,) = import_sources([source], tmp_path / "out", conventions, ImportOptions(task="pot"), disk_floor=0)
    assert "more than 0.5 GiB" in report.error


def test_pictures_that_unpack_to_gigabytes_skip_their_episode_alone(tmp_path, bound):
    large = cv2.imencode(".png", np.zeros((7000, 7000, 3), np.uint8))[1].tobytes()
    small = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()

    def read(path, _):
        for name, picture in (("one", small), ("two", large), ("three", small)):
            states = np.zeros((6, 7))
            yield Trajectory(name, "put the pot away", [picture] * 6, states, np.zeros((5, 7)))

    conventions = raw_conventions(5.0, "none")
    source = Source("bag", tmp_path, read)
    (report,) = import_sources([source], tmp_path / "out", conventions, ImportOptions(task="pot"), disk_floor=0)
    assert report.episodes == 2 and [item.name for item in report.skipped] == ["two"]
    assert "more than 0.5 GiB" in report.skipped[0].reason and "--image-size" in report.skipped[0].reason
