"""What the tests of every package share."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def ros_domain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A ROS domain that no other test and no run on this machine uses, in the environment of what the test starts."""
    # robofume_common is importable in a workspace that is set up; tests of set-up run before
    from robofume_common.domain import claim_domain

    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    domain, lock = claim_domain(request.node.nodeid)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    yield domain
    lock.close()


@pytest.fixture
def bench(ros_domain: int) -> Iterator[tuple[Any, Any]]:
    """A node of the test's own, in a context of its own, and the executor that spins it."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = rclpy.create_node("bench", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, executor
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)
