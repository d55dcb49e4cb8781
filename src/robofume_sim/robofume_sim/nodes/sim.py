"""The sim node: shows the graph what a real robot shows, and its own truth beside it.

In lockstep the world moves only when the trajectory comes that answers its last image, so a run is as fast as the
machine allows and its course does not depend on it. Without, it moves by the wall clock like a real robot.
"""

from __future__ import annotations

import array
import sys
import time

from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from robofume_common.conversion import array_to_image, to_nanoseconds, to_time
from robofume_common.diagnostics import OK, WARN, Diagnostics
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare
from robofume_robot.kinematics import JOINT_NAMES
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from robofume_common import qos
from robofume_interfaces.msg import GroundTruth
from robofume_interfaces.srv import ResetScene
from robofume_sim.nodes.ground_truth import truth_message
from robofume_sim.sim_config import SimConfig, make_world
from robofume_sim.world import SERVO_PERIOD


class SimNode(GraphNode):
    """Thin shell over `World`."""

    def __init__(self) -> None:
        super().__init__("sim")
        self._config = config = declare(self, SimConfig)
        self._world = make_world(config)
        self._counters = {"images": 0, "repeated": 0, "refused_trajectories": 0, "scene_resets": 0, "objects_lost": 0}
        self._diagnostics = Diagnostics(self, self._counters)
        self._clock_publisher = self.create_publisher(Clock, "/clock", qos.CLOCK)
        self._joint_states = self.create_publisher(JointState, "joint_states", qos.STATE)
        self._truth = self.create_publisher(GroundTruth, "ground_truth", qos.GROUND_TRUTH)
        self._images = self.create_publisher(Image, "camera/image_raw", qos.IMAGE)
        self._views = {
            camera: self.create_publisher(Image, f"{camera}/image_raw", qos.IMAGE) for camera in config.further_cameras
        }
        self.create_subscription(JointTrajectory, "arm_controller/joint_trajectory", self._on_trajectory, qos.COMMAND)
        self.create_service(ResetScene, "scene/reset", self._on_reset)
        steady = RosClock(clock_type=ClockType.STEADY_TIME)
        self._shown = time.monotonic()
        self._moved = time.monotonic()
        self._joint_state, self._image = JointState(), Image()
        self._view_images: dict[str, Image] = {}
        self._ground_truth: list[GroundTruth] = []
        self._show()
        if config.lockstep:
            self.create_timer(config.repeat_after / 4.0, self._repeat, clock=steady)
        else:
            self.create_timer(SERVO_PERIOD / config.speed, self._move, clock=steady)

    # What it is told

    def _on_trajectory(self, message: JointTrajectory) -> None:
        stamp = to_nanoseconds(message.header.stamp)
        if self._config.lockstep and stamp not in (0, self._world.stamp):
            return  # answers an image that has been answered, or one of a simulation that is gone
        try:
            positions, times = _points(message)
            if self._config.lockstep and stamp == self._world.stamp:
                self._world.play(positions, times)
                self._show()
            else:
                self._world.follow(positions, times)
        except RobofumeError as error:
            self._counters["refused_trajectories"] += 1
            self.get_logger().warning(f"A trajectory was refused. {error}", throttle_duration_sec=5.0)
            self._diagnostics.report(WARN, "trajectories are refused")

    def _on_reset(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        if request.direction not in (Direction.FORWARD, Direction.BACKWARD):
            response.success, response.message = False, f"there is no direction {request.direction}: use 1 or 2"
            return response
        direction = Direction(request.direction)
        try:
            self._world.reset(direction, request.seed or None, task=request.task)
        except RobofumeError as error:
            response.success, response.message = False, str(error)
            return response
        self._counters["scene_resets"] += 1
        self._moved = time.monotonic()
        self._show()
        response.success, response.message = True, f"the scene is where {direction.name.lower()} starts"
        response.stamp = to_time(self._world.stamp)
        return response

    # What it shows

    def _show(self) -> None:
        """Joint states, image and ground truth of now, each as soon as it is there.

        What the loop waits for comes first: the arm works on the joint states while the picture is drawn, and the
        truth, which only a judge or a demonstrator reads, follows the picture.
        """
        self._joint_state = self._joint_state_now()
        self._joint_states.publish(self._joint_state)
        self._image = array_to_image(self._world.render(), to_time(self._world.stamp), "camera")
        self._images.publish(self._image)
        self._view_images = {
            camera: array_to_image(self._world.render(camera), self._image.header.stamp, camera)
            for camera in self._views
        }
        self._publish_views()
        self._ground_truth = self._ground_truth_now()
        self._publish_truth()
        self._clock_publisher.publish(Clock(clock=self._image.header.stamp))
        self._shown = time.monotonic()
        self._counters["images"] += 1
        lost = self._world.lost_objects()
        if lost:
            self._counters["objects_lost"] += 1
            self._diagnostics.report(WARN, f"lost: {', '.join(lost)}")
        elif self._counters["refused_trajectories"] == 0:
            self._diagnostics.report(OK, "running")

    def _joint_state_now(self) -> JointState:
        message = JointState(name=list(JOINT_NAMES))
        message.header.stamp = to_time(self._world.stamp)
        message.position = array.array("d", self._world.joint_positions.tobytes())
        message.velocity = array.array("d", self._world.joint_velocities.tobytes())
        return message

    def _publish_views(self) -> None:
        for camera, image in self._view_images.items():
            self._views[camera].publish(image)

    def _publish_truth(self) -> None:
        for truth in self._ground_truth:
            self._truth.publish(truth)

    def _ground_truth_now(self) -> list[GroundTruth]:
        """One for each task of the scene."""
        state, stamp = self._world.scene_state(), to_time(self._world.stamp)
        task = self._world.task
        return [
            truth_message(stamp, pair.name, task.pair(pair.name).truth(state), state.objects)
            for pair in task.description.pairs
        ]

    # Time

    def _repeat(self) -> None:
        """Lockstep: show again what nobody answered; the answer or the image was lost, or nobody is there yet."""
        if time.monotonic() - self._shown >= self._config.repeat_after:
            self._counters["repeated"] += 1
            self._shown = time.monotonic()
            self._joint_states.publish(self._joint_state)
            self._images.publish(self._image)
            self._publish_views()
            self._publish_truth()

    def _move(self) -> None:
        """Without lockstep: catch up with the wall clock, at most one image at a time."""
        period = self._config.control_period
        behind = (time.monotonic() - self._moved) * self._config.speed
        if behind > 2.0 * period:  # too slow a machine: let simulated time fall behind rather than pile up work
            self._moved = time.monotonic() - period / self._config.speed
            behind = period
        image_due = to_nanoseconds(self._image.header.stamp) * 1e-9 + period
        span = min(behind, image_due - self._world.stamp * 1e-9)
        ticks = int(span / SERVO_PERIOD + 1e-6)
        if ticks == 0:
            return
        self._moved += ticks * SERVO_PERIOD / self._config.speed
        self._world.advance(ticks * SERVO_PERIOD)
        if self._world.stamp * 1e-9 > image_due - 0.5 * SERVO_PERIOD:
            self._show()
        else:
            self._clock_publisher.publish(Clock(clock=to_time(self._world.stamp)))
            self._joint_states.publish(self._joint_state_now())

    def close(self) -> None:
        """Free the renderer."""
        self._world.close()


def _points(message: JointTrajectory) -> tuple[list[list[float]], list[float]]:
    """Positions (N, 8) in the order of JOINT_NAMES, and times [s]. RobofumeError where joints are missing."""
    names = list(message.joint_names)
    missing = [name for name in JOINT_NAMES if name not in names]
    if missing:
        raise RobofumeError(f"It lacks the joints {', '.join(missing)}.")
    order = [names.index(name) for name in JOINT_NAMES]
    positions, times = [], []
    for point in message.points:
        if len(point.positions) != len(names):
            raise RobofumeError(f"A point has {len(point.positions)} positions for {len(names)} joints.")
        positions.append([point.positions[i] for i in order])
        times.append(point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec)
    return positions, times


def main() -> None:
    """Entry point."""
    sys.exit(run(SimNode))


if __name__ == "__main__":
    main()
