"""The replay node: a recorded robot's pictures and joint states in, steps and episodes out. It moves nothing."""

from __future__ import annotations

import math
import sys
import time

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from robofume_common.conversion import floats, to_nanoseconds, to_time
from robofume_common.diagnostics import OK, WARN, Diagnostics
from robofume_common.enums import Direction, Outcome, Phase
from robofume_common.errors import RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare
from sensor_msgs.msg import Image, JointState

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, Episode, Reward, Step, Task
from robofume_robot.interbotix_joints import JointReader
from robofume_robot.replay import Event, Replay, ReplayConfig, ReplayStep


class ReplayNode(GraphNode):
    """Thin shell over `Replay`."""

    def __init__(self) -> None:
        super().__init__("replay")
        self._config = declare(self, ReplayConfig)
        if not self._config.task:
            raise RobofumeError("The replay needs the parameter task: the name of what the recording shows.")
        self._replay = Replay(self._config)
        self._reader = JointReader()
        self._announced = ""
        self._tasks = self.create_publisher(Task, "task", qos.LATCHED)
        self._steps = self.create_publisher(Step, "step", qos.STEP)
        self._rewards = self.create_publisher(Reward, "reward", qos.REWARD)
        self._episodes = self.create_publisher(Episode, "episode", qos.EPISODE)
        self._diagnostics = Diagnostics(self, self._replay.counters)
        # A bag is played at its own speed, and no picture of it may be missing.
        self.create_subscription(Image, "observation/image", self._on_image, qos.IMAGE)
        self.create_subscription(JointState, "joint_states", self._on_joint_states, qos.sensor_input(False))
        self.create_subscription(ArmCommand, "arm/command", self._on_command, qos.COMMAND)
        self.create_timer(0.2, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_joint_states(self, message: JointState) -> None:
        positions = self._reader.positions(message.name, message.position)
        if positions is None:
            self.get_logger().error("A joint state lacks joints of the arm: ignored.", throttle_duration_sec=10.0)
            return
        self._replay.joint_state(to_nanoseconds(message.header.stamp), positions)

    def _on_command(self, message: ArmCommand) -> None:
        if message.mode == ArmCommand.MODE_DELTA:
            self._replay.command(to_nanoseconds(message.header.stamp), np.array(message.action))

    def _on_image(self, message: Image) -> None:
        if self._steps.get_subscription_count() < self._config.step_listeners:
            self._diagnostics.report(WARN, "pictures come, and nobody listens to `step` yet: they are lost")
            return
        self._diagnostics.report(OK, "running")
        self._publish(self._replay.picture(to_nanoseconds(message.header.stamp), message, time.monotonic()))

    def _on_tick(self) -> None:
        self._publish(self._replay.tick(time.monotonic()))

    def _publish(self, events: list[Event]) -> None:
        direction = Direction(self._config.direction)
        common = {
            "phase": int(Phase.FORWARD if direction == Direction.FORWARD else Phase.BACKWARD),
            "direction": int(direction),
            "instruction": self._config.instruction,
        }
        for event in events:
            if isinstance(event, ReplayStep):
                stamp = to_time(event.stamp)
                if event.episode_id != self._announced:
                    self._announced = event.episode_id
                    self._tasks.publish(
                        Task(stamp=stamp, task=self._config.task, episode_id=event.episode_id, **common)
                    )
                step = Step(stamp=stamp, episode_id=event.episode_id, index=event.index, image=event.image, **common)
                step.proprioception = floats(event.proprioception)
                step.actor = int(self._replay.actor(event))
                if event.action is not None:
                    step.action = floats(event.action)
                self._steps.publish(step)
                continue
            success = event.outcome == Outcome.SUCCESS
            if event.outcome != Outcome.UNKNOWN:
                # How it ended was said by a person, and the last step is what shows it.
                self._rewards.publish(
                    Reward(
                        stamp=self.get_clock().now().to_msg(),
                        episode_id=event.episode_id,
                        index=event.num_steps,
                        probability=float(success),
                        verdict=Reward.VERDICT_SUCCESS if success else Reward.VERDICT_FAILURE,
                        source=Reward.SOURCE_HUMAN,
                        score=math.nan,
                    )
                )
            self._episodes.publish(
                Episode(
                    stamp=self.get_clock().now().to_msg(),
                    episode_id=event.episode_id,
                    task=self._config.task,
                    num_steps=event.num_steps,
                    outcome=int(event.outcome),
                    success_index=event.num_steps if success else -1,
                    **common,
                )
            )

    def close(self) -> None:
        """End the episode in progress, and let it arrive."""
        self._publish(self._replay.end())
        for publisher in (self._steps, self._rewards, self._episodes):
            publisher.wait_for_all_acked(Duration(seconds=2.0))


def main() -> None:
    """Entry point."""
    sys.exit(run(ReplayNode))


if __name__ == "__main__":
    main()
