"""Pot lid: the lid goes on the pot, which stands fast, and off again onto the table."""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np
from robofume_common.enums import Direction
from robofume_common.task import TaskDescription

from robofume_sim import scene
from robofume_sim.robot_model import OBJECT_BIT
from robofume_sim.scene import ARENA_MAX, ARENA_MIN
from robofume_sim.tasks.base import (
    HOME_JOINT_POSITIONS,
    CarryingTask,
    SceneState,
    Transfer,
    Truth,
    Vector,
    is_off,
    is_resting,
    place_within,
    share_reached,
)
from robofume_sim.tasks.nudges import strokes

LID = "lid"
POT_PLACE = (0.285, 0.078)
POT_RADIUS, POT_HEIGHT = 0.046, 0.030
LID_RADIUS, LID_HEIGHT = 0.042, 0.045
KNOB_HEIGHT, KNOB_RADIUS = 0.030, 0.015
GRASP_HEIGHT = 0.034
ON_TOLERANCE = 0.025  # how far from the pot's axis a lid still covers it [m]
FLAT_TILT = 0.06  # rad; a lid that leans on the rim has 0.13 and more
HALF_WAY = (0.027, 0.070)  # how far from the axis it is let go of to end so that it is neither on nor off [m]
ARRANGED = (((0.015, 0.038), POT_HEIGHT + 0.004), ((0.045, 0.080), POT_HEIGHT + 0.004), ((0.080, 0.105), 0.0))
ARRANGED_SHARES = (0.45, 0.33, 0.22)
"""Where a person lays the lid to show the borders: how far from the pot's axis it is let go of [m], and how high."""
TABLE_MIN, TABLE_MAX = (0.222, -0.101), (0.348, -0.030)  # where the lid starts and a script puts it


class PotLid(CarryingTask):
    """Forward: onto the pot. Backward: off it, anywhere on the table."""

    description = TaskDescription(
        name="pot_lid",
        forward_instruction="put the lid on the pot",
        backward_instruction="take the lid off the pot and put it on the table",
        step_limit=25,
        demonstration_step_limit=40,
        action_mask=(True, True, True, False, False, False, True),
        workspace_minimum=(0.17, -0.15, 0.03),
        workspace_maximum=(0.40, 0.15, 0.18),
        home_joint_positions=HOME_JOINT_POSITIONS,
        # by the knob, away from the wall on the right; on the left the pot leaves a lid no room at a wall
        nudge=strokes(
            [((0.17, -0.15), (0.255, -0.065)), ((0.285, -0.15), (0.285, -0.065)), ((0.40, -0.15), (0.315, -0.065))],
            low=0.031,
            high=0.12,
        ),
    )
    object_names = (LID,)
    run_settings = MappingProxyType(  # on few pictures near a border the held-out loss is no guide (docs/trials.md)
        {"scenes": 200, "settings": {"reward_training": {"updates": 2000, "check_every": 2000}}}
    )

    def bodies(self, appearance: scene.Appearance) -> str:
        """The pot, fixed to the table, and the lid: a plate that stands on small feet, with a round knob.

        Fingers feel the knob only: a plate would wedge between them and come home with the hand. The workspace
        keeps them above a lid on the table, and the pot is hollow.
        """
        x, y = POT_PLACE
        metal, dark = scene.rgba(appearance.tray), scene.rgba(appearance.tray, 0.35)
        colour, knob = scene.rgba(appearance.object), scene.rgba(appearance.object, 0.8)
        ears = "".join(
            f'<geom class="visual" type="box" size=".012 .008 .003" pos="{x} {y + side} {POT_HEIGHT - 0.006}" '
            f'rgba="{dark}"/>'
            for side in (POT_RADIUS + 0.006, -POT_RADIUS - 0.006)
        )
        pot = f"""
<geom class="floor" type="cylinder" size="{POT_RADIUS} {POT_HEIGHT / 2}" pos="{x} {y} {POT_HEIGHT / 2}"
      conaffinity="{OBJECT_BIT}" friction=".2 .005 .0001" rgba="{metal}"/>
<geom class="visual" type="cylinder" size="{POT_RADIUS - 0.006} .0005" pos="{x} {y} {POT_HEIGHT}" rgba="{dark}"/>
{ears}"""
        # Spheres under the plate stand for its whole bottom: their contacts are exact, cheap and many.
        feet = "".join(
            f'<geom class="object" type="sphere" size=".005" pos="{r * math.cos(a):.5f} {r * math.sin(a):.5f} .005" '
            f'friction=".2 .005 .0001" rgba="{knob}"/>'
            for r, count in ((LID_RADIUS - 0.005, 8), (0.018, 4))
            for a in (2.0 * math.pi * i / count for i in range(count))
        )
        lid = f"""
{feet}
<geom class="visual" type="cylinder" size="{LID_RADIUS} .004" pos="0 0 .005" rgba="{colour}"/>
<geom class="visual" type="cylinder" size=".006 .008" pos="0 0 .015" rgba="{knob}"/>
<geom class="object" type="sphere" size="{KNOB_RADIUS}" pos="0 0 {KNOB_HEIGHT}" rgba=".95 .80 .15 1"/>
<geom class="grip" type="sphere" size="{KNOB_RADIUS}" pos="0 0 {KNOB_HEIGHT}"/>"""
        return pot + scene.movable(LID, lid, mass=0.05, centre_of_mass_z=0.008, radius=LID_RADIUS, righting=0.03)

    def start(self, direction: Direction, rng: np.random.Generator) -> dict[str, Vector]:
        """The lid on the table (forward) or, not quite centred, on the pot (backward)."""
        if direction == Direction.FORWARD:
            return {LID: place_within(TABLE_MIN, TABLE_MAX, 0.0, rng)}
        dx, dy = rng.uniform(-0.012, 0.012, 2)
        return {LID: np.array([POT_PLACE[0] + dx, POT_PLACE[1] + dy, POT_HEIGHT])}

    def arranged(self, rng: np.random.Generator) -> dict[str, Vector]:
        """The lid just on or just off the middle of the pot, askew on its rim, or on the table right beside it."""
        while True:
            (nearest, furthest), height = ARRANGED[rng.choice(len(ARRANGED), p=ARRANGED_SHARES)]
            angle, apart = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(nearest, furthest)
            place = np.array(POT_PLACE) + apart * np.array([np.cos(angle), np.sin(angle)])
            inside = (place > np.add(ARENA_MIN, LID_RADIUS)) & (place < np.subtract(ARENA_MAX, LID_RADIUS))
            if inside.all():
                return {LID: np.append(place, height)}

    def truth(self, state: SceneState) -> Truth:
        """The lid lies flat, on the pot or on the table, and the open gripper is off it.

        One that lies flat on the table is off the pot however near it is: the pot's wall reaches in between its feet.
        One that leans on the pot's rim is not.
        """
        lid = state.objects[LID]
        released = is_off(state, LID, LID_HEIGHT)
        apart = float(np.hypot(lid.position[0] - POT_PLACE[0], lid.position[1] - POT_PLACE[1]))
        on, off = is_resting(lid, POT_HEIGHT), is_resting(lid, 0.0) and lid.tilt < FLAT_TILT
        covers = max(0.0, apart - ON_TOLERANCE)
        clear = 0.0 if off else max(0.0, POT_RADIUS + LID_RADIUS - apart)
        return Truth(
            forward_success=covers == 0.0 and on and released,
            backward_success=off and released,
            forward_score=share_reached(covers, 0.2, on, released),
            backward_score=share_reached(clear, POT_RADIUS + LID_RADIUS, off, released),
        )

    def place_point(self, direction: Direction, rng: np.random.Generator) -> Vector:
        """The middle of the pot, or anywhere on the free table."""
        if direction == Direction.FORWARD:
            return np.array([*POT_PLACE, POT_HEIGHT + GRASP_HEIGHT + 0.003])
        return place_within(TABLE_MIN, TABLE_MAX, 0.0, rng) + (0.0, 0.0, GRASP_HEIGHT + 0.003)

    def half_way_point(self, direction: Direction, rng: np.random.Generator) -> Vector:  # noqa: ARG002  the same
        """So far beside the pot's axis that the lid lies off-centre on it, or askew on its rim; mostly just too far."""
        nearest, furthest = HALF_WAY
        angle, apart = rng.uniform(0.0, 2.0 * np.pi), nearest + (furthest - nearest) * rng.random() ** 2
        x, y = POT_PLACE[0] + apart * np.cos(angle), POT_PLACE[1] + apart * np.sin(angle)
        return np.array([x, y, POT_HEIGHT + GRASP_HEIGHT + 0.003])

    def transfer(self, state: SceneState, direction: Direction, place: Vector) -> Transfer:  # noqa: ARG002  same both ways
        """Close around the knob; carry the plate over the pot."""
        lid = state.objects[LID].position
        grasp = lid + (0.0, 0.0, GRASP_HEIGHT)
        return Transfer(
            grasp=grasp, place=place, hover_height=lid[2] + 0.078, carry_height=0.098, done_height=lid[2] + 0.11
        )
