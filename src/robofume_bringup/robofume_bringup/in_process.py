"""A simulated robot in this process, without a graph: what scripts, tools and benchmarks record episodes with.

The protocol is the graph's (docs/architecture.md): homing before an episode, a verdict on every step, and a success at
step k ends the episode after one more action.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from robofume_common.enums import Actor, Direction, Outcome, Phase, RewardSource, Verdict
from robofume_data.episode import EpisodeData
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.world import World

Act = Callable[[np.ndarray, np.ndarray, str], np.ndarray]
"""Called with (policy image, proprioception, instruction): a physical action (7,)."""
Judge = Callable[[np.ndarray, str, bool], bool]
"""Called with (policy image, instruction, ground truth): whether this is a success."""


def true_judge(_image: np.ndarray, _instruction: str, truth: bool) -> bool:
    """The simulation's own verdict."""
    return truth


class InProcessRobot:
    """A world and its arm. `clock` counts the observations, whose stamps are a control period apart."""

    def __init__(self, world: World, image_size: int = 64, min_episode_steps: int = 3) -> None:
        self.world = world
        self.arm = ArmDriver(world)
        self.description = world.task.description
        self.image_size = image_size
        self.min_episode_steps = min_episode_steps
        self.clock = 0

    def observe(self) -> tuple[np.ndarray, np.ndarray]:
        """Policy image and proprioception."""
        size = self.image_size
        image = cv2.resize(self.world.render(), (size, size), interpolation=cv2.INTER_AREA)
        return image, self.arm.proprioception()

    def reset(self, direction: Direction, seed: int | None = None) -> None:
        """Put the scene where `direction` starts."""
        self.world.reset(direction, seed)
        self.arm.forget()

    def run_episode(
        self,
        name: str,
        direction: Direction,
        act: Act,
        judge: Judge,
        phase: Phase,
        actor: Actor,
        each_step: Callable[[], None] = lambda: None,
        successes_shown: int = 1,
    ) -> EpisodeData:
        """Home, then act until `successes_shown` in a row or the step limit; `each_step` is called after each action.

        Raises RobofumeError where the arm cannot go home.
        """
        self.arm.home()
        instruction = self.description.instruction(direction)
        images, states, actions, verdicts, truths = [], [], [], [], []
        success_index, run = -1, 0
        while True:
            image, state = self.observe()
            truth = self.world.truth()
            images.append(image)
            states.append(state)
            truths.append((truth.forward_success, truth.backward_success))
            index = len(images) - 1
            # the verdict on step i comes after the action of step i has been sent
            last = success_index >= 0 or index == self.description.steps_allowed(demonstrating=actor == Actor.SCRIPT)
            if not last:
                actions.append(act(image, state, instruction))
                self.arm.step(actions[-1])
                each_step()
            good = judge(image, instruction, truth.success(direction))
            verdicts.append(Verdict.SUCCESS if good else Verdict.FAILURE)
            run = run + 1 if good else 0
            if run >= successes_shown and success_index < 0 and index >= self.min_episode_steps:
                success_index = index - successes_shown + 1
            if last:
                break
        count = len(images)
        self.clock += count
        forward, backward = np.array(truths).T
        return EpisodeData(
            episode_id=name, task=self.description.name, instruction=instruction, phase=phase, direction=direction,
            outcome=Outcome.SUCCESS if success_index >= 0 else Outcome.TIMEOUT, success_index=success_index,
            assisted_reset_before=False, images=np.stack(images), proprioception=np.stack(states),
            actions=np.array(actions, np.float32).reshape(-1, 7), actors=np.full(len(actions), actor, np.uint8),
            policy_versions=np.zeros(count, np.uint64), stamps=np.arange(self.clock - count, self.clock) * 200_000_000,
            verdicts=np.array(verdicts, np.uint8),
            probabilities=np.array([v == Verdict.SUCCESS for v in verdicts], np.float32),
            sources=np.full(count, RewardSource.GROUND_TRUTH, np.uint8),
            forward_success=forward, backward_success=backward,
        )  # fmt: skip
