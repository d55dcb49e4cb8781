"""The demonstrator node: answers every observation with what the script would do, as an override of the policy."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from robofume_common.conversion import floats, to_nanoseconds, to_time
from robofume_common.enums import Actor, ArmMode, Direction, Phase
from robofume_common.errors import MalformedMessage
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare, setting
from robofume_robot.kinematics import JOINT_NAMES, proprioception
from sensor_msgs.msg import JointState

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, GroundTruth, Task
from robofume_sim.demonstrator import Demonstrator, DemonstratorConfig
from robofume_sim.tasks import make_task
from robofume_sim.tasks.base import ObjectState, SceneState


@dataclass(frozen=True)
class DemonstratorNodeConfig(DemonstratorConfig):
    """Settings of the demonstrator node: whose task, and how imperfect it is."""

    task: str = setting("pot_pick_and_place", "Which simulated task")


class DemonstratorNode(GraphNode):
    """Thin shell over `Demonstrator`: pairs ground truth with joint states by their stamp."""

    def __init__(self) -> None:
        super().__init__("demonstrator")
        config = declare(self, DemonstratorNodeConfig)
        task = make_task(config.task)
        self._scripts = {pair.name: Demonstrator(task.pair(pair.name), config) for pair in task.description.pairs}
        self._objects = task.object_names
        self._task: Task | None = None
        self._joint_state: tuple[int, np.ndarray] | None = None
        self._truth: GroundTruth | None = None
        self._answer: ArmCommand | None = None
        self._overrides = self.create_publisher(ArmCommand, "arm/override", qos.COMMAND)
        self.create_subscription(JointState, "joint_states", self._on_joint_state, qos.SENSOR_INPUT_LOCKSTEP)
        self.create_subscription(GroundTruth, "ground_truth", self._on_truth, qos.GROUND_TRUTH)
        self.create_subscription(Task, "task", self._on_task, qos.LATCHED)

    def _on_task(self, message: Task) -> None:
        """A new episode: begin anew; the newest observation may be its first."""
        if self._task is not None and message.episode_id == self._task.episode_id:
            return
        self._task, self._answer = message, None
        if message.phase != Phase.IDLE and message.task not in self._scripts:
            known = ", ".join(self._scripts)
            self.get_logger().error(f"The task is {message.task}, but the demonstrator knows {known}.")
        if self._demonstrates():
            self._scripts[message.task].begin(Direction(message.direction))
            self._act()

    def _on_joint_state(self, message: JointState) -> None:
        if set(JOINT_NAMES) <= set(message.name):
            if len(message.position) != len(message.name):
                raise MalformedMessage(f"It has {len(message.position)} positions for {len(message.name)} joints.")
            values = dict(zip(message.name, message.position, strict=True))
            stamp = to_nanoseconds(message.header.stamp)
            self._joint_state = stamp, np.array([values[name] for name in JOINT_NAMES])
            self._act()

    def _on_truth(self, message: GroundTruth) -> None:
        missing = set(self._objects) - set(message.object_names)
        if missing or len(message.object_names) != len(message.object_poses):
            wanted = ", ".join(self._objects)
            raise MalformedMessage(f"It has {len(message.object_poses)} poses and not one for each of {wanted}.")
        self._truth = message
        self._act()

    def _demonstrates(self) -> bool:
        task = self._task
        return (
            task is not None
            and task.task in self._scripts
            and task.phase in (Phase.FORWARD, Phase.BACKWARD, Phase.EVALUATION)
            and task.direction in (Direction.FORWARD, Direction.BACKWARD)
        )

    def _act(self) -> None:
        """Answer an observation once its joint states and its truth are there; a repeated one with the same answer."""
        if self._truth is None or self._joint_state is None or not self._demonstrates():
            return
        assert self._task is not None
        stamp = to_nanoseconds(self._truth.stamp)
        if self._joint_state[0] != stamp or stamp < to_nanoseconds(self._task.stamp):
            return
        if self._answer is None or to_nanoseconds(self._answer.header.stamp) != stamp:
            action = self._scripts[self._task.task].act(_scene_state(self._truth, self._joint_state[1]))
            self._answer = ArmCommand(mode=int(ArmMode.DELTA), action=floats(action), actor=int(Actor.SCRIPT))
            self._answer.header.stamp = to_time(stamp)
        self._overrides.publish(self._answer)


def _scene_state(truth: GroundTruth, joint_positions: np.ndarray) -> SceneState:
    """What the script reads: gripper from the joints, objects from the truth."""
    arm = proprioception(joint_positions)
    objects = {}
    for name, pose in zip(truth.object_names, truth.object_poses, strict=True):
        p, q = pose.position, pose.orientation
        objects[name] = ObjectState(
            position=np.array([p.x, p.y, p.z]),
            quaternion=np.array([q.w, q.x, q.y, q.z]),
            velocity=np.zeros(3),
            touched=False,
        )
    return SceneState(gripper_position=arm[:3], objects=objects)


def main() -> None:
    """Entry point."""
    sys.exit(run(DemonstratorNode))


if __name__ == "__main__":
    main()
