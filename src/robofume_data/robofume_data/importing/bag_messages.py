"""Messages of any rosbag2 recording: MCAP or sqlite3, compressed or not, one file or a split folder. No ROS."""

from __future__ import annotations

import contextlib
import functools
import logging
import struct
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from robofume_common.errors import RobofumeError
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from robofume_data.bag_reader import Bag
from robofume_data.mcap_records import McapFile

log = logging.getLogger(__name__)

# Three libraries and their decompressors raise what they like on damaged data; only their calls stand under this.
DAMAGE = Exception
FILES = (".mcap", ".db3")
UNREADABLE = "messages_that_cannot_be_decoded"


class Message(NamedTuple):
    """A decoded message."""

    topic: str
    log_time: int
    """Wall time at which it was recorded, ns since 1970."""
    content: Any


class LazyMessage(NamedTuple):
    """A message whose type begins with a std_msgs/Header."""

    log_time: int
    data: bytes | memoryview
    decode: Callable[[], Any]

    @property
    def stamp(self) -> int:
        """The header's time in ns, read from the first bytes of the CDR; the time of recording where it is 0."""
        if len(self.data) < 12:
            return self.log_time
        seconds, nanoseconds = struct.unpack_from("<iI" if self.data[1] & 1 else ">iI", self.data, 4)
        return seconds * 1_000_000_000 + nanoseconds or self.log_time


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


class Recording:
    """One recording. `topics` (name -> type) is known at once; `messages` may be read as often as wanted.

    RobofumeError where nothing of it can be read. `unreadable` counts messages that could not be decoded, and `damage`
    says where reading had to stop.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable = 0
        self.damage = ""
        self._indexed = False
        try:
            with self._reader() as reader:
                self.topics = {item.topic: str(item.msgtype) for item in reader.connections}
            self._indexed = True
        except DAMAGE as error:
            files = [path] if path.suffix == ".mcap" else sorted(path.glob("*.mcap")) if path.is_dir() else []
            if not files:
                raise RobofumeError(f"Cannot read the bag {path}: {_reason(error)}.") from error
            self._files = files  # without an index, as after a crash: what is whole is read in order
            self.topics = {raw.topic: raw.type_name for file in files for raw in self._raw(file)}
            if not self.topics:
                raise RobofumeError(f"Cannot read the bag {path}: {self.damage or _reason(error)}.") from error

    def messages(self, topics: Collection[str]) -> Iterator[Message]:
        """Messages of these topics in the order of their times, as far as they can be read."""
        self.unreadable, self.damage = 0, ""
        if not self._indexed:
            yield from self._salvaged(topics)
            return
        try:
            with self._reader() as reader:
                wanted = [item for item in reader.connections if item.topic in topics]
                if not wanted:
                    return
                for connection, time, data in reader.messages(wanted):
                    with self._counted():
                        content = reader.deserialize(data, connection.msgtype)
                        yield Message(connection.topic, time, content)
        except DAMAGE as error:
            self.damage = f"the rest of it cannot be read ({_reason(error)})"

    def pictures(self, topic: str) -> Iterator[LazyMessage]:
        """Messages of a topic whose type begins with a header, decoded only when it is asked for."""
        self.unreadable, self.damage = 0, ""
        if not self._indexed:
            for file in self._files:
                bag = Bag(file)
                for raw in self._raw(file):
                    if raw.topic == topic:
                        yield LazyMessage(raw.log_time, raw.data, functools.partial(bag.decode, raw))
            return
        try:
            with self._reader() as reader:
                wanted = [item for item in reader.connections if item.topic == topic]
                for connection, time, data in reader.messages(wanted) if wanted else ():
                    yield LazyMessage(time, data, functools.partial(reader.deserialize, data, connection.msgtype))
        except DAMAGE as error:
            self.damage = f"the rest of it cannot be read ({_reason(error)})"

    def _salvaged(self, topics: Collection[str]) -> Iterator[Message]:
        for file in self._files:
            bag = Bag(file)
            for raw in self._raw(file):
                if raw.topic in topics:
                    with self._counted():
                        yield Message(raw.topic, raw.log_time, bag.decode(raw))

    def _raw(self, file: Path) -> Iterator[Any]:
        content = McapFile(file)
        try:
            yield from content
        except RobofumeError as error:
            self.damage = str(error).rstrip(".")
        if content.truncated:
            self.damage = f"{file.name} was cut off"

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE:
            self.unreadable += 1

    def _reader(self) -> AnyReader:
        return AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_JAZZY))


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".").splitlines()[0]


__all__ = ["LazyMessage", "Message", "Recording", "find_recordings"]
