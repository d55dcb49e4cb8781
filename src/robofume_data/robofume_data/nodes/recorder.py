"""Recorder node: keeps what the graph does as MCAP bags, one file per start."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from robofume_common.diagnostics import ERROR, Diagnostics
from robofume_common.errors import RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare, setting

from robofume_common import qos
from robofume_data.bag_writer import BagWriter, next_path, prepare_folder
from robofume_data.topics import TOPICS, view_topic

COMMIT_PERIOD = 0.5
"""Seconds of wall time between commits while messages come."""

_EVERY_TASK = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_PROFILES = {
    "task": _EVERY_TASK,
    "step": qos.STEP,
    "reward": qos.REWARD,
    "label": qos.REWARD,
    "episode": qos.EPISODE,
    "help": qos.LATCHED,
    "arm/status": qos.LATCHED,
    "arm/backend_status": qos.LATCHED,
    "learner/status": qos.STATUS,
    "ground_truth": qos.GROUND_TRUTH,
}
QUIET = 0.2
"""Seconds without a message after which nothing is on its way any more, when the recorder ends."""
REST = 5.0
"""Seconds for what is on its way, at most."""


@dataclass(frozen=True)
class RecorderConfig:
    """Settings of the recorder node."""

    directory: str = setting("", "Folder for the bags; made if it is missing")
    name: str = setting("recording", "Bags are called <name>_<index>.mcap")
    further_cameras: tuple[str, ...] = setting((), "Cameras whose views of the steps are kept beside the first one's")
    disk_floor: float = setting(500e6, "Recording stops when less is free", unit="bytes", minimum=0.0, maximum=1e15)


class Recorder(GraphNode):
    """Writes the topics of `robofume_data.topics` to a bag, as received, and the views of further cameras.

    Each `episode` message makes everything before it safe on the disk; a timer does the same, since the last
    steps of an episode may come after its end, for topics do not wait for one another. A full or failing disk
    ends the node with one sentence; the bag stays readable.
    """

    def __init__(self) -> None:
        super().__init__("recorder")
        self.failure: RobofumeError | None = None
        self._writer: BagWriter | None = None
        config = declare(self, RecorderConfig)
        if not config.directory:
            raise RobofumeError("The recorder needs the parameter directory: the folder for its bags.")
        folder = prepare_folder(config.directory)
        self._writer = BagWriter(next_path(folder, config.name), int(config.disk_floor))
        profiles = dict.fromkeys(map(view_topic, config.further_cameras), qos.STEP) | _PROFILES
        self._counters: dict[str, int] = dict.fromkeys(profiles, 0)
        self._recorded: dict[str, Subscription] = {}
        for topic, profile in profiles.items():
            self._record(topic, TOPICS.get(topic, TOPICS["step"]), profile)
        self.create_timer(COMMIT_PERIOD, self._commit, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._diagnostics = Diagnostics(self, self._state, hardware_id=str(self._writer.path))
        self.get_logger().info(f"Recording to {self._writer.path}")

    def _record(self, topic: str, type_name: str, profile: QoSProfile) -> None:
        writer = self._writer
        assert writer is not None
        resolved = self.resolve_topic_name(topic)
        writer.add_topic(resolved, type_name)

        def on_message(data: bytes) -> None:
            self._counters[topic] += 1
            self._guard(lambda: writer.write(resolved, data))
            if topic == "episode":
                self._commit()

        package, _, name = type_name.split("/")
        message_class = getattr(importlib.import_module(f"{package}.msg"), name)
        self._recorded[topic] = self.create_subscription(message_class, topic, on_message, profile, raw=True)

    def _commit(self) -> None:
        assert self._writer is not None
        self._guard(self._writer.commit)

    def _guard(self, action: Callable[[], None]) -> None:
        """Runs an action on the bag; its failure ends the node after this callback."""
        if self.failure is not None:
            return
        try:
            action()
        except RobofumeError as error:
            self.failure = error
            self._diagnostics.report(ERROR, str(error))

    def _state(self) -> dict[str, Any]:
        assert self._writer is not None
        heard = " ".join(f"{topic}={item.get_publisher_count()}" for topic, item in self._recorded.items())
        return {**self._counters, "publishers": heard, "bytes": self._writer.bytes, "bag": self._writer.path}

    def close(self) -> None:
        """Ends the bag with its summary, once what has arrived is in it: the last episode may have ended just now."""
        if self._writer is not None:
            self._take_the_rest()
            self._writer.close()

    def _take_the_rest(self) -> None:
        """Record what has arrived and was not looked at yet; a recorder on a busy machine may be behind."""
        began = taken = time.monotonic()
        while self.failure is None and time.monotonic() < min(taken + QUIET, began + REST):
            for subscription in self._recorded.values():
                kind, raw = subscription.msg_type, subscription.raw
                with subscription.handle:
                    while (item := subscription.handle.take_message(kind, raw)) is not None:
                        subscription.callback(item[0])
                        taken = time.monotonic()
            time.sleep(0.02)


def main() -> None:
    """Entry point."""
    sys.exit(run(Recorder))


if __name__ == "__main__":
    main()
