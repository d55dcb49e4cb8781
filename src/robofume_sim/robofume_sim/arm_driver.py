"""Drives the world's arm in one process through the arm of the real robot (`robofume_robot.arm`), without ROS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import ArmMode, ArmState
from robofume_common.errors import RobofumeError
from robofume_robot.arm import Arm
from robofume_robot.arm_config import ArmConfig
from robofume_robot.motion import Command, Motion

from robofume_sim.world import World


class ArmDriver:
    """End-effector deltas in, motions of the world out: what the arm node and the sim node do between two images."""

    def __init__(self, world: World, config: ArmConfig | None = None) -> None:
        """`config`: of the arm; without it, that of the task."""
        task = world.task.description
        self.world = world
        self.arm = Arm(
            config
            or ArmConfig(
                workspace_minimum=task.workspace_minimum,
                workspace_maximum=task.workspace_maximum,
                home_joint_positions=task.home_joint_positions,
                translation_limit=task.translation_limit,
                rotation_limit=task.rotation_limit,
                control_period=world.config.control_period,
                lockstep=True,
            )
        )
        self._observe()

    def forget(self) -> None:
        """Start from the measured pose, as after a reset of the scene, which also frees an arm that has stopped."""
        self.arm.reset()
        self.arm.release()
        self._observe()

    def step(self, action: NDArray[np.floating]) -> bool:
        """Apply a physical action (7,) for one control period; False where the envelope refused it and the arm held."""
        refused = self._refused()
        self._play(self.arm.command(Command(self.arm.stamp, ArmMode.DELTA, action.astype(np.float64))))
        self._observe()
        return self._refused() == refused

    def home(self) -> None:
        """Open the gripper, rise and go home."""
        motion = self.arm.command(Command(self.arm.stamp, ArmMode.HOME))
        while motion is not None:
            self._play(motion)
            motion = self._observe()
        if self.arm.state is not ArmState.HOLDING:
            raise RobofumeError(f"The simulated arm cannot go home: {self.arm.message}.")

    def proprioception(self) -> NDArray[np.float32]:
        """The seven values of `Step.proprioception`."""
        return self.arm.proprioception().astype(np.float32)

    def _observe(self) -> Motion | None:
        return self.arm.joint_state(self.world.stamp, self.world.joint_positions)

    def _play(self, motion: Motion | None) -> None:
        if motion is None:
            raise RobofumeError(f"The simulated arm does not move: {self.arm.message}.")
        self.world.play([p.positions for p in motion.points], [p.time_from_start for p in motion.points])

    def _refused(self) -> int:
        counters = self.arm.counters
        return counters.refused_not_finite + counters.refused_unreachable
