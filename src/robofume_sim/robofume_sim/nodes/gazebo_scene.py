"""The Gazebo scene node: serves `scene/reset` and publishes `ground_truth` through gazebo_msgs services."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robofume_common.diagnostics import ERROR, OK, Diagnostics
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare
from robofume_robot.kinematics import JOINT_NAMES
from sensor_msgs.msg import Image, JointState

from robofume_common import qos
from robofume_interfaces.msg import GroundTruth
from robofume_interfaces.srv import ResetScene
from robofume_sim.gazebo import Call, Flow, GazeboScene, GazeboSceneConfig
from robofume_sim.nodes.ground_truth import truth_message


def gazebo_types() -> Any:
    """The module gazebo_msgs.srv. Raises RobofumeError where it is not installed."""
    try:
        return importlib.import_module("gazebo_msgs.srv")
    except ImportError as error:
        raise RobofumeError(
            "The Gazebo scene needs gazebo_msgs, which comes with a ROS 2 installation and not from PyPI: "
            "`sudo apt-get install ros-humble-gazebo-ros-pkgs`, or use the robot image of docker/."
        ) from error


class GazeboServices:
    """Calls services and waits, each with a deadline, from inside a callback: the clients have a node of their own.

    (The events executor knows no coroutines, and a service that waits for another one must wait somewhere.)
    """

    def __init__(self, node: Node, types: Any, services: dict[str, str], deadline: float) -> None:
        self._node = Node("gazebo_scene_client", namespace=node.get_namespace(), use_global_arguments=False,
                          enable_rosout=False, start_parameter_services=False)  # fmt: skip
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._deadline = deadline
        self._service_clients = {
            name: self._node.create_client(getattr(types, kind), name) for name, kind in services.items()
        }
        self.unanswered = 0

    def run(self, flow: Flow) -> Any:
        """Drive a flow to its end; its result."""
        response = None
        while True:
            try:
                call = flow.send(response)
            except StopIteration as end:
                return end.value
            response = self._answer(call)

    def _answer(self, call: Call) -> Any:
        client = self._service_clients[call.service]
        if not client.service_is_ready() and not client.wait_for_service(timeout_sec=self._deadline):
            self.unanswered += 1
            return None
        future = client.call_async(call.request)
        self._executor.spin_until_future_complete(future, timeout_sec=self._deadline)
        if not future.done():
            client.remove_pending_request(future)
            self.unanswered += 1
            return None
        return future.result()

    def close(self) -> None:
        """Let go of the node."""
        self._executor.shutdown()
        self._node.destroy_node()


class GazeboSceneNode(GraphNode):
    """Thin shell over `GazeboScene`."""

    def __init__(self) -> None:
        super().__init__("gazebo_scene")
        self._config = declare(self, GazeboSceneConfig)
        types = gazebo_types()
        self._scene = GazeboScene(self._config, types)
        self._gazebo = GazeboServices(self, types, self._scene.services(), self._config.service_deadline)
        self._counters = {"truths": 0, "scene_resets": 0}
        self._diagnostics = Diagnostics(self, lambda: {**self._counters, "unanswered": self._gazebo.unanswered})
        self._started = self._config.start_direction == Direction.FORWARD
        self._truth = self.create_publisher(GroundTruth, "ground_truth", qos.GROUND_TRUTH)
        # Only the newest picture: while Gazebo is slow the others are judged unknown.
        self.create_subscription(Image, "observation/image", self._on_image, 1)
        self.create_subscription(JointState, "joint_states", self._on_joint_states, qos.sensor_input(False))
        self.create_service(ResetScene, "scene/reset", self._on_reset)

    # Truth and reset

    def _on_joint_states(self, message: JointState) -> None:
        names = list(message.name)
        if all(name in names for name in JOINT_NAMES) and len(message.position) == len(names):
            order = [names.index(name) for name in JOINT_NAMES]
            self._scene.joint_positions(np.frombuffer(message.position, dtype=np.float64)[order])

    def _on_image(self, message: Image) -> None:
        if not self._started:  # a new scene stands where forward starts, and the loop goes on with backward
            wrong = self._gazebo.run(self._scene.reset(Direction(self._config.start_direction), 0))
            self._started = not wrong
            self._warn(wrong)
            return
        self._show(message.header.stamp, self._gazebo.run(self._scene.look()))

    def _show(self, stamp: Time, objects: Any) -> None:
        if isinstance(objects, str):
            self._warn(objects)
            return
        truth = self._scene.truth(objects)
        if truth is None:
            return
        self._truth.publish(truth_message(stamp, self._config.task, truth, objects))
        self._counters["truths"] += 1
        self._diagnostics.report(OK, "running")

    def _on_reset(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        if request.direction not in (Direction.FORWARD, Direction.BACKWARD):
            response.success, response.message = False, f"there is no direction {request.direction}: use 1 or 2"
            return response
        direction = Direction(request.direction)
        wrong = self._gazebo.run(self._scene.reset(direction, request.seed))
        self._started = True
        self._counters["scene_resets"] += 1
        response.success = not wrong
        response.message = wrong or f"the scene is where {direction.name.lower()} starts"
        response.stamp = self.get_clock().now().to_msg()
        return response

    def _warn(self, sentence: str) -> None:
        if sentence:
            self._diagnostics.report(ERROR, sentence)
            self.get_logger().error(sentence, throttle_duration_sec=5.0)

    def close(self) -> None:
        """Let go of Gazebo."""
        self._gazebo.close()


def main() -> None:
    """Entry point."""
    sys.exit(run(GazeboSceneNode))


if __name__ == "__main__":
    main()
