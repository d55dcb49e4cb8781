"""Pot plates: the pot goes from the table onto the middle plate, from there onto the left one, and back the same way.

Two pairs of instructions in one scene, a chain: where the first has succeeded the second starts.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from robofume_sim import scene
from robofume_sim.tasks.base import SimulatedTask
from robofume_sim.tasks.nudges import strokes
from robofume_sim.tasks.pot_pick_and_place import CORNERS, PotPickAndPlace, Zone

TABLE: Zone = ((0.190, -0.130), (0.380, -0.060))
MIDDLE: Zone = ((0.190, -0.038), (0.380, 0.038))
LEFT: Zone = ((0.190, 0.060), (0.380, 0.130))
RIM = 0.011  # how much further than its zone a plate reaches [m]


class PotPlates(PotPickAndPlace):
    """Forward: from the table (right) onto the middle plate. Backward: back onto the table."""

    description = replace(
        PotPickAndPlace.description,
        name="pot_plates",
        forward_instruction="put the pot on the middle plate",
        backward_instruction="take the pot off the plate and put it on the table",
        further_tasks=("pot_to_the_left",),
        further_forward=("move the pot from the middle plate to the left plate",),
        further_backward=("move the pot from the left plate back to the middle plate",),
        further_after=("pot_plates",),
        relocate_forward=(),
        relocate_backward=(),
        nudge=strokes(CORNERS, low=0.02, high=0.10),  # those from the sides may push it onto the next plate
    )
    in_gazebo = False
    run_settings = MappingProxyType({})  # it arranges no scenes
    zones = (TABLE, MIDDLE)
    start_margin = 0.012
    leaning = 0.0
    border_share = 0.0  # a painted plate has no edge that holds anything

    @property
    def pairs(self) -> tuple[SimulatedTask, ...]:
        """This one, and from the middle plate to the left one."""
        return (self, _ToTheLeft())

    def bodies(self, appearance: scene.Appearance) -> str:
        """The pot of pot pick-and-place, and two plates, which are painted on the table."""
        plates = plate(MIDDLE, scene.rgba(appearance.tray)) + plate(LEFT, scene.rgba(appearance.edge))
        return plates + self.pot(appearance)


class _ToTheLeft(PotPlates):
    """The second pair of the scene: from the middle plate onto the left one, and back."""

    zones = (MIDDLE, LEFT)


def plate(zone: Zone, colour: str) -> str:
    """MJCF of a plate, painted on the table, that reaches a little beyond its zone; `colour` as `scene.rgba` has it."""
    (x0, y0), (x1, y1) = zone
    size = f"{(x1 - x0) / 2 + RIM} {(y1 - y0) / 2 + RIM} .0005"
    return (
        f'<geom class="visual" type="box" size="{size}" pos="{(x0 + x1) / 2} {(y0 + y1) / 2} .0005" rgba="{colour}"/>'
    )
