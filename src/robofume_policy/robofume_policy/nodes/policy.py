"""The policy node: observations and the task in, commands and steps out. The decisions are in `actor.Actor`."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from robofume_common.action import PHYSICAL_DIMENSION, ActionSpace
from robofume_common.conversion import floats, image_to_array, to_nanoseconds, to_time
from robofume_common.enums import Actor as Who
from robofume_common.enums import ArmMode, ArmState, Direction, Phase
from robofume_common.errors import MalformedMessage, RobofumeError
from robofume_common.node import GraphNode, run, settle
from robofume_common.parameters import declare, setting
from robofume_data.topics import observation_topic, view_topic
from sensor_msgs.msg import Image, JointState

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, ArmStatus, PolicyWeights, Step, StepPermit
from robofume_interfaces.msg import Task as TaskMessage
from robofume_policy.actor import Actor, ActorConfig, Command, Output, StepRecord, Task, stacked


@dataclass(frozen=True)
class PolicyNodeConfig(ActorConfig):
    """Settings of the policy node: those of acting, and where its policy comes from."""

    checkpoint: str = setting("", "folder of checkpoints with the first weights; empty: wait for `policy/weights`")
    image_size: int = setting(64, "height and width of `observation/image`", unit="px", minimum=32, maximum=256)
    action_mask: tuple[bool, ...] = setting(
        (True, True, True, False, False, False, True), "which of dx dy dz droll dpitch dyaw gripper are acted with"
    )
    translation_limit: float = setting(0.05, "largest translation per step", unit="m", minimum=0.001, maximum=0.2)
    rotation_limit: float = setting(0.25, "largest rotation per step", unit="rad", minimum=0.01, maximum=1.0)
    exploration_std: float = setting(
        -1.0, "standard deviation of the noise in practice, normalised; below 0: as the weights say", maximum=1.0
    )
    seed: int = setting(0, "seed of the noise", minimum=0)
    view_listeners: int = setting(
        0, "the first episode starts only when so many nodes have found what further cameras see", minimum=0
    )


class PolicyNode(GraphNode):
    """Thin shell over `Actor`."""

    def __init__(self) -> None:
        super().__init__("policy")
        self._config = declare(self, PolicyNodeConfig)
        config = self._config
        self._action_space = ActionSpace(config.translation_limit, config.rotation_limit, config.action_mask)
        self._random = np.random.default_rng(config.seed)
        self._policy: Any = None
        self._language: Any = None
        self._step_publisher = self.create_publisher(Step, "step", qos.STEP)
        self._view_publishers = [
            self.create_publisher(Step, view_topic(camera), qos.STEP) for camera in config.further_cameras
        ]
        self._command_publisher = self.create_publisher(ArmCommand, "arm/command", qos.COMMAND)
        self._actor = Actor(
            config,
            self._action_space,
            clock=lambda: self.get_clock().now().nanoseconds,
            monotonic=time.monotonic,
            listening=self._listening,
            warn=self._warn,
        )
        if config.source == "policy":
            self._start_acting()
        self.create_subscription(ArmStatus, "arm/status", self._on_arm_status, qos.LATCHED)
        self.create_subscription(ArmCommand, "arm/override", self._on_override, qos.COMMAND)
        self.create_subscription(JointState, "observation/proprioception", self._on_proprioception, qos.STATE)
        self.create_subscription(Image, "observation/image", self._on_image, qos.IMAGE)
        for camera in config.further_cameras:
            self.create_subscription(Image, observation_topic(camera), partial(self._on_view, camera), qos.IMAGE)
        if config.lockstep:
            self.create_subscription(StepPermit, "step_permit", self._on_permit, qos.COMMAND)
        self.create_subscription(TaskMessage, "task", self._on_task, qos.LATCHED)

    def _start_acting(self) -> None:
        """Load the first policy and listen for newer ones. Torch is imported here: collection starts without it."""
        import torch

        torch.set_num_threads(1)
        from robofume_policy.weight_intake import policy_from_checkpoint

        if self._config.checkpoint:
            config = self._config
            policy = policy_from_checkpoint(
                config.checkpoint, self._action_space, config.image_size, config.further_cameras
            )
            self._learn_language(policy)
            self._use(policy, 0)
            self.get_logger().info(f"Acting with the policy in {self._config.checkpoint}.")
        self.create_subscription(PolicyWeights, "policy/weights", self._on_weights, qos.LATCHED)

    def _learn_language(self, policy: Any) -> None:
        """Load the model that embeds the policy's sentences. Raises RobofumeError where it is not to be had."""
        from robofume_policy.language import InstructionEncoder

        if self._language is None or self._language.model_name != policy.language:
            language = InstructionEncoder(policy.language)
            embedding = language("warm up")
            policy.act(np.zeros(policy.config.image_shape, np.uint8), np.zeros(7, np.float32), embedding)
            self._language = language
            settle()

    def _use(self, policy: Any, version: int) -> None:
        policy.succeed(self._policy, self._config.exploration_std)
        self._policy = policy
        self._publish(self._actor.set_policy(self._act, version))

    def _act(
        self, pictures: Sequence[Image], proprioception: np.ndarray, instruction: str, deterministic: bool
    ) -> np.ndarray:
        embedding = self._language(instruction)
        seen = stacked([image_to_array(picture) for picture in pictures])
        return self._policy.act(seen, proprioception, embedding, deterministic, self._random)

    def _on_weights(self, message: PolicyWeights) -> None:
        from robofume_policy.weight_intake import checked_policy

        try:
            policy = checked_policy(
                bytes(message.data),
                message.sha256,
                message.architecture,
                action_dimension=self._action_space.dimension,
                image_size=self._config.image_size,
                expected_architecture=self._policy.architecture if self._policy else "",
                further_cameras=self._config.further_cameras,
            )
            self._learn_language(policy)
        except RobofumeError as error:
            self.get_logger().error(str(error))
            return
        self._use(policy, message.version)

    def _on_task(self, message: TaskMessage) -> None:
        if self._language is not None and message.instruction:
            self._language(message.instruction)  # once per sentence, before the first observation waits for it
        task = Task(
            stamp=to_nanoseconds(message.stamp),
            phase=Phase(message.phase),
            direction=Direction(message.direction),
            instruction=message.instruction,
            episode_id=message.episode_id,
            step_limit=message.step_limit,
            home=message.home,
            script=_script(message),
        )
        self._publish(self._actor.on_task(task))

    def _on_image(self, message: Image) -> None:
        self._publish(self._actor.on_image(to_nanoseconds(message.header.stamp), message))

    def _on_view(self, camera: str, message: Image) -> None:
        self._publish(self._actor.on_view(camera, to_nanoseconds(message.header.stamp), message))

    def _on_proprioception(self, message: JointState) -> None:
        values = np.asarray(message.position, dtype=np.float32)
        self._publish(self._actor.on_proprioception(to_nanoseconds(message.header.stamp), values))

    def _on_permit(self, message: StepPermit) -> None:
        self._publish(self._actor.on_permit(message.episode_id, message.index))

    def _on_override(self, message: ArmCommand) -> None:
        try:
            mode, who = ArmMode(message.mode), Who(message.actor)
        except ValueError:
            self._warn(f"An override of unknown mode {message.mode} or actor {message.actor} was ignored.")
            return
        action = np.asarray(message.action, dtype=np.float32)
        override = Command(to_nanoseconds(message.header.stamp), mode, action, who)
        self._publish(self._actor.on_override(override))

    def _on_arm_status(self, message: ArmStatus) -> None:
        home, stamp = to_nanoseconds(message.home_command), to_nanoseconds(message.stamp)
        self._publish(self._actor.on_arm_status(ArmState(message.state), home, stamp))

    def _publish(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Command):
                self._command_publisher.publish(_command_message(output))
            else:
                step = _step_message(output)
                for publisher, view in zip(self._view_publishers, output.views, strict=True):
                    step.image = view
                    publisher.publish(step)
                step.image = output.image
                self._step_publisher.publish(step)

    def _listening(self) -> int:
        """How many nodes listen to `step`; 0 while those that keep the views have not found them all."""
        deaf = any(item.get_subscription_count() < self._config.view_listeners for item in self._view_publishers)
        return 0 if deaf else self._step_publisher.get_subscription_count()

    def _warn(self, sentence: str) -> None:
        self.get_logger().warning(sentence, throttle_duration_sec=5.0)


def _script(message: TaskMessage) -> tuple[tuple[float, ...], ...]:
    """The actions of a task's script; MalformedMessage where they are none."""
    values = np.asarray(message.script, np.float64)
    if len(values) % PHYSICAL_DIMENSION or not np.isfinite(values).all():
        raise MalformedMessage(f"Its script has {len(values)} values, not {PHYSICAL_DIMENSION} finite ones per action.")
    return tuple(map(tuple, values.reshape(-1, PHYSICAL_DIMENSION).tolist()))


def _command_message(command: Command) -> ArmCommand:
    message = ArmCommand(mode=int(command.mode), action=command.action, actor=int(command.actor))
    message.header.stamp = to_time(command.stamp)
    return message


def _step_message(step: StepRecord) -> Step:
    return Step(
        stamp=to_time(step.stamp),
        episode_id=step.episode_id,
        index=step.index,
        phase=int(step.phase),
        direction=int(step.direction),
        instruction=step.instruction,
        image=step.image,
        proprioception=floats(step.proprioception),
        action=floats([] if step.action is None else step.action),
        actor=int(step.actor),
        policy_version=step.policy_version,
    )


def main() -> None:
    """Entry point of the node."""
    sys.exit(run(PolicyNode))


if __name__ == "__main__":
    main()
