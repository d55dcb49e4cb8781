"""Drives the world's arm in one process through the safety envelope of the real arm (`robofume_robot`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robofume_common.errors import RobofumeError
from robofume_robot import envelope, homing, kinematics
from robofume_sim.world import World


class ArmDriver:
    """End-effector deltas in, joint targets out: what the arm node does between two images."""

    def __init__(self, world: World) -> None:
        task = world.task.description
        self.world = world
        self.limits = envelope.Limits(
            box_min=task.workspace_minimum,
            box_max=task.workspace_maximum,
            translation_step=task.translation_limit,
            rotation_step=task.rotation_limit,
            control_period=world.config.control_period,
        )
        self._home = np.asarray(task.home_joint_positions, dtype=np.float64)
        self.forget()

    def forget(self) -> None:
        """Start from the measured pose, as after a reset of the scene."""
        self._situation = envelope.Situation.at_rest(self.world.joint_positions)

    def step(self, action: NDArray[np.floating]) -> bool:
        """Apply a physical action (7,) for one control period; False where the envelope refused it and the arm held."""
        situation = self._now()
        target = envelope.plan(action, situation, self.limits)
        accepted = isinstance(target, envelope.JointTarget)
        if isinstance(target, envelope.Refusal):
            target = envelope.hold(situation, self.limits)
        if isinstance(target, envelope.Refusal):
            raise RobofumeError(f"the simulated arm is stuck: {target.sentence}")
        self.world.step(target.positions())
        self._situation = envelope.Situation(self.world.joint_positions, target)
        return accepted

    def home(self) -> None:
        """Open the gripper, rise and go home."""
        path = homing.plan_home(self._now(), self._home, self.limits)
        if isinstance(path, envelope.Refusal):
            raise RobofumeError(f"the simulated arm cannot go home: {path.sentence}")
        self.world.play([point.target.positions() for point in path], [point.time_from_start for point in path])
        self._situation = envelope.Situation(self.world.joint_positions, path[-1].target)

    def proprioception(self) -> NDArray[np.float32]:
        """The seven values of `Step.proprioception`."""
        return kinematics.proprioception(self.world.joint_positions).astype(np.float32)

    def _now(self) -> envelope.Situation:
        return envelope.Situation(self.world.joint_positions, self._situation.target)
