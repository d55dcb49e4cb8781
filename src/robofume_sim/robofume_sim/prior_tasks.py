"""Tasks of another institution: other objects, goals and sentences, under another camera, on another table, in another
light. What a policy is trained on beside the demonstrations of its own task, as on Bridge (arXiv 2109.13396) in
RoboFuME (arXiv 2310.15145)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from robofume_sim import scene
from robofume_sim.scene import Appearance, Colour, Point
from robofume_sim.tasks.pot_pick_and_place import PotPickAndPlace, Zone
from robofume_sim.tasks.pot_plates import plate
from robofume_sim.world import World, WorldConfig

ELSEWHERE = Appearance(
    background=(0.27, 0.30, 0.25),
    table=(0.50, 0.38, 0.28),
    edge=(0.30, 0.30, 0.32),
    light=0.82,
    light_position=(0.05, -0.7, 1.3),
    camera_position=(0.64, -0.27, 0.50),
    camera_target=(0.27, -0.01, 0.05),
    camera_field_of_view=40.0,
    texture="gradient",
    texture_contrast=0.25,
)
"""The other institution. Its camera looks from the arm's right, 30 cm from where the suite's own stands."""

CLOSE, OUTER = 0.012, 0.130
RIGHT: Zone = ((0.190, -OUTER), (0.380, -0.060))
MIDDLE: Zone = ((0.190, -0.038), (0.380, 0.038))
LEFT: Zone = ((0.190, 0.060), (0.380, OUTER))
NEAR: Zone = ((0.190, -OUTER), (0.260, OUTER))
FAR: Zone = ((0.310, -OUTER), (0.380, OUTER))
NEAR_LEFT, NEAR_RIGHT = ((0.190, 0.030), (0.270, OUTER)), ((0.190, -OUTER), (0.270, -0.030))
FAR_LEFT, FAR_RIGHT = ((0.300, 0.030), (0.380, OUTER)), ((0.300, -OUTER), (0.380, -0.030))


@dataclass(frozen=True)
class Variant:
    """One prior task: an object goes from `start`, where it stands on the bare table, to the plate at `goal`."""

    name: str
    thing: str
    """One of THINGS."""
    colour: Colour
    plate_colour: Colour
    start: Zone
    goal: Zone
    forward: str
    backward: str


GREEN, BLUE, YELLOW, WHITE = (0.20, 0.60, 0.25), (0.15, 0.25, 0.75), (0.90, 0.75, 0.15), (0.92, 0.92, 0.90)
ORANGE, BLACK, PURPLE, PINK = (0.92, 0.48, 0.10), (0.12, 0.12, 0.13), (0.48, 0.22, 0.62), (0.92, 0.55, 0.65)
RED, BROWN, GREY, TEAL = (0.80, 0.12, 0.12), (0.42, 0.25, 0.14), (0.50, 0.52, 0.55), (0.10, 0.52, 0.52)

VARIANTS = (
    Variant("blue_block_left", "block", BLUE, GREEN, RIGHT, LEFT,
            "put the blue block on the green plate", "take the blue block off the green plate"),
    Variant("yellow_can_right", "can", YELLOW, WHITE, LEFT, RIGHT,
            "put the yellow can on the white plate", "take the yellow can off the white plate"),
    Variant("green_ball_far", "ball", GREEN, GREY, NEAR, FAR,
            "move the green ball to the far side of the table", "bring the green ball back to the near side"),
    Variant("white_cup_left", "cup", WHITE, TEAL, MIDDLE, LEFT,
            "put the white cup on the plate on the left", "put the white cup back in the middle of the table"),
    Variant("orange_pot_near", "pot", ORANGE, BLUE, FAR, NEAR,
            "bring the orange pot to the near side of the table", "push the orange pot back to the far side"),
    Variant("black_block_middle", "block", BLACK, YELLOW, LEFT, MIDDLE,
            "put the black block on the yellow plate in the middle", "move the black block to the left side"),
    Variant("purple_can_corner", "can", PURPLE, WHITE, NEAR_RIGHT, FAR_LEFT,
            "move the purple can to the far left corner", "move the purple can to the near right corner"),
    Variant("red_ball_corner", "ball", RED, GREY, FAR_RIGHT, NEAR_LEFT,
            "move the red ball to the near left corner", "move the red ball to the far right corner"),
    Variant("green_pot_right", "pot", GREEN, PINK, LEFT, RIGHT,
            "put the green pot on the pink plate", "take the green pot off the pink plate"),
    Variant("brown_cup_right", "cup", BROWN, YELLOW, MIDDLE, RIGHT,
            "put the brown cup on the plate on the right", "put the brown cup back in the middle"),
    Variant("pink_block_across", "block", PINK, TEAL, NEAR_LEFT, NEAR_RIGHT,
            "move the pink block to the teal plate", "move the pink block from the teal plate to the left"),
    Variant("grey_can_across", "can", GREY, ORANGE, FAR_LEFT, FAR_RIGHT,
            "put the grey can on the orange plate", "take the grey can off the orange plate"),
)  # fmt: skip
"""Twelve, none of which is a task of the suite."""


def _block(colour: str, rim: str) -> str:
    return (
        f'<geom class="visual" type="box" size=".019 .019 .022" pos="0 0 .024" rgba="{colour}"/>'
        f'<geom class="visual" type="box" size=".0192 .0192 .002" pos="0 0 .044" rgba="{rim}"/>'
    )


def _can(colour: str, rim: str) -> str:
    return (
        f'<geom class="visual" type="cylinder" size=".0215 .023" pos="0 0 .024" rgba="{colour}"/>'
        f'<geom class="visual" type="cylinder" size=".018 .0005" pos="0 0 .0475" rgba="{rim}"/>'
    )


def _cup(colour: str, rim: str) -> str:
    return (
        f'<geom class="visual" type="cylinder" size=".0215 .019" pos="0 0 .026" rgba="{colour}"/>'
        f'<geom class="visual" type="cylinder" size=".0175 .0005" pos="0 0 .0455" rgba="{rim}"/>'
        f'<geom class="visual" type="capsule" size=".003" fromto=".021 0 .034 .029 0 .026" rgba="{colour}"/>'
    )


THINGS: dict[str, Callable[[str, str], str]] = {"block": _block, "can": _can, "cup": _cup,
                                                "ball": lambda *_: "", "pot": lambda *_: ""}  # fmt: skip
"""What is drawn around the round belly that the fingers close on; a ball is that belly, a pot is the suite's."""


class PriorTask(PotPickAndPlace):
    """Forward: onto the plate. Backward: back to where it came from."""

    in_gazebo = False
    start_margin = CLOSE
    leaning = 0.0
    border_share = 0.0  # a painted plate has no edge that holds anything

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.zones = (variant.start, variant.goal)
        self.description = replace(
            PotPickAndPlace.description,
            name=variant.name,
            forward_instruction=variant.forward,
            backward_instruction=variant.backward,
        )

    def bodies(self, appearance: scene.Appearance) -> str:
        """The plate, painted on the table, and the object."""
        return plate(self.variant.goal, scene.rgba(appearance.tray)) + self._thing(appearance)

    def _thing(self, appearance: scene.Appearance) -> str:
        if self.variant.thing == "pot":
            return self.pot(appearance)
        colour, rim = scene.rgba(appearance.object), scene.rgba(appearance.object, 0.7)
        return self.weighted(appearance, THINGS[self.variant.thing](colour, rim))


def look(variant: Variant, seed: int) -> Appearance:
    """The other institution's, with the variant's colours; camera and light differ a little from day to day."""
    rng = np.random.default_rng([seed, 3, VARIANTS.index(variant)])

    def near(place: Point, spread: float) -> Point:
        x, y, z = np.asarray(place) + rng.uniform(-spread, spread, 3)
        return (float(x), float(y), float(z))

    return replace(
        ELSEWHERE,
        object=variant.colour,
        tray=variant.plate_colour,
        camera_position=near(ELSEWHERE.camera_position, 0.02),
        camera_target=near(ELSEWHERE.camera_target, 0.01),
        light=float(ELSEWHERE.light * rng.uniform(0.9, 1.1)),
        light_position=near(ELSEWHERE.light_position, 0.2),
    )


def make_world(variant: Variant, seed: int) -> World:
    """The world of a variant."""
    return World(PriorTask(variant), WorldConfig(seed=seed, appearance=look(variant, seed)))
