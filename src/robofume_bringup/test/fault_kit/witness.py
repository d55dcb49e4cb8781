"""Listens to a graph under fire and keeps what the promises are measured by."""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from robofume_common.conversion import to_nanoseconds
from robofume_common.enums import ArmState
from robofume_robot.envelope import Limits
from robofume_robot.kinematics import forward_kinematics, within_joint_limits
from trajectory_msgs.msg import JointTrajectory

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, ArmStatus, Episode, LearnerStatus, PolicyWeights, Reward, Step

BOX_TOLERANCE = 1e-3
"""m. How far outside the box a target may be by rounding."""


@dataclass
class Heard:
    """One episode as it was published."""

    actions: dict[int, bytes] = field(default_factory=dict)
    pictures: dict[int, int] = field(default_factory=dict)
    verdicts: dict[int, int] = field(default_factory=dict)
    begin: float = 0.0
    last: float = 0.0
    end: Any = None
    ended: float = 0.0
    restarted: bool = False
    """Step 0 came twice: the policy began it again."""

    @property
    def whole(self) -> bool:
        """Whether all its steps and its end were heard."""
        return self.end is not None and all(index in self.pictures for index in range(self.end.num_steps + 1))


class Witness:
    """Subscribes to the graph of `domain`, in a thread of its own, over as many starts of it as there are."""

    def __init__(self, domain: int, limits: Limits) -> None:
        self.limits = limits
        self.episodes: dict[str, Heard] = {}
        self.violations: list[str] = []
        self.steps = 0
        self.targets = 0
        self.last_command = 0.0
        self.holds: list[float] = []
        """Monotonic times at which the arm held by itself."""
        self.arm_state = ArmState.REFUSING
        self.arm_states: list[tuple[float, ArmState]] = []
        """Each that it took, with the monotonic time at which it was heard."""
        self.learner: LearnerStatus | None = None
        self._weights: dict[int, str] = {}
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = rclpy.create_node("witness", context=self._context)
        for kind, topic, callback, profile in (
            (Step, "step", self._on_step, qos.STEP),
            (Reward, "reward", self._on_reward, qos.REWARD),
            (Episode, "episode", self._on_episode, qos.EPISODE),
            (JointTrajectory, "arm_controller/joint_trajectory", self._on_trajectory, qos.COMMAND),
            (ArmCommand, "arm/command", self._on_command, qos.COMMAND),
            (ArmStatus, "arm/status", self._on_arm_status, qos.LATCHED),
            (LearnerStatus, "learner/status", self._on_learner_status, qos.STATUS),
            (PolicyWeights, "policy/weights", self._on_weights, qos.LATCHED),
        ):
            self._node.create_subscription(kind, topic, callback, profile)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="witness", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._executor.shutdown()
        self._thread.join(timeout=5.0)
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _on_step(self, message: Step) -> None:
        heard = self.episodes.setdefault(message.episode_id, Heard())
        now = time.monotonic()
        action, picture = np.asarray(message.action, np.float32).tobytes(), zlib.crc32(bytes(message.image.data))
        if message.index == 0 and 0 in heard.pictures and (heard.pictures[0], heard.actions[0]) != (picture, action):
            heard.restarted = True  # a policy that was killed begins its episode again
            heard.actions.clear()
            heard.pictures.clear()
        heard.begin = heard.begin or now
        heard.last = now
        before = heard.actions.get(message.index)
        if before is not None and before != action and not heard.restarted:
            self.violations.append(f"step {message.index} of {message.episode_id} was published with two actions")
        if message.index not in heard.pictures:
            self.steps += 1
        heard.actions[message.index], heard.pictures[message.index] = action, picture

    def _on_reward(self, message: Reward) -> None:
        self.episodes.setdefault(message.episode_id, Heard()).verdicts[int(message.index)] = int(message.verdict)

    def _on_episode(self, message: Episode) -> None:
        heard = self.episodes.setdefault(message.episode_id, Heard())
        if heard.end is not None and (heard.end.outcome, heard.end.num_steps) != (message.outcome, message.num_steps):
            self.violations.append(f"episode {message.episode_id} was closed twice, and differently")
        heard.end, heard.ended = message, time.monotonic()

    def _on_trajectory(self, message: JointTrajectory) -> None:
        if to_nanoseconds(message.header.stamp) == 0:
            self.holds.append(time.monotonic())
        for point in message.points:
            self.targets += 1
            joints = np.asarray(point.positions[:6])
            if not np.isfinite(point.positions).all() or not within_joint_limits(joints, 1e-6):
                self.violations.append(f"a joint target outside the joint limits: {joints.tolist()}")
                continue
            position = forward_kinematics(joints)[:3, 3]
            if self.limits.excess(position) > BOX_TOLERANCE:
                self.violations.append(f"a joint target outside the box: {position.round(4).tolist()}")

    def _on_command(self, _message: ArmCommand) -> None:
        self.last_command = time.monotonic()

    def _on_arm_status(self, message: ArmStatus) -> None:
        if ArmState(message.state) is not self.arm_state:
            self.arm_state = ArmState(message.state)
            self.arm_states.append((time.monotonic(), self.arm_state))

    def _on_learner_status(self, message: LearnerStatus) -> None:
        if message.state == LearnerStatus.STATE_LOADING:
            return
        if message.updates > message.target_updates:
            self.violations.append(f"the learner is ahead: {message.updates} of {message.target_updates} updates")
        self.learner = message

    def _on_weights(self, message: PolicyWeights) -> None:
        digest = hashlib.sha256(bytes(message.data)).hexdigest()
        if self._weights.setdefault(int(message.version), digest) != digest:
            self.violations.append(f"policy version {message.version} names two different weights")
