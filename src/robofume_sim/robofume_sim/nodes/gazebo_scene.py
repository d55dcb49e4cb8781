"""The Gazebo scene node: serves `scene/reset` and publishes `ground_truth` through gazebo_msgs services."""

from __future__ import annotations

import importlib
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from robofume_common.diagnostics import ERROR, OK, Diagnostics
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_common.node import run
from robofume_common.parameters import declare
from robofume_robot.kinematics import JOINT_NAMES
from sensor_msgs.msg import Image, JointState

from robofume_common import qos
from robofume_interfaces.msg import GroundTruth
from robofume_interfaces.srv import ResetScene
from robofume_sim.gazebo import Flow, GazeboScene, GazeboSceneConfig


def gazebo_types() -> Any:
    """The module gazebo_msgs.srv. Raises RobofumeError where it is not installed."""
    try:
        return importlib.import_module("gazebo_msgs.srv")
    except ImportError as error:
        raise RobofumeError(
            "The Gazebo scene needs gazebo_msgs, which comes with a ROS 2 installation and not from PyPI: "
            "`sudo apt-get install ros-humble-gazebo-ros-pkgs`, or use the robot image of docker/."
        ) from error


class GazeboSceneNode(Node):
    """Thin shell over `GazeboScene`: one flow at a time, a deadline on every call."""

    def __init__(self) -> None:
        super().__init__("gazebo_scene")
        self._config = declare(self, GazeboSceneConfig)
        types = gazebo_types()
        self._scene = GazeboScene(self._config, types)
        self._counters = {"truths": 0, "scene_resets": 0, "unanswered": 0}
        self._diagnostics = Diagnostics(self, self._counters)
        self._service_clients = {
            name: self.create_client(getattr(types, kind), name) for name, kind in self._scene.services().items()
        }
        self._waiting: deque[tuple[Flow, Callable[[Any], None]]] = deque()
        self._flow: tuple[Flow, Callable[[Any], None]] | None = None
        self._answer_due = 0.0
        self._ticket = 0
        self._truth = self.create_publisher(GroundTruth, "ground_truth", qos.GROUND_TRUTH)
        self.create_subscription(Image, "observation/image", self._on_image, qos.IMAGE)
        self.create_subscription(JointState, "joint_states", self._on_joint_states, qos.sensor_input(False))
        self.create_service(ResetScene, "scene/reset", self._on_reset)
        self.create_timer(0.1, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        if self._config.start_direction != Direction.FORWARD:
            self._begin(self._scene.reset(Direction(self._config.start_direction), 0), self._warn)

    # Flows

    def _begin(self, flow: Flow, done: Callable[[Any], None]) -> None:
        self._waiting.append((flow, done))
        if self._flow is None:
            self._next_flow()

    def _next_flow(self) -> None:
        self._flow = self._waiting.popleft() if self._waiting else None
        if self._flow is not None:
            self._advance(None)

    def _advance(self, response: Any) -> None:
        assert self._flow is not None
        flow, done = self._flow
        try:
            call = flow.send(response)
        except StopIteration as end:
            done(end.value)
            self._next_flow()
            return
        self._ticket += 1
        ticket = self._ticket
        self._answer_due = time.monotonic() + self._config.service_deadline
        future = self._service_clients[call.service].call_async(call.request)
        future.add_done_callback(lambda answer: self._on_answer(ticket, answer.result()))

    def _on_answer(self, ticket: int, response: Any) -> None:
        if self._flow is not None and ticket == self._ticket:
            self._advance(response)

    def _on_tick(self) -> None:
        if self._flow is not None and time.monotonic() > self._answer_due:
            self._counters["unanswered"] += 1
            self._ticket += 1  # an answer that still comes is too late
            self._advance(None)

    # Truth and reset

    def _on_joint_states(self, message: JointState) -> None:
        names = list(message.name)
        if all(name in names for name in JOINT_NAMES) and len(message.position) == len(names):
            order = [names.index(name) for name in JOINT_NAMES]
            self._scene.joint_positions(np.frombuffer(message.position, dtype=np.float64)[order])

    def _on_image(self, message: Image) -> None:
        if len(self._waiting) < 3:  # Gazebo is slow or gone: a picture without truth is judged unknown
            self._begin(self._scene.look(), lambda objects: self._show(message.header.stamp, objects))

    def _show(self, stamp: Time, objects: Any) -> None:
        if isinstance(objects, str):
            self._warn(objects)
            return
        truth = self._scene.truth(objects)
        if truth is None:
            return
        message = GroundTruth(stamp=stamp, task=self._config.task)
        message.forward_success, message.backward_success = truth.forward_success, truth.backward_success
        message.forward_score, message.backward_score = truth.forward_score, truth.backward_score
        for name, thing in objects.items():
            pose = Pose()
            pose.position.x, pose.position.y, pose.position.z = thing.position.tolist()
            w, x, y, z = thing.quaternion.tolist()
            pose.orientation.w, pose.orientation.x, pose.orientation.y, pose.orientation.z = w, x, y, z
            message.object_names.append(name)
            message.object_poses.append(pose)
        self._truth.publish(message)
        self._counters["truths"] += 1
        self._diagnostics.report(OK, "running")

    async def _on_reset(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        if request.direction not in (Direction.FORWARD, Direction.BACKWARD):
            response.success, response.message = False, f"there is no direction {request.direction}: use 1 or 2"
            return response
        direction = Direction(request.direction)
        done: Future = Future()
        self._begin(self._scene.reset(direction, request.seed), done.set_result)
        wrong = await done
        self._counters["scene_resets"] += 1
        response.success = not wrong
        response.message = wrong or f"the scene is where {direction.name.lower()} starts"
        response.stamp = self.get_clock().now().to_msg()
        return response

    def _warn(self, sentence: str) -> None:
        if sentence:
            self._diagnostics.report(ERROR, sentence)
            self.get_logger().error(sentence, throttle_duration_sec=5.0)


def main() -> None:
    """Entry point."""
    sys.exit(run(GazeboSceneNode))


if __name__ == "__main__":
    main()
