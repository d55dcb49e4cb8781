"""Cloth covering: a cloth goes over a block that stands fast, and off it again.

The net of the cloth is coarse and its contacts are soft, so that it cuts a little into the edges of the block, where a
person's eye would still call it covered. What is seen, and what the truth counts, is therefore a block that is a little
smaller than the one that is felt: a block that shows through the cloth is not covered.
"""

from __future__ import annotations

import copy
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Direction

from robofume_sim import cloth, scene
from robofume_sim.robot_model import CLOTH_BIT, FINGER_BIT
from robofume_sim.tasks.base import Hand, SceneState, Transfer, Truth, Vector, share_reached
from robofume_sim.tasks.cloth_base import GRASP_HEIGHT, ClothTask, cloth_description, grasp_point, is_clear, is_still
from robofume_sim.variations import Build

MIDDLE, LAST = cloth.COUNT // 2, cloth.COUNT - 1
LEADING = cloth.vertex(MIDDLE, LAST), cloth.vertex(MIDDLE, LAST - 1)  # the edges to grip: their middle, and inside it
TRAILING = cloth.vertex(MIDDLE, 0), cloth.vertex(MIDDLE, 1)
CORNERS = tuple(cloth.vertex(i, j) for i in (0, LAST) for j in (0, LAST))
BLOCK_PLACE = (0.285, 0.065)
BLOCK_HALF, BLOCK_HEIGHT = 0.022, 0.025
SUNK, INSET = 0.006, 0.9  # how far [m] the top that is seen lies below the one that is felt, and its share of the width
CLOTH_PLACE = (0.285, -0.070)  # of the middle, where it lies on the table
THICKNESS = 0.0045  # m, in bending: felt, which spreads out by itself
COVERED = 0.9  # share of the top that is seen which is under the cloth, for a success
FLAT = 0.020  # height of the highest vertex of a cloth that lies on the table [m]
HALF_WAY = (-0.020, 0.016)  # how far [m] beyond the block's middle the leading edge is left by a failure on purpose
ARRANGED_WITHIN = 0.12  # how far [m] from the block's middle a cloth that is laid by hand lies
HALF_OVER = (0.3, 0.9)  # share of the top under a cloth that is half drawn over the block, or half off it
HALF_TURN = 0.5  # rad; how far it is turned there at most
UNCLEAR, BESIDE = 0.35, 1.2  # a share of the top from which it slides; clear of a block so much wider it is off it
GRIP_TO_MIDDLE = cloth.HALF_SIDE - 0.003


def top_points(half: float) -> NDArray[np.float64]:
    """Points (49, 2) [m] of the top that is seen of a block with sides of twice `half` [m], all over it."""
    side = np.linspace(-INSET, INSET, 7) * half
    points: NDArray[np.float64] = np.add(BLOCK_PLACE, np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2))
    return points


class ClothCovering(ClothTask):
    """Forward: drawn over the block by its leading edge. Backward: drawn off it by the trailing one."""

    description = cloth_description(
        name="cloth_covering",
        forward_instruction="cover the block with the cloth",
        backward_instruction="pull the cloth off the block and lay it on the table",
        step_limit=28,  # with 25 a policy that only imitates is never in time (forward), with 30 always
    )
    run_settings = MappingProxyType(
        {
            **ClothTask.run_settings,
            "scenes": 400,
            "settings": {
                **ClothTask.run_settings["settings"],
                "reward_training": {"updates": 2400},
                # slower than what practice holds for waiting, so that it would open on the way
                "agent": {"exploration_still": 0.1},
                "learner": {"progress_weight": 10.0},  # fewer resets with it (docs/trials.md)
                # a second attempt to cover half a block pushes the cloth away, and drawing it off lays it right again
                "switcher": {"max_repeats": 0},
            },
        }
    )
    object_names = (*LEADING, *TRAILING, *CORNERS)
    # slower than in folding: the way is short, and a policy that only imitates would be in time
    hand = Hand(action_noise=0.15, grasp_offset=0.010, speed=0.22)
    settling = 1.0
    half_done_share = 0.5  # from there a policy that has not seen it goes nowhere (docs/trials.md)
    block_half, block_height = BLOCK_HALF, BLOCK_HEIGHT

    def shaped(self, build: Build) -> ClothCovering:
        """With a block as wide and high as the build has it, under the same cloth."""
        task = copy.copy(self)
        task.block_half, task.block_height = BLOCK_HALF * build.object_width, BLOCK_HEIGHT * build.object_height
        return task

    def bodies(self, appearance: scene.Appearance) -> str:
        """The block, fixed to the table, as it is felt and as it is seen, and the cloth."""
        (x, y), high, half = BLOCK_PLACE, self.block_height / 2, self.block_half
        seen, wide = high - SUNK / 2, INSET * half
        block = (
            f'<geom class="floor" name="block" type="box" size="{half} {half} {high}" pos="{x} {y} {high}" '
            f'conaffinity="{FINGER_BIT | CLOTH_BIT}" friction=".3 .005 .0001" rgba="0 0 0 0"/>'
            f'<geom class="visual" name="block_seen" type="box" size="{wide} {wide} {seen}" pos="{x} {y} {seen}" '
            f'rgba="{scene.rgba(appearance.tray)}"/>'
        )
        return block + cloth.mjcf(scene.rgba(appearance.object), THICKNESS)

    def start(self, direction: Direction, rng: np.random.Generator) -> dict[str, Vector]:
        """Flat on the table beside the block (forward), or just over it, about to fall on it (backward)."""
        turn = rng.uniform(-0.12, 0.12)
        place = CLOTH_PLACE if direction == Direction.FORWARD else BLOCK_PLACE
        x, y = np.add(place, rng.uniform(-0.02, 0.02, 2))
        high = cloth.RADIUS + (0.0 if direction == Direction.FORWARD else self.block_height)
        return cloth.laid(cloth.grid(), x, y, turn, high)

    def arranged(self, rng: np.random.Generator) -> dict[str, Vector]:
        """Over the block, partly over it or just beside it, to any side and turned anyhow, as dragging leaves it; let
        go of at the height of the block. Whether one whose edge just touches the block is off it no eye can tell.
        """
        while True:
            away, way, turn = rng.uniform(0.0, ARRANGED_WITHIN), *rng.uniform(-np.pi, np.pi, 2)
            x, y = np.add(BLOCK_PLACE, (away * np.cos(way), away * np.sin(way)))
            beside = self._share_under(BESIDE * self.block_half, x, y, turn) == 0.0
            if beside or self._share_under(self.block_half, x, y, turn) >= UNCLEAR:
                return cloth.laid(cloth.grid(), x, y, turn, cloth.RADIUS + self.block_height)

    def half_done(self, direction: Direction, rng: np.random.Generator) -> dict[str, Vector]:
        """Partly over the block: to draw it on from where the hand can reach its leading edge, to draw it off from any
        side.
        """
        while True:
            away, way = rng.uniform(0.0, ARRANGED_WITHIN), rng.uniform(-np.pi, np.pi)
            if direction == Direction.FORWARD:
                way = -abs(way)  # on the side that it comes from
            x, y = np.add(BLOCK_PLACE, (away * np.cos(way), away * np.sin(way)))
            turn = rng.uniform(-HALF_TURN, HALF_TURN)
            if HALF_OVER[0] <= self._share_under(self.block_half, x, y, turn) <= HALF_OVER[1]:
                return cloth.laid(cloth.grid(), x, y, turn, cloth.RADIUS + self.block_height)

    def _share_under(self, half: float, x: float, y: float, turn: float) -> float:
        """Which share of the top of a block with sides of twice `half` [m] is under a flat cloth that lies there."""
        c, s = np.cos(turn), np.sin(turn)
        in_cloth = (top_points(half) - (x, y)) @ np.array([[c, -s], [s, c]])
        return float(np.mean(np.all(np.abs(in_cloth) < cloth.HALF_SIDE, axis=1)))

    def truth(self, state: SceneState) -> Truth:
        """The share of the block's top under the cloth; it lies still, and the hand is off it."""
        over = cloth.heights(state.cloth, state.triangles, top_points(self.block_half))
        covered = float(np.mean(over > self.block_height - SUNK))
        still, clear = is_still(state, self.object_names), is_clear(state)
        bare, missing = max(0.0, COVERED - covered), covered
        flat = still and float(state.cloth[:, 2].max()) < FLAT
        return Truth(
            forward_success=bare == 0.0 and still and clear,
            backward_success=missing == 0.0 and flat and clear,
            forward_score=share_reached(bare, COVERED, still, clear),
            backward_score=share_reached(missing, 1.0, flat, clear),
        )

    def place_point(self, direction: Direction, rng: np.random.Generator) -> Vector:
        """Where the edge goes: beyond the block, or beyond the cloth's place on the table."""
        x, y = rng.uniform(-0.008, 0.008, 2)
        if direction == Direction.FORWARD:
            return np.array([BLOCK_PLACE[0] + x, BLOCK_PLACE[1] + GRIP_TO_MIDDLE + 0.5 * y, 0.024])
        return np.array([CLOTH_PLACE[0] + x, CLOTH_PLACE[1] - GRIP_TO_MIDDLE + y, cloth.RADIUS + GRASP_HEIGHT])

    def half_way_point(self, direction: Direction, rng: np.random.Generator) -> Vector:
        """Where the cloth has some of the block's top under it, not all of it."""
        x, beyond = rng.uniform(-0.008, 0.008), rng.uniform(*HALF_WAY)
        if direction == Direction.BACKWARD:  # the edge that the hand holds is the other one; with less it slides off
            beyond = abs(beyond) - 2.0 * GRIP_TO_MIDDLE
        return np.array([BLOCK_PLACE[0] + x, BLOCK_PLACE[1] + beyond, self.block_height + GRASP_HEIGHT])

    def transfer(self, state: SceneState, direction: Direction, place: Vector) -> Transfer:
        """Grip the edge in its middle; high over the block, low over the table."""
        forward, higher = direction == Direction.FORWARD, self.block_height - BLOCK_HEIGHT
        return Transfer(
            grasp=grasp_point(state, *(LEADING if forward else TRAILING), 0.2),
            place=place,
            hover_height=0.07 + higher,
            carry_height=(0.06 if forward else 0.045) + higher,
            done_height=0.13,
        )
