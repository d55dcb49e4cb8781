"""Cloth folding: one corner of a cloth goes onto the opposite one, and back again."""

from __future__ import annotations

import copy
import math
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Direction

from robofume_sim import cloth, scene
from robofume_sim.tasks.base import Hand, SceneState, Transfer, Truth, Vector, share_reached
from robofume_sim.tasks.cloth_base import GRASP_HEIGHT, ClothTask, cloth_description, grasp_point, is_clear, is_still
from robofume_sim.variations import Build

LAST = cloth.COUNT - 1
MOVING, STAYING = cloth.vertex(LAST, 0), cloth.vertex(0, LAST)  # the corners that the fold brings together
LEFT, RIGHT = cloth.vertex(0, 0), cloth.vertex(LAST, LAST)  # the ends of the fold
MIDDLE = cloth.vertex(LAST // 2, LAST // 2)
INSIDE_MOVING = cloth.vertex(LAST - 1, 1)
DIAGONAL = 2.0 * math.sqrt(2.0) * cloth.HALF_SIDE
QUARTER = math.pi / 4
PLACE = (0.285, 0.0)  # of the middle
THICKNESS = 0.0032  # m, in bending: a corner spreads out by itself, a fold does not
GRIP_SHARE = 0.6  # of the way from the corner to the vertex inside it: there both fingers have cloth under them
SHORT = 0.006  # m, of the way that a script carries a corner
HALF_WAY = (0.012, 0.050)  # how far [m] from a place that would do a corner is put down by a failure on purpose
BEYOND = (0.044, 0.068)  # how far [m] beyond the other corner a failure on purpose puts it down in folding
WANDERING = 0.025  # how far [m] from its usual place a script lays the corner that moves
MARGIN = 0.001  # of its places inside the workspace [m]

FOLDED = 0.045  # how far [m] the two corners may be from each other
UNFOLDED = 0.85 * DIAGONAL  # and how far they are at least
SPREAD = 0.75 * DIAGONAL  # the same for the ends of the fold, always: a crumpled cloth is neither
# These are lengths of the plain cloth; one of another size has them in proportion.
FLAT_FOLDED, FLAT = 0.022, 0.014  # height of the highest vertex at most [m]


class ClothFolding(ClothTask):
    """Forward: the corner on the right (y < 0) onto the one on the left. Backward: back, until the cloth lies flat."""

    description = cloth_description(
        name="cloth_folding",
        forward_instruction="fold the cloth in half from corner to corner",
        backward_instruction="unfold the cloth and lay it flat",
    )
    hand = Hand(action_noise=0.10, grasp_offset=0.009, speed=0.3)
    run_settings = MappingProxyType(  # filtered, it forgets the corner again (docs/trials.md)
        {
            **ClothTask.run_settings,
            "settings": {**ClothTask.run_settings["settings"], "agent": {"imitation_filter": False}},
        }
    )
    object_names = (MOVING, STAYING, LEFT, RIGHT, MIDDLE, INSIDE_MOVING)
    size = 1.0
    """Of the cloth's sides, as a share of the plain one's."""

    def shaped(self, build: Build) -> ClothFolding:
        """With a cloth as wide as the build has it; a cloth has no height."""
        task = copy.copy(self)
        task.size = build.object_width
        return task

    def lined(self) -> NDArray[np.bool_]:
        """The half with the corner that stays."""
        x, y = cloth.grid().T
        half: NDArray[np.bool_] = x - y < 1e-9
        return half

    def grippable(self) -> NDArray[np.bool_]:
        """The corner that moves, as far as two rows inside."""
        x, y = cloth.grid().T
        corner: NDArray[np.bool_] = x - y > (LAST - 2.5) * cloth.SPACING
        return corner

    def bodies(self, appearance: scene.Appearance) -> str:
        """The cloth alone."""
        return cloth.mjcf(scene.rgba(appearance.object), THICKNESS, self.size)

    def start(self, direction: Direction, rng: np.random.Generator) -> dict[str, Vector]:
        """Flat, with a corner to each side (forward), or folded over its diagonal along x (backward)."""
        x, y = np.add(PLACE, rng.uniform((-0.022, -0.02), (0.022, 0.02)))
        turn = rng.uniform(-0.12, 0.12) - QUARTER
        points, high = cloth.grid(self.size), cloth.RADIUS
        if direction == Direction.FORWARD:
            return cloth.laid(points, x, y, turn)
        side = points[:, 0] - points[:, 1]  # > 0: the half with the corner that moves
        folded = np.where(side[:, None] > 1e-9, points[:, ::-1], points)
        return cloth.laid(folded, x, y, turn, np.select([side > 1e-9, side > -1e-9], [3.2 * high, 2.0 * high], high))

    def truth(self, state: SceneState) -> Truth:
        """Distances of the corners and the height of the cloth; it lies still, and the hand is off it."""
        apart, across = _distance(state, MOVING, STAYING), _distance(state, LEFT, RIGHT)
        height = float(state.cloth[:, 2].max())
        still, clear = is_still(state, self.object_names), is_clear(state)
        crumpled = max(0.0, SPREAD * self.size - across)
        folded = max(0.0, apart - FOLDED * self.size) + crumpled
        unfolded = max(0.0, UNFOLDED * self.size - apart) + crumpled
        low, flat = height < FLAT_FOLDED and still, height < FLAT and still
        return Truth(
            forward_success=folded == 0.0 and low and clear,
            backward_success=unfolded == 0.0 and flat and clear,
            forward_score=share_reached(folded, DIAGONAL * self.size, low, clear),
            backward_score=share_reached(unfolded, DIAGONAL * self.size, flat, clear),
        )

    def place_point(self, direction: Direction, rng: np.random.Generator) -> Vector:  # noqa: ARG002  same both ways
        """How far beside the right place the corner goes."""
        return np.array([*rng.uniform(-0.005, 0.005, 2), 0.0])

    def half_way_point(self, direction: Direction, rng: np.random.Generator) -> Vector:
        """Folding, too far beyond the other corner, where the fold stays; a corner that is put down short of it springs
        back, and the cloth lies flat. Unfolding, too far short of the corner's place in a flat cloth.
        """
        if direction == Direction.FORWARD:
            return np.array([rng.uniform(-0.020, 0.020), rng.uniform(*BEYOND) * self.size, 0.0])
        short = (DIAGONAL - UNFOLDED) * self.size
        return np.array([rng.uniform(-0.015, 0.015), short + rng.uniform(*HALF_WAY), 0.0])

    def transfer(self, state: SceneState, direction: Direction, place: Vector) -> Transfer:
        """Grip the corner where both fingers have cloth under them; let it down on the other one, or on the table."""
        staying, middle = state.objects[STAYING].position, state.objects[MIDDLE].position
        # where the corner lies in a flat cloth; a cloth that is dragged along must not draw the hand after it
        usual = np.array([PLACE[0], PLACE[1] - DIAGONAL * self.size / 2, 0.0])
        flat = np.clip(2.0 * middle - staying, usual - WANDERING, usual + WANDERING)
        way = (staying - flat) / max(float(np.linalg.norm(staying - flat)), 1e-6)
        inwards = GRIP_SHARE * math.sqrt(2.0) * cloth.SPACING * self.size
        apart = _distance(state, MOVING, STAYING)
        if direction == Direction.FORWARD:
            # a little short of it: the cloth above has a little further to go round the fold
            onto, height, done = staying - (inwards + SHORT) * way, 2.5 * cloth.RADIUS, apart < FOLDED * self.size
        else:
            onto, height, done = flat + inwards * way, cloth.RADIUS, apart > UNFOLDED * self.size
        onto = np.array([*onto[:2], height + GRASP_HEIGHT]) + place
        lower, upper = self.description.workspace_minimum, self.description.workspace_maximum
        return Transfer(
            grasp=grasp_point(state, MOVING, INSIDE_MOVING, GRIP_SHARE),
            place=np.clip(onto, np.add(lower, MARGIN), np.subtract(upper, MARGIN)),
            hover_height=0.06,
            carry_height=0.075,
            done_height=0.12,
            done=done,
        )


def _distance(state: SceneState, first: str, second: str) -> float:
    return float(np.linalg.norm(state.objects[first].position - state.objects[second].position))
