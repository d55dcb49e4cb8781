"""Starts one node's module with faults at hand: `python -m fault_kit.hooks` with the arguments of
`robofume_bringup.child`, in whose place it stands. Orders come as JSON datagrams to `$FAULT_KIT/<node>.sock`;
every strike adds a line to `$FAULT_KIT/strikes.jsonl`, so that only faults which took place are counted. Nothing of the
suite knows of this: messages are caught in rclpy's publisher, clocks in `time` and rclpy's clock, writes in `open`.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from robofume_bringup import child

FOLDER = "FAULT_KIT"
REORDERED_AT_MOST = 1.0
"""Seconds that a message waits for the next one of its topic to overtake it."""


class Faults:
    """The orders in force, and how they strike."""

    def __init__(self, folder: Path, node: str) -> None:
        self.node = node
        self._folder = folder
        self._lock = threading.RLock()
        self._messages: dict[str, dict[str, Any]] = {}  # by topic
        self._held: dict[str, tuple[Any, Any]] = {}
        self._frozen: Any = None
        self._write: dict[str, Any] | None = None
        self.offset = 0.0  # seconds that the wall clock is wrong by

    def listen(self) -> None:
        """Take orders, in a thread of its own."""
        path = self._folder / f"{self.node}.sock"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(path))

        def receive() -> None:
            while True:
                self.obey(json.loads(listener.recv(4096)))

        threading.Thread(target=receive, name="fault_kit", daemon=True).start()

    def obey(self, order: dict[str, Any]) -> None:
        """Put an order into force."""
        with self._lock:
            if order["kind"] == "cancel":
                self._messages.clear()
                self._write = None
            elif order["kind"] == "clock":
                self.offset += order["seconds"]
                self.note("clock")
            elif order["kind"] == "write":
                self._write = dict(order)
            else:
                self._messages[order["topic"]] = dict(order)

    def note(self, kind: str, file: str = "strikes", **more: Any) -> None:
        """A line about what has taken place; past the patched `open`."""
        line = json.dumps({"node": self.node, "pid": os.getpid(), "kind": kind, **more}) + "\n"
        descriptor = os.open(self._folder / f"{file}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    # Messages

    def publish(self, send: Any, publisher: Any, message: Any) -> None:
        """What is done in place of `publisher.publish(message)`; `send(publisher, message)` does it."""
        topic = publisher.topic_name[1:]
        with self._lock:
            held = self._held.pop(topic, None)
            order = self._messages.get(topic)
            if order is not None:
                order["count"] -= 1
                if order["count"] <= 0:
                    del self._messages[topic]
        if order is None:
            send(publisher, message)
        else:
            getattr(self, f"_{order['kind']}")(send, publisher, message, order)
            self.note(order["kind"], topic=topic)
        if held is not None:
            send(*held)

    def _drop(self, _send: Any, _publisher: Any, _message: Any, _order: dict[str, Any]) -> None:
        pass

    def _double(self, send: Any, publisher: Any, message: Any, _order: dict[str, Any]) -> None:
        send(publisher, message)
        send(publisher, message)

    def _delay(self, send: Any, publisher: Any, message: Any, order: dict[str, Any]) -> None:
        timer = threading.Timer(order["seconds"], send, (publisher, message))
        timer.daemon = True
        timer.start()

    def _reorder(self, _send: Any, publisher: Any, message: Any, _order: dict[str, Any]) -> None:
        topic = publisher.topic_name[1:]

        def give_up() -> None:
            with self._lock:
                late = self._held.pop(topic, None)
            if late is not None:
                _send(*late)

        with self._lock:
            self._held[topic] = (publisher, message)
        timer = threading.Timer(REORDERED_AT_MOST, give_up)
        timer.daemon = True
        timer.start()

    def _slow(self, send: Any, publisher: Any, message: Any, order: dict[str, Any]) -> None:
        time.sleep(order["seconds"])
        send(publisher, message)

    def _black(self, send: Any, publisher: Any, message: Any, _order: dict[str, Any]) -> None:
        picture = type(message)(header=message.header, height=message.height, width=message.width, step=message.step)
        picture.encoding, picture.data = message.encoding, bytes(len(message.data))
        send(publisher, picture)

    def _freeze(self, send: Any, publisher: Any, message: Any, order: dict[str, Any]) -> None:
        self._frozen = self._frozen if self._frozen is not None else message.data
        picture = type(message)(header=message.header, height=message.height, width=message.width, step=message.step)
        picture.encoding, picture.data = message.encoding, self._frozen
        if order["count"] <= 0:
            self._frozen = None
        send(publisher, picture)

    # Files

    def write(self, write: Any, data: Any) -> int:
        """What is done in place of a file's `write(data)`."""
        with self._lock:
            order = self._write
            if order is not None and time.monotonic() >= order.get("until", float("inf")):
                order = self._write = None  # there is room again
            if order is None:
                return int(write(data))
            size = len(memoryview(data).cast("B"))
            order["bytes"] -= size
            if order["bytes"] > 0:
                return int(write(data))
            if order["error"] == "short":
                self._write = None
                self.note("short")
                return int(write(memoryview(data).cast("B")[: max(1, size // 2)]))
            first = not order.get("struck")
            order["struck"] = True
            order.setdefault("until", time.monotonic() + order["seconds"])
        if first:
            write(memoryview(data).cast("B")[: size // 2])  # half of it reaches the disk
            self.note(order["error"])
        number = getattr(errno, order["error"])
        raise OSError(number, os.strerror(number))


def install(faults: Faults) -> None:
    """Put the faults in the way of messages, clocks and writes of this process."""
    from rclpy.clock import Clock
    from rclpy.clock_type import ClockType
    from rclpy.publisher import Publisher
    from rclpy.time import Time

    send, now = Publisher.publish, Clock.now
    wall, wall_ns = time.time, time.time_ns

    def publish(publisher: Any, message: Any) -> None:
        faults.publish(send, publisher, message)

    def clock_now(clock: Any) -> Any:
        right = now(clock)
        if faults.offset == 0.0 or clock.clock_type == ClockType.STEADY_TIME or getattr(clock, "ros_time_is_active", 0):
            return right
        return Time(nanoseconds=max(0, right.nanoseconds + int(faults.offset * 1e9)), clock_type=clock.clock_type)

    Publisher.publish, Clock.now = publish, clock_now
    time.time = lambda: wall() + faults.offset
    time.time_ns = lambda: wall_ns() + int(faults.offset * 1e9)

    class File(io.FileIO):
        def write(self, data: Any) -> int:
            return faults.write(super().write, data)

    plain_open = io.open

    def faulty_open(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
        if "+" in mode or not set(mode) & set("wax"):
            return plain_open(file, mode, buffering, *rest, **named)
        names = ("encoding", "errors", "newline", "closefd", "opener")
        options = {**dict(zip(names, rest, strict=False)), **named}
        raw = File(file, mode.replace("b", "").replace("t", ""), options.get("closefd", True), options.get("opener"))
        if buffering == 0:
            return raw
        buffered = io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(
            buffered, options.get("encoding"), options.get("errors"), options.get("newline"), buffering == 1
        )

    io.open = builtins.open = faulty_open


def watch_memory(faults: Faults) -> None:
    """Note every episode that enters a replay memory, with what is learnt from it."""
    from robofume_policy.replay import ReplayMemory

    add = ReplayMemory.add

    def noted(memory: Any, episode: Any, times: int = 1) -> None:
        add(memory, episode, times)
        faults.note(
            "memory",
            file="memory",
            episode_id=episode.episode_id,
            rewards=episode.rewards.tolist(),
            discounts=episode.discounts.tolist(),
            next_offset=episode.next_offset.tolist(),
        )

    ReplayMemory.add = noted


def main() -> None:
    """Arm this process with faults, then become the node as `robofume_bringup.child` makes it."""
    for number in (signal.SIGINT, signal.SIGTERM):  # as the child does, while the imports run
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    node = sys.argv[child.MODULE].rpartition(".")[2]
    faults = Faults(Path(os.environ[FOLDER]), node)
    faults.listen()
    install(faults)
    if node == "learner":
        watch_memory(faults)
    child.main()


if __name__ == "__main__":
    main()
