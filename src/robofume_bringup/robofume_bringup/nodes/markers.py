"""The markers node: workspace box, trail, instruction, phase, reward and success rate for rviz, on `markers`."""

from __future__ import annotations

import sys
import time
from collections import deque

from geometry_msgs.msg import Point
from rclpy.clock import Clock, ClockType
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare
from sensor_msgs.msg import JointState
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from robofume_bringup.marker_config import MarkerConfig, Scoreboard
from robofume_common import qos
from robofume_interfaces.msg import Episode, Reward, Task

_COLOURS = {
    Verdict.UNKNOWN: (0.8, 0.8, 0.8),
    Verdict.SUCCESS: (0.2, 0.9, 0.3),
    Verdict.FAILURE: (0.95, 0.5, 0.2),
}
_EDGES = (
    (0, 1), (1, 3), (3, 2), (2, 0), (4, 5), (5, 7), (7, 6), (6, 4), (0, 4), (1, 5), (2, 6), (3, 7),
)  # fmt: skip
"""Corners of a box, numbered by the bits of x, y and z, that an edge joins."""


class MarkersNode(GraphNode):
    """Thin shell over `Scoreboard`."""

    def __init__(self) -> None:
        super().__init__("markers")
        self._config = declare(self, MarkerConfig)
        self._board = Scoreboard(self._config.window)
        self._trail: deque[Point] = deque(maxlen=self._config.trail_length)
        self._publisher = self.create_publisher(MarkerArray, "markers", qos.STATE)
        self.create_subscription(Task, "task", self._on_task, qos.LATCHED)
        self.create_subscription(Reward, "reward", self._on_reward, qos.REWARD)
        self.create_subscription(Episode, "episode", self._on_episode, qos.EPISODE)
        self.create_subscription(JointState, "observation/proprioception", self._on_state, qos.STATE)
        self.create_timer(1.0 / self._config.rate, self._show, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_task(self, message: Task) -> None:
        self._board.instruction, self._board.phase = message.instruction, Phase(message.phase)

    def _on_reward(self, message: Reward) -> None:
        self._board.verdict, self._board.probability = Verdict(message.verdict), message.probability
        self._board.judged = time.monotonic()

    def _on_episode(self, message: Episode) -> None:
        self._board.episode(message.episode_id, Direction(message.direction), Outcome(message.outcome))

    def _on_state(self, message: JointState) -> None:
        x, y, z = message.position[:3]
        self._trail.append(Point(x=x, y=y, z=z))

    def _show(self) -> None:
        board, now = self._board, time.monotonic()
        verdict = board.verdict if now - board.judged <= self._config.silence else Verdict.UNKNOWN
        low, high = self._config.workspace_minimum, self._config.workspace_maximum
        markers = [self._trail_marker()]
        if low:
            markers.append(self._box(low, high))
        top = high[2] if high else 0.3
        lines = (
            ("instruction", f"{board.phase.name.lower()}: {board.instruction or '-'}", (1.0, 1.0, 1.0)),
            ("reward", board.reward_text(now, self._config.silence), _COLOURS[verdict]),
            ("success_rate", f"success {board.rate_text()}", (0.9, 0.9, 0.6)),
        )
        for row, (name, text, colour) in enumerate(lines):
            marker = self._marker(name, Marker.TEXT_VIEW_FACING, colour)
            marker.text = text
            marker.scale.z = 0.025
            marker.pose.position.x, marker.pose.position.z = 0.28, top + 0.14 - 0.035 * row
            markers.append(marker)
        self._publisher.publish(MarkerArray(markers=markers))

    def _marker(self, name: str, kind: int, colour: tuple[float, float, float], alpha: float = 1.0) -> Marker:
        marker = Marker(ns=name, type=kind, action=Marker.ADD)
        marker.header.frame_id = self._config.frame  # with stamp 0: at the newest time that the frame is known
        marker.pose.orientation.w = 1.0
        r, g, b = colour
        marker.color = ColorRGBA(r=r, g=g, b=b, a=alpha)
        return marker

    def _box(self, low: tuple[float, ...], high: tuple[float, ...]) -> Marker:
        marker = self._marker("workspace", Marker.LINE_LIST, (0.3, 0.7, 1.0), 0.8)
        marker.scale.x = 0.002
        corners = [
            Point(x=(low, high)[i & 1][0], y=(low, high)[i >> 1 & 1][1], z=(low, high)[i >> 2 & 1][2]) for i in range(8)
        ]
        marker.points = [corners[end] for edge in _EDGES for end in edge]
        return marker

    def _trail_marker(self) -> Marker:
        marker = self._marker("trail", Marker.LINE_STRIP, (1.0, 0.6, 0.1), 0.9)
        marker.scale.x = 0.003
        marker.points = list(self._trail)
        if len(marker.points) < 2:
            marker.action = Marker.DELETE
        return marker


def main() -> None:
    """Entry point."""
    sys.exit(run(MarkersNode))


if __name__ == "__main__":
    main()
