"""Pot plates: the pot goes from the table onto the middle plate, from there onto the left one, and back the same way.

Two pairs of instructions in one scene, a chain: where the first has succeeded the second starts.
"""

from __future__ import annotations

import numpy as np
from robofume_common.enums import Direction
from robofume_common.task import TaskDescription

from robofume_sim import scene
from robofume_sim.tasks.base import (
    HOME_JOINT_POSITIONS,
    SceneState,
    SimulatedTask,
    Truth,
    Vector,
    distance_to_rectangle,
    is_off,
    is_resting,
    place_within,
    share_reached,
)
from robofume_sim.tasks.pot_pick_and_place import GRASP_HEIGHT, HEIGHT, POT, PotPickAndPlace

Zone = tuple[tuple[float, float], tuple[float, float]]
TABLE: Zone = ((0.190, -0.130), (0.380, -0.060))  # least and greatest x, y [m] of the pot's centre
MIDDLE: Zone = ((0.190, -0.038), (0.380, 0.038))
LEFT: Zone = ((0.190, 0.060), (0.380, 0.130))
MARGIN = 0.012  # starts and places keep this far [m] inside their zone
RIM = 0.011  # how much further than its zone a plate reaches [m]


class PotPlates(PotPickAndPlace):
    """Forward: from the table (right) onto the middle plate. Backward: back onto the table."""

    description = TaskDescription(
        name="pot_plates",
        forward_instruction="put the pot on the middle plate",
        backward_instruction="take the pot off the plate and put it on the table",
        further_tasks=("pot_to_the_left",),
        further_forward=("move the pot from the middle plate to the left plate",),
        further_backward=("move the pot from the left plate back to the middle plate",),
        further_after=("pot_plates",),
        step_limit=25,
        demonstration_step_limit=40,
        action_mask=(True, True, True, False, False, False, True),
        workspace_minimum=(0.17, -0.15, 0.02),
        workspace_maximum=(0.40, 0.15, 0.18),
        home_joint_positions=HOME_JOINT_POSITIONS,
    )
    in_gazebo = False
    zones: tuple[Zone, Zone] = (TABLE, MIDDLE)
    """Where forward starts, and where it ends."""

    @property
    def pairs(self) -> tuple[SimulatedTask, ...]:
        """This one, and from the middle plate to the left one."""
        return (self, _ToTheLeft())

    def bodies(self, appearance: scene.Appearance) -> str:
        """The pot of pot pick-and-place, and two plates, which are painted on the table."""
        pot = super().bodies(appearance).removeprefix(scene.half_plate(appearance) + scene.divider(appearance))
        return _plate(MIDDLE, scene.rgba(appearance.tray)) + _plate(LEFT, scene.rgba(appearance.edge)) + pot

    def start(self, direction: Direction, rng: np.random.Generator) -> dict[str, Vector]:
        """The pot in the zone where the direction starts."""
        lower, upper = self.zones[direction == Direction.BACKWARD]
        return {POT: place_within(lower, upper, MARGIN, rng)}

    def truth(self, state: SceneState) -> Truth:
        """The pot stands inside the zone, and the gripper is off it."""
        pot = state.objects[POT]
        x, y, _ = pot.position
        resting, released = is_resting(pot, 0.0), is_off(state, POT, HEIGHT)
        begin, end = (distance_to_rectangle(x, y, *zone) for zone in self.zones)
        return Truth(
            forward_success=end <= 0.0 and resting and released,
            backward_success=begin <= 0.0 and resting and released,
            forward_score=share_reached(end, 0.16, resting, released),
            backward_score=share_reached(begin, 0.16, resting, released),
        )

    def place_point(self, direction: Direction, rng: np.random.Generator) -> Vector:
        """Anywhere well inside the zone where the direction ends."""
        lower, upper = self.zones[direction == Direction.FORWARD]
        return place_within(lower, upper, MARGIN, rng) + (0.0, 0.0, GRASP_HEIGHT + 0.002)


class _ToTheLeft(PotPlates):
    """The second pair of the scene: from the middle plate onto the left one, and back."""

    zones = (MIDDLE, LEFT)


def _plate(zone: Zone, colour: str) -> str:
    (x0, y0), (x1, y1) = zone
    size = f"{(x1 - x0) / 2 + RIM} {(y1 - y0) / 2 + RIM} .0005"
    return (
        f'<geom class="visual" type="box" size="{size}" pos="{(x0 + x1) / 2} {(y0 + y1) / 2} .0005" rgba="{colour}"/>'
    )
