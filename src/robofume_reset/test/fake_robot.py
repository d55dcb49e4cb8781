"""A tiny lockstep world in one process, in place of simulation, camera, arm, demonstrator and reward node.

A point on a line: forward succeeds right of 0.12 m, backward left of -0.12 m; homing does not move what was achieved.
As the contract asks, it advances by one period for the command that answers its newest observation, and repeats an
observation that nobody answers. `fail_every` makes the demonstrator do nothing in every so manieth episode, and
`unclear_every` the judge leave the last step of every so manieth unknown. With a
`rate` [Hz] it lives in real time instead: it observes by the wall clock and follows commands at once.
The first verdict waits until `reward_listeners` nodes have found `reward`, since what they miss is not said again.
"""

import sys
import time

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from robofume_common.conversion import array_to_image, to_nanoseconds, to_time
from robofume_common.enums import Actor, ArmMode, ArmState, Direction, Phase, RewardSource, Verdict
from robofume_common.node import run
from sensor_msgs.msg import Image, JointState

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, ArmStatus, Reward, Step, Task
from robofume_interfaces.srv import ResetScene

PERIOD = 100_000_000
REACH = 0.12
SIZE = 64


class FakeRobot(Node):
    def __init__(self) -> None:
        super().__init__("fake_robot")
        parameters = {
            "rate": 0.0, "fail_every": 0, "unclear_every": 0, "silent_after": 0, "verdicts": True, "demonstrate": True,
            "reward_listeners": 0, "grips": False,
        }  # fmt: skip
        for name, default in parameters.items():
            setattr(self, name, self.declare_parameter(name, default).value)
        self.stamp, self.position, self.steps, self.episodes = PERIOD, 0.0, 0, 0
        self.published = 0.0
        self.home_command = self.homing = 0
        self.task = Task()
        self.image = self.create_publisher(Image, "observation/image", qos.IMAGE)
        self.proprioception = self.create_publisher(JointState, "observation/proprioception", qos.STATE)
        self.status = self.create_publisher(ArmStatus, "arm/status", qos.LATCHED)
        self.override = self.create_publisher(ArmCommand, "arm/override", qos.COMMAND)
        self.reward = self.create_publisher(Reward, "reward", qos.REWARD)
        self.create_subscription(ArmCommand, "arm/command", self.on_command, qos.COMMAND)
        self.create_subscription(Task, "task", self.on_task, qos.LATCHED)
        self.create_subscription(Step, "step", self.on_step, qos.STEP)
        self.create_service(ResetScene, "scene/reset", self.on_reset)
        self.publish_status()
        if self.rate:
            self.create_timer(1.0 / self.rate, self.live)
        else:
            self.create_timer(0.1, self.repeat, clock=Clock(clock_type=ClockType.STEADY_TIME))
            self.observe()

    def live(self) -> None:
        self.stamp = self.get_clock().now().nanoseconds
        if self.homing:  # it takes one period
            self.home_command, self.homing = self.homing, 0
            self.publish_status()
        self.observe()

    def observe(self) -> None:
        if 0 < self.silent_after <= self.steps:
            return
        self.published = time.monotonic()
        opening = 0.0 if self.grips else 1.0
        state = JointState(position=[self.position, 0.0, 0.2, 0.0, 0.0, 0.0, opening])
        state.header.stamp = to_time(self.stamp)
        self.proprioception.publish(state)
        shade = int(127 + 500 * np.clip(self.position, -0.2, 0.2))
        self.image.publish(array_to_image(np.full((SIZE, SIZE, 3), shade, np.uint8), to_time(self.stamp)))
        if self.demonstrate and self.task.phase not in (Phase.IDLE, Phase.INTERVENTION):  # as the demonstrator
            idle = self.fail_every and self.episodes % self.fail_every == 0
            sign = 0.0 if idle else 1.0 if self.task.direction == Direction.FORWARD else -1.0
            command = ArmCommand(mode=int(ArmMode.DELTA), actor=int(Actor.SCRIPT))
            command.header.stamp = to_time(self.stamp)
            command.action = np.array([0.03 * sign, 0, 0, 0, 0, 0, opening], np.float32)
            self.override.publish(command)

    def repeat(self) -> None:
        if time.monotonic() - self.published > 1.0:
            self.observe()

    def on_task(self, message: Task) -> None:
        if message.phase != Phase.IDLE and message.episode_id != self.task.episode_id:
            self.episodes += 1
        self.task = message

    def on_command(self, message: ArmCommand) -> None:
        if self.rate:
            if message.mode == ArmMode.HOME:
                self.homing = to_nanoseconds(message.header.stamp)
                self.publish_status()
            else:
                self.position = float(np.clip(self.position + message.action[0], -0.2, 0.2))
                self.steps += 1
            return
        if to_nanoseconds(message.header.stamp) != self.stamp:
            return
        if message.mode == ArmMode.HOME:
            self.home_command = self.stamp
            self.stamp += 5 * PERIOD
            self.publish_status()
        else:
            self.position = float(np.clip(self.position + message.action[0], -0.2, 0.2))
            self.stamp += PERIOD
            self.steps += 1
        self.observe()

    def on_step(self, message: Step) -> None:
        if not self.verdicts:
            return
        while self.reward_listeners > 0 and self.reward.get_subscription_count() < self.reward_listeners:
            time.sleep(0.01)  # they are found by threads of the middleware
        self.reward_listeners = 0
        position = message.proprioception[0]
        success = position > REACH if message.direction == Direction.FORWARD else position < -REACH
        unclear = not message.action and self.unclear_every and self.episodes % self.unclear_every == 0
        verdict = Verdict.UNKNOWN if unclear else Verdict.SUCCESS if success else Verdict.FAILURE
        self.reward.publish(
            Reward(
                episode_id=message.episode_id,
                index=message.index,
                probability=float(success),
                verdict=int(verdict),
                source=int(RewardSource.GROUND_TRUTH),
            )
        )

    def on_reset(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        self.position = 0.0
        self.stamp += 0 if self.rate else 10 * PERIOD
        response.success, response.stamp = True, to_time(self.stamp)
        if not self.rate:
            self.observe()
        return response

    def publish_status(self) -> None:
        state = ArmState.HOMING if self.homing else ArmState.HOLDING
        message = ArmStatus(stamp=to_time(self.stamp), state=int(state), message="ready")
        message.home_command = to_time(self.home_command)
        self.status.publish(message)


if __name__ == "__main__":
    sys.exit(run(FakeRobot))
