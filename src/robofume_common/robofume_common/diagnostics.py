"""Publishes what a node counts, once a second, as diagnostic_msgs."""

from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from robofume_common import qos

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR


class Diagnostics:
    """Publishes the node's counters on `diagnostics` at `rate` Hz of wall time.

    counters: a mapping that the node changes, or a function that returns one.
    Set `report(level, message)` when something is wrong or right again.
    """

    def __init__(
        self,
        node: Node,
        counters: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        rate: float = 1.0,
        hardware_id: str = "",
    ) -> None:
        self._node = node
        self._counters = counters if callable(counters) else lambda: counters
        self._status = DiagnosticStatus(
            level=OK,
            name=node.get_fully_qualified_name().lstrip("/"),
            message="running",
            hardware_id=hardware_id,
        )
        self._publisher = node.create_publisher(DiagnosticArray, "diagnostics", qos.DIAGNOSTICS)
        # Wall time: with simulated time a stopped simulation would silence the one who could tell.
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0 / rate, self.publish, clock=self._clock)

    def report(self, level: bytes, message: str) -> None:
        """Changes the state that the next publication shows; a change is published at once."""
        if (level, message) != (self._status.level, self._status.message):
            self._status.level, self._status.message = level, message
            self.publish()

    def publish(self) -> None:
        """Publishes now."""
        self._status.values = [KeyValue(key=str(key), value=str(value)) for key, value in self._counters().items()]
        message = DiagnosticArray(status=[self._status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
