"""Messages of any rosbag2 recording: MCAP or sqlite3, compressed or not, one file or a split folder. No ROS."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import struct
from array import array
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import yaml
from robofume_common.errors import RobofumeError
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from robofume_data.bag_reader import decode
from robofume_data.importing.limits import bounded_files, bounded_memory, memory_room
from robofume_data.mcap_records import McapFile, RawMessage

# Three libraries and their decompressors raise what they like on damaged data; only their calls stand under this.
DAMAGE = Exception
FILES = (".mcap", ".db3")
UNREADABLE = "messages_that_cannot_be_decoded"
MOST_TOPICS = 5_000
MOST_METADATA = 8 * 2**20
"""Bytes of a metadata.yaml."""
KEPT = 128 * 2**20
"""Bytes of unpacked MCAP chunks of a recording that stay in memory between its two readings."""
_STAMP, _FIELDS = 4, 12
"""Where in the CDR of a message the stamp of its header begins, and what follows it."""


class Message(NamedTuple):
    """A message that is decoded only when it is asked for."""

    topic: str
    log_time: int
    """Wall time at which it was recorded, ns since 1970."""
    data: bytes | memoryview
    decode: Callable[[], Any]
    """Raises whatever the libraries do where the data are damaged."""

    @property
    def stamp(self) -> int:
        """Time of a std_msgs/Header that it begins with, ns; the time of recording where that is 0."""
        return header_stamp(self.data) or self.log_time


class Picture(NamedTuple):
    """A message of a picture, read only when it is asked for."""

    stamp: int
    """Time of its header, ns; the time of recording where that is 0."""
    decode: Callable[[], Any]
    """Its data hold until the next picture is decoded."""


class Recording(Protocol):
    """One recording. `topics` (name -> type) is known at once; its messages may be read as often as wanted."""

    path: Path
    topics: dict[str, str]
    damage: str
    """Where and why the newest reading had to stop; empty: it did not."""

    def messages(self, topics: Collection[str], pictures: str = "") -> Iterator[Message]:
        """Messages of these topics, as far as they can be read. pictures: the topic that `pictures` will ask for."""

    def pictures(self, topic: str) -> Iterator[Picture]:
        """Messages of a topic whose type begins with a header, in the order of their recording."""

    def are_alike(self, topic: str) -> bool:
        """Whether its messages are Images that differ in stamp and pixels alone and may be decoded at any time, in any
        order. To be asked after `messages` was given the topic as that of the pictures."""


def header_stamp(data: bytes | memoryview) -> int:
    """ns of the header that a message in CDR begins with; 0 where it is too short for one."""
    if len(data) < 12:
        return 0
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(seconds * 1_000_000_000 + nanoseconds)


def find_recordings(path: Path) -> list[Path]:
    """Recordings at a path: the file, the folder with a metadata.yaml, or all of those below a folder.

    RobofumeError where there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RobofumeError(f"There is no bag {path}.")
    if (path / "metadata.yaml").is_file():
        return [path]
    folders = {item.parent for item in path.rglob("metadata.yaml")}
    files = [
        item for item in path.rglob("*") if item.suffix in FILES and item.is_file() and not folders & set(item.parents)
    ]
    found = sorted([*folders, *files])
    if not found:
        raise RobofumeError(f"There are no bags (*.mcap, *.db3, or folders with metadata.yaml) in {path}.")
    return found


def open_recording(path: Path) -> Recording:
    """The recording at a path; RobofumeError where nothing of it can be read."""
    _check_topics(path)
    files = _plain_mcap_files(path)
    if files:
        recording = McapRecording.with_index(path, files)
        if recording is not None:
            return recording
    try:
        return RosbagsRecording(path)
    except DAMAGE as error:
        if not files:
            raise RobofumeError(f"Cannot read the bag {path}: {_reason(error)}.") from error
        return McapRecording.without_index(path, files, _reason(error))


class McapRecording:
    """MCAP files, read once from the beginning to the end; pictures are found again by their places."""

    def __init__(self, path: Path, files: list[McapFile], topics: dict[str, str]) -> None:
        self.path = path
        self.topics = topics
        self.damage = ""
        self._files = files
        self._pictures: dict[str, _Places] = {}

    @classmethod
    def with_index(cls, path: Path, files: list[Path]) -> McapRecording | None:
        """The recording where each file has a sound summary; None where one has not."""
        opened = [McapFile(file, KEPT // len(files)) for file in files]
        summaries = [file.summary_topics() for file in opened]
        topics: dict[str, str] = {}
        for summary in summaries:
            if summary is None:
                return None
            topics.update(summary)
        return cls(path, opened, topics)

    @classmethod
    def without_index(cls, path: Path, files: list[Path], reason: str) -> McapRecording:
        """The recording as after a crash: its topics are found by reading it. RobofumeError where there are none."""
        recording = cls(path, [McapFile(file, KEPT // len(files)) for file in files], {})
        for file in recording._files:
            recording.topics.update({raw.topic: raw.type_name for raw in recording._raw(file, None)})
        if not recording.topics:
            raise RobofumeError(f"Cannot read the bag {path}: {recording.damage or reason}.")
        return recording

    def messages(self, topics: Collection[str], pictures: str = "") -> Iterator[Message]:
        """See `Recording`; in the order in which they lie in the files."""
        self.damage = ""
        places = _Places()
        for number, file in enumerate(self._files):
            for raw in self._raw(file, {*topics, pictures}):
                if raw.topic == pictures:
                    places.add(number, raw)
                if raw.topic in topics:
                    yield Message(raw.topic, raw.log_time, raw.data, functools.partial(decode, raw))
                del raw  # so that the memory of a picture is used again at once, while it is in the cache
        if pictures:
            self._pictures[pictures] = places

    def pictures(self, topic: str) -> Iterator[Picture]:
        """See `Recording`."""
        if topic not in self._pictures:
            for _ in self.messages((), topic):
                pass
        places = self._pictures[topic]
        for stamp, index in places.in_order():
            yield Picture(stamp, functools.partial(self._picture, places, index))

    def are_alike(self, topic: str) -> bool:
        """See `Recording`."""
        return topic in self._pictures and self._pictures[topic].alike

    def _picture(self, places: _Places, index: int) -> Any:
        number, chunk, position, length = places.place(index)
        return decode(places.kind._replace(data=memoryview(self._files[number].again(chunk, position, length))))

    def _raw(self, file: McapFile, topics: Collection[str] | None) -> Iterator[RawMessage]:
        try:
            yield from file.messages(topics)
        except RobofumeError as error:
            self._note(str(error).rstrip("."))
        if file.truncated:
            self._note(f"{file.path.name} was cut off")

    def _note(self, damage: str) -> None:
        if damage not in self.damage:
            self.damage = "; ".join(filter(None, (self.damage, damage)))


class _Places:
    """Where the messages of one topic lie; 48 bytes each."""

    def __init__(self) -> None:
        self._numbers = array("q")
        self.kind: RawMessage
        """A message of the topic without its data."""
        self.alike = False
        """Whether they are Images that differ in stamp and pixels alone."""
        self._size = 0
        self._heads = b"", b""

    def add(self, file: int, raw: RawMessage) -> None:
        if not self._numbers:
            self.kind = raw._replace(data=memoryview(b""))
            self._size, self._heads = len(raw.data), _heads(raw)
            self.alike = bool(self._heads[1])
        elif self.alike:
            options, fields = self._heads
            self.alike = (
                len(raw.data) == self._size
                and raw.data[:_STAMP] == options
                and raw.data[_FIELDS : _FIELDS + len(fields)] == fields
            )
        stamp = header_stamp(raw.data) or raw.log_time
        self._numbers.extend((raw.log_time, stamp, file, raw.chunk, raw.position, len(raw.data)))

    def in_order(self) -> Iterator[tuple[int, int]]:
        """Stamps and indices in the order of the times of recording."""
        times = self._numbers[0::6]
        for index in sorted(range(len(times)), key=times.__getitem__):
            yield self._numbers[6 * index + 1], index

    def place(self, index: int) -> tuple[int, int, int, int]:
        """File, chunk, position and length."""
        file, chunk, position, length = self._numbers[6 * index + 2 : 6 * index + 6]
        return file, chunk, position, length


def _heads(image: RawMessage) -> tuple[bytes, bytes]:
    """The bytes of an Image before its stamp, and those between its stamp and its pixels; nothing where it is none."""
    try:
        content = decode(image)
        begin = len(image.data) - len(content.data) if hasattr(content, "encoding") else 0
    except DAMAGE:
        begin = 0
    return bytes(image.data[:_STAMP]), bytes(image.data[_FIELDS:begin])


class RosbagsRecording:
    """Whatever rosbags can read: sqlite3, and what rosbag2 compressed by message or by file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        with bounded_memory(memory_room()), bounded_files(), self._reader() as reader:
            self.topics = {item.topic: str(item.msgtype) for item in reader.connections}

    def messages(self, topics: Collection[str], pictures: str = "") -> Iterator[Message]:  # noqa: ARG002
        """See `Recording`; in the order of their times."""
        self.damage = ""
        try:
            with contextlib.ExitStack() as opened:
                with bounded_files():
                    reader = opened.enter_context(self._reader())
                wanted = [item for item in reader.connections if item.topic in topics]
                for connection, time, data in reader.messages(wanted) if wanted else ():
                    content = functools.partial(reader.deserialize, data, connection.msgtype)
                    yield Message(connection.topic, time, data, content)
        except DAMAGE as error:
            self.damage = f"the rest of it cannot be read ({_reason(error)})"

    def pictures(self, topic: str) -> Iterator[Picture]:
        """See `Recording`."""
        for message in self.messages((topic,)):
            yield Picture(message.stamp, message.decode)

    def are_alike(self, topic: str) -> bool:  # noqa: ARG002
        """See `Recording`; a message is not found a second time."""
        return False

    def _reader(self) -> AnyReader:
        return AnyReader([self.path], default_typestore=_jazzy())


@functools.cache
def _jazzy() -> Typestore:
    return get_typestore(Stores.ROS2_JAZZY)


def _check_topics(path: Path) -> None:
    """RobofumeError where a recording names more topics than any robot has: reading each takes rosbags milliseconds."""
    metadata = path / "metadata.yaml"
    if metadata.is_file() and metadata.stat().st_size > MOST_METADATA:
        raise RobofumeError(f"{metadata} has more than {MOST_METADATA >> 20} MiB, which no rosbag2 writes: damaged.")
    for file in [path] if path.suffix == ".db3" else sorted(path.glob("*.db3")):
        try:
            with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as database:
                (count,) = database.execute("SELECT count(*) FROM topics").fetchone()
        except sqlite3.Error:  # the reader says what is wrong with it
            continue
        if count > MOST_TOPICS:
            raise RobofumeError(f"The bag {file} names {count} topics; more than {MOST_TOPICS} are not read.")


def _plain_mcap_files(path: Path) -> list[Path]:
    """The MCAP files of a recording that rosbag2 did not compress from outside; none where there is anything else."""
    if path.is_file():
        return [path] if path.suffix == ".mcap" else []
    found = sorted(path.glob("*.mcap"))
    try:
        metadata = yaml.safe_load((path / "metadata.yaml").read_text(encoding="utf-8"))
        information = metadata["rosbag2_bagfile_information"]
        if str(information.get("compression_mode") or "NONE").upper() != "NONE":
            return []
        named = [path / str(name) for name in information["relative_file_paths"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return found
    return named if all(file.suffix == ".mcap" for file in named) else []


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".").splitlines()[0]
