"""Counters reach the diagnostics topic of another participant."""

import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robofume_common.diagnostics import ERROR, OK, Diagnostics

from robofume_common import qos


def test_counters_and_changes_are_published(ros_domain):
    """In a domain of its own: other tests' nodes tell on the same topic."""
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node, listener = Node("teller", context=context), Node("listener", context=context)
    counters = {"steps": 0}
    diagnostics = Diagnostics(node, counters, rate=20.0)
    seen: list[DiagnosticArray] = []
    listener.create_subscription(DiagnosticArray, "diagnostics", seen.append, qos.DIAGNOSTICS)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.add_node(listener)

    def status_where(check):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.1)
            for message in seen:
                if check(message.status[0]):
                    return message.status[0]
        raise AssertionError("it was not published")

    counters["steps"] = 7
    status = status_where(lambda status: status.values[0].value == "7")
    assert (status.name, status.level, status.values[0].key) == ("teller", OK, "steps")
    diagnostics.report(ERROR, "the disk is full")
    assert status_where(lambda status: status.level == ERROR).message == "the disk is full"
    executor.shutdown()
    node.destroy_node()
    listener.destroy_node()
    context.try_shutdown()
