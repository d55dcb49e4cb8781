"""Listens to the graph, to find out who is silent."""

import time

from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from robofume_common import qos
from robofume_reset.silence import PROBE_TIME, PROBED, Findings, silence_sentence


class Probe:
    """Listens for a while to who still says something."""

    def __init__(self, node: Node, seconds: float) -> None:
        self._node = node
        self._seconds = seconds
        self.ends = time.monotonic() + PROBE_TIME
        self._heard = dict.fromkeys(PROBED, 0)
        self._subscriptions = [
            node.create_subscription(kind, topic, lambda _message, topic=topic: self._hear(topic), profile)
            for topic, kind, profile in zip(PROBED, (Image, JointState), (qos.IMAGE, qos.STATE), strict=True)
        ]

    def _hear(self, topic: str) -> None:
        self._heard[topic] += 1

    def finish(self, arm_refuses: str) -> str:
        """Stop listening; the sentence."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        topics = ("step", "camera/image_raw", "joint_states", *PROBED)
        publishers = {topic: self._node.count_publishers(topic) for topic in topics}
        return silence_sentence(Findings(self._seconds + PROBE_TIME, publishers, self._heard, arm_refuses))
