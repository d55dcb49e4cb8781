"""What the tasks with a cloth share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from robofume_common.task import TaskDescription

from robofume_sim import cloth
from robofume_sim.robot_model import FINGERTIP_BELOW_GRIPPER
from robofume_sim.tasks.base import HOME_JOINT_POSITIONS, CarryingTask, Hand, SceneState, Vector

CLOTH_HOME = (*HOME_JOINT_POSITIONS[:5], math.pi / 2)
"""Home with the hand turned a quarter [rad]: the fingers move along the edges that they grip, in x."""
GRASP_HEIGHT = FINGERTIP_BELOW_GRIPPER + 0.001
"""Of the gripper over the vertices that it grips [m]: the tips are on the cloth."""


def cloth_description(
    name: str, forward_instruction: str, backward_instruction: str, step_limit: int = 25
) -> TaskDescription:
    """What the graph is told of such a task."""
    return TaskDescription(
        name=name,
        forward_instruction=forward_instruction,
        backward_instruction=backward_instruction,
        step_limit=step_limit,
        demonstration_step_limit=50,
        demonstrations_per_scene=3,  # a script lays the cloth down in one place, a policy drags it about
        action_mask=(True, True, True, False, False, False, True),
        workspace_minimum=(0.17, -0.15, 0.016),
        workspace_maximum=(0.40, 0.15, 0.18),
        home_joint_positions=CLOTH_HOME,
    )


class ClothTask(CarryingTask):
    """A task with the one cloth of `robofume_sim.cloth`."""

    hand = Hand(action_noise=0.15, grasp_offset=0.010, speed=0.3)
    in_gazebo = False
    has_cloth = True
    arena_minimum, arena_maximum = (0.12, -0.22), (0.45, 0.22)
    settling = 0.4
    run_settings = MappingProxyType(  # more noise in practice misses the corner of a cloth (docs/trials.md)
        {
            "demonstrations": 50,
            "failures": 160,
            "settings": {"reward_training": {"updates": 1600}, "policy": {"exploration_std": 0.02}},
        }
    )


def grasp_point(state: SceneState, border: str, inside: str, share: float) -> Vector:
    """Where the gripper should close [m]: that share of the way from a vertex at the border to the one inside it.

    It is a little deep, since the cloth may slope down beside it.
    """
    start = state.objects[border].position
    point: Vector = start + share * (state.objects[inside].position - start)
    point[2] = max(point[2] - 0.010, cloth.RADIUS) + GRASP_HEIGHT
    return point


def is_still(state: SceneState, names: Sequence[str]) -> bool:
    """Whether none of these parts of the cloth moves."""
    return all(float(np.linalg.norm(state.objects[name].velocity)) < 0.05 for name in names)


def is_clear(state: SceneState) -> bool:
    """Whether the hand holds nothing and its tips are 1 cm above all cloth in its reach, clearly enough to be seen."""
    near = np.hypot(*(state.cloth - state.gripper_position)[:, :2].T) < 0.06
    top = float(state.cloth[near, 2].max()) if near.any() else -1.0
    return not state.held and float(state.gripper_position[2]) > top + FINGERTIP_BELOW_GRIPPER + 0.01
