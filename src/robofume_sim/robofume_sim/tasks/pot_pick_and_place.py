"""Pot pick-and-place: a small pot goes into the tray, and back out onto the table."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from robofume_common.enums import Direction
from robofume_common.task import TaskDescription

from robofume_sim import scene
from robofume_sim.tasks.base import (
    HOME_JOINT_POSITIONS,
    CarryingTask,
    SceneState,
    Transfer,
    Truth,
    Vector,
    distance_to_rectangle,
    is_off,
    is_resting,
    place_within,
    share_reached,
)
from robofume_sim.tasks.nudges import strokes

Zone = tuple[tuple[float, float], tuple[float, float]]
"""Least and greatest x, y [m] of the pot's centre."""

POT = "pot"
RADIUS = 0.022
HEIGHT = 0.048
BELLY_HEIGHT = 0.024
GRASP_HEIGHT = 0.026
# Where the centre of the pot counts as inside [m]; the pot is then wholly on its side of the divider.
TRAY_MIN, TRAY_MAX = (0.190, 0.028), (0.380, 0.130)
TABLE_MIN, TABLE_MAX = (0.190, -0.130), (0.380, -0.028)
LEANING = 0.011  # up to so far [m] from its zone a pot leans on the divider, at rest; it counts as inside
START_MARGIN = 0.015  # starts, and most places, keep this far [m] inside their zone
BORDER = 0.020  # how far [m] from the border something is put down that is carried no further than it must be
ON_DIVIDER, BESIDE_DIVIDER = (0.0, 0.014), (0.018, 0.045)
"""How far [m] from its middle the pot is in arranged scenes; in between it is not clear to the eye."""
ON_DIVIDER_SHARE = 0.5

# Strokes of a nudge: out of the four corners, and from the two walls beside which a finger hardly fits, where it pushes
# the pot off by coming down; none goes over the divider.
CORNERS = [((x, side * 0.15), (end, side * 0.12)) for side in (1, -1) for x, end in ((0.17, 0.23), (0.40, 0.34))]
SIDES = [((0.285, side * 0.15), (0.285, side * 0.12)) for side in (-1, 1)]


def inset(zone: Zone) -> tuple[float, float, float, float]:
    """Least x, least y, greatest x, greatest y [m] of the places inside a zone where an episode may start."""
    (left, near), (right, far) = zone
    return left + START_MARGIN, near + START_MARGIN, right - START_MARGIN, far - START_MARGIN


class PotPickAndPlace(CarryingTask):
    """Forward: into the tray (left half, y > 0). Backward: out of it onto the table (right half)."""

    description = TaskDescription(
        name="pot_pick_and_place",
        forward_instruction="put the pot into the tray",
        backward_instruction="take the pot out of the tray and put it on the table",
        step_limit=25,
        demonstration_step_limit=40,
        action_mask=(True, True, True, False, False, False, True),
        workspace_minimum=(0.17, -0.15, 0.02),
        workspace_maximum=(0.40, 0.15, 0.18),
        home_joint_positions=HOME_JOINT_POSITIONS,
        nudge=strokes([*CORNERS, *SIDES], low=0.02, high=0.10),
        relocate_forward=inset((TRAY_MIN, TRAY_MAX)),
        relocate_backward=inset((TABLE_MIN, TABLE_MAX)),
    )
    object_names = (POT,)
    run_settings = MappingProxyType(  # fewer scenes and updates call some pots on the divider a success
        {"scenes": 120, "settings": {"reward_training": {"updates": 1200}}}
    )
    zones: tuple[Zone, Zone] = ((TABLE_MIN, TABLE_MAX), (TRAY_MIN, TRAY_MAX))
    """Where forward starts, and where it ends."""
    start_margin = START_MARGIN
    leaning = LEANING
    arranged_settling = 0.0
    border_share = 0.3
    """Of the places that a script chooses: how many are just behind the border, in corners too. The shortest way ends
    there, so a policy finds these places, and a judge has to know both sides of the border."""

    def bodies(self, appearance: scene.Appearance) -> str:
        """Tray, divider and the pot."""
        return scene.half_plate(appearance) + scene.divider(appearance) + self.pot(appearance)

    def pot(self, appearance: scene.Appearance) -> str:
        """A round weighted belly on a flat foot, a rim and a dark mouth."""
        rim = scene.rgba(appearance.object, 0.8)
        return self.weighted(appearance, f"""
<geom class="visual" type="cylinder" size=".0175 .0035" pos="0 0 {HEIGHT - 0.0035}" rgba="{rim}"/>
<geom class="visual" type="cylinder" size=".0145 .0005" pos="0 0 {HEIGHT}" rgba=".12 .04 .04 1"/>""")

    @staticmethod
    def weighted(appearance: scene.Appearance, drawn: str) -> str:
        """What the fingers close on, a round weighted belly on a flat foot, and what is `drawn` around it (MJCF)."""
        colour, rim = scene.rgba(appearance.object), scene.rgba(appearance.object, 0.8)
        # Spheres and planes have exact, cheap contacts. Fingers that miss slide off the round belly.
        belly = f'size="{RADIUS}" pos="0 0 {BELLY_HEIGHT}"'
        geoms = f"""
<geom class="object" type="sphere" {belly} rgba="{colour}"/>
<geom class="grip" type="sphere" {belly}/>
<geom class="object" type="cylinder" size=".017 .004" pos="0 0 .004" rgba="{rim}"/>{drawn}"""
        return scene.movable(POT, geoms, mass=0.06, centre_of_mass_z=0.012, radius=RADIUS, righting=0.03)

    def start(self, direction: Direction, rng: np.random.Generator) -> dict[str, Vector]:
        """The pot somewhere in the zone where the direction starts."""
        lower, upper = self.zones[direction == Direction.BACKWARD]
        return {POT: place_within(lower, upper, self.start_margin, rng)}

    def arranged(self, rng: np.random.Generator) -> dict[str, Vector] | None:
        """The pot held on top of the divider, or put down right beside it; None where there is no divider.

        Nothing stays on the divider by itself here, so practice never shows that; a judge still has to know it.
        """
        if self.border_share == 0.0:
            return None
        on = rng.random() < ON_DIVIDER_SHARE
        x, y = rng.uniform(TRAY_MIN[0], TRAY_MAX[0]), rng.uniform(*(ON_DIVIDER if on else BESIDE_DIVIDER))
        return {POT: np.array([x, rng.choice((-y, y)), scene.DIVIDER_HEIGHT if on else 0.0])}

    def truth(self, state: SceneState) -> Truth:
        """The pot stands inside the zone, and the gripper is off it: what one picture can show."""
        pot = state.objects[POT]
        x, y, _ = pot.position
        resting = is_resting(pot, 0.0)
        released = is_off(state, POT, HEIGHT)
        begin, end = (max(0.0, distance_to_rectangle(x, y, *zone) - self.leaning) for zone in self.zones)
        return Truth(
            forward_success=end == 0.0 and resting and released,
            backward_success=begin == 0.0 and resting and released,
            forward_score=share_reached(end, 0.16, resting, released),
            backward_score=share_reached(begin, 0.16, resting, released),
        )

    def place_point(self, direction: Direction, rng: np.random.Generator) -> Vector:
        """Anywhere well inside the zone where the direction ends, or just behind its border."""
        begin, end = self._zones(direction)
        if rng.random() < self.border_share:
            return self._beside(end, begin, rng)
        return place_within(*end, self.start_margin, rng) + (0.0, 0.0, GRASP_HEIGHT + 0.002)

    def half_way_point(self, direction: Direction, rng: np.random.Generator) -> Vector | None:
        """Just before the border; None where there is none."""
        begin, end = self._zones(direction)
        return self._beside(begin, end, rng) if self.border_share > 0.0 else None

    def _zones(self, direction: Direction) -> tuple[Zone, Zone]:
        """Where the direction begins, and where it ends."""
        first, second = self.zones
        return (first, second) if direction == Direction.FORWARD else (second, first)

    @staticmethod
    def _beside(zone: Zone, other: Zone, rng: np.random.Generator) -> Vector:
        """A place inside a zone, at most `BORDER` from the edge that the `other` one is behind."""
        edge = np.clip(rng.uniform(*other), *zone)
        inwards = np.where(np.greater(other[0], zone[1]), -1.0, np.where(np.less(other[1], zone[0]), 1.0, 0.0))
        x, y = edge + inwards * rng.uniform(0.0, BORDER)
        return np.array([x, y, GRASP_HEIGHT + 0.002])

    def transfer(self, state: SceneState, direction: Direction, place: Vector) -> Transfer:  # noqa: ARG002  same both ways
        """Close around the middle of the pot."""
        grasp = state.objects[POT].position + (0.0, 0.0, GRASP_HEIGHT)
        return Transfer(grasp=grasp, place=place, hover_height=0.075, carry_height=0.065, done_height=0.13)
