"""Candy sweeping: a handful of sweets is swept into the tray, and out again onto the table."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from robofume_common.enums import Direction
from robofume_common.task import TaskDescription

from robofume_sim import scene
from robofume_sim.robot_model import GRIPPER_IN_LINK, OBJECT_BIT
from robofume_sim.tasks.base import (
    HOME_JOINT_POSITIONS,
    Hand,
    SceneState,
    Stroke,
    SweepingTask,
    Truth,
    Vector,
    is_resting,
)
from robofume_sim.tasks.nudges import strokes

SWEETS = tuple(f"sweet_{i}" for i in range(5))
RADIUS = 0.011
LINE = 0.008  # how far behind the middle of the table the centre of a sweet counts as swept [m]
SUCCESS_SHARE = 0.9  # of the sweets, for a success: of five, all
APART = 0.028  # between two sweets at the start [m]
TRAY_MIN, TRAY_MAX = (0.190, 0.035), (0.380, 0.125)  # where the sweets start backward: all of it
TABLE_MIN, TABLE_MAX = (0.190, -0.125), (0.380, -0.035)  # and forward
LEFT_OVER, LEFT_OVER_SHARES = (0, 1, 2), (0.4, 0.4, 0.2)  # how many sweets of an arranged scene are not swept
LEFT_SHORT_SHARE, LEFT_SHORT = 0.4, 0.028  # how many of these lie so far [m] before the line at most,
AT_WALL_SHARE, AT_WALL = 0.4, 0.014  # and how many so far from a wall, where practice pushes them sooner or later
UNCLEAR = 0.003  # so far [m] from the line an eye cannot tell, and nothing is arranged

BRUSH_BELOW_GRIPPER = 0.040  # m, its lower edge
BRUSH_HALF_WIDTH, BRUSH_HALF_THICKNESS, BRUSH_HALF_HEIGHT = 0.055, 0.003, 0.016
SWEEP_HEIGHT = 0.044  # of the gripper [m]; the workspace ends a millimetre below
UP_HEIGHT = BRUSH_BELOW_GRIPPER + 2.0 * RADIUS + 0.01  # of the gripper: the brush is clearly off the sweets
HOVER_HEIGHT = UP_HEIGHT + 0.012
PAST = BRUSH_HALF_WIDTH + RADIUS + 0.004  # how far from the brush's middle a sweet is that it passes [m]
BEHIND = 0.035  # how far behind the last sweet a stroke begins [m]
STROKE_ENDS = (0.045, 0.075)  # how far beyond the middle [m]


class CandySweeping(SweepingTask):
    """Forward: all sweets into the tray (left half, y > 0). Backward: all out of it onto the table (right half).

    The gripper holds a brush all the time, open, as if it were clamped between the fingers: the policy moves it in
    x, y and z, and opens and closes nothing. It gives way upwards, so that a sweet under it is not crushed.
    """

    description = TaskDescription(
        name="candy_sweeping",
        forward_instruction="sweep the candy into the tray",
        backward_instruction="sweep the candy out of the tray onto the table",
        step_limit=60,
        demonstration_step_limit=80,
        # stroke by stroke the sweets end up at one side: a script leaves them at the far one, a policy at the near one;
        # an odd number, so that both directions are seen to begin where the other one has just succeeded
        demonstrations_per_scene=3,
        action_mask=(True, True, True, False, False, False, False),
        workspace_minimum=(0.17, -0.165, 0.043),
        workspace_maximum=(0.40, 0.165, 0.18),
        home_joint_positions=HOME_JOINT_POSITIONS,
        # with the brush, from both walls towards the middle, and not over it
        nudge=strokes(
            [((x, side * 0.165), (x, side * 0.06)) for side in (1, -1) for x in (0.235, 0.335)],
            low=SWEEP_HEIGHT,
            high=HOVER_HEIGHT,
        ),
        released_at_success=False,
    )
    object_names = SWEETS
    tool_names = ("brush",)
    hand = Hand(action_noise=0.2, grasp_offset=0.012, speed=0.43)
    in_gazebo = False
    run_settings = MappingProxyType(  # its judge has to know a single sweet that is left over, anywhere
        {
            "image_size": 96,  # with 64 a sweet is two pixels wide, and overlooked (docs/trials.md)
            "demonstrations": 50,
            "failures": 400,
            "scenes": 900,
            # Filtered, imitation forgets how the demonstrations sweep. A goal is reached by several strokes, of which
            # each is progress: without that signal practice learns little (docs/trials.md).
            "settings": {
                "reward_training": {"updates": 4000},
                "agent": {"imitation_filter": False},
                "learner": {"progress_weight": 10.0},
            },
        }
    )

    def bodies(self, appearance: scene.Appearance) -> str:
        """The tray, which is a plate without a rim, and the sweets: balls in twisted paper that slide, hardly roll."""
        colours = (scene.rgba(appearance.object), scene.rgba((0.95, 0.80, 0.15)))
        return scene.half_plate(appearance) + "".join(_sweet(n, colours[i % 2]) for i, n in enumerate(SWEETS))

    def tool(self, appearance: scene.Appearance) -> str:
        """The brush: a blade across x on a short handle, on a spring."""
        bottom = GRIPPER_IN_LINK + BRUSH_BELOW_GRIPPER
        middle = bottom - BRUSH_HALF_HEIGHT
        blade = f'type="box" size="{BRUSH_HALF_HEIGHT} {BRUSH_HALF_THICKNESS} {BRUSH_HALF_WIDTH}" pos="{middle} 0 0"'
        edge = scene.rgba(appearance.edge)
        return f"""
<body name="brush" gravcomp="1">
  <joint name="brush" type="slide" axis="1 0 0" range="-.03 0" stiffness="100" springref=".02" damping="3"/>
  <inertial pos="{middle} 0 0" mass=".03" diaginertia="1e-5 1e-5 1e-5"/>
  <geom {blade} contype="0" conaffinity="{OBJECT_BIT}" priority="1" friction=".15 .005 .0001" rgba="{edge}"/>
  <geom class="visual" type="box" size=".016 .030 .007" pos="{middle - BRUSH_HALF_HEIGHT - 0.012} 0 0" rgba="{edge}"/>
</body>"""

    def start(self, direction: Direction, rng: np.random.Generator) -> dict[str, Vector]:
        """The sweets scattered on the table (forward) or in the tray (backward), none on another."""
        lower, upper = (TABLE_MIN, TABLE_MAX) if direction == Direction.FORWARD else (TRAY_MIN, TRAY_MAX)
        return _apart([(lower, upper)] * len(SWEETS), rng)

    def arranged(self, rng: np.random.Generator) -> dict[str, Vector]:
        """The sweets swept to one side, all of them or all but one or two, which lie just short of the line, at a wall
        or anywhere on the other side."""
        (left, low), (right, high) = np.add(scene.ARENA_MIN, RADIUS), np.subtract(scene.ARENA_MAX, RADIUS)
        swept = ((left, LINE + UNCLEAR), (right, high))
        remaining = rng.choice(LEFT_OVER, p=LEFT_OVER_SHARES)
        parts = [
            ((left, LINE - LEFT_SHORT), (right, LINE - UNCLEAR)),
            ((left, low), (right, low + AT_WALL)),
            ((left, low), (left + AT_WALL, LINE - UNCLEAR)),
            ((right - AT_WALL, low), (right, LINE - UNCLEAR)),
            ((left, low), (right, LINE - UNCLEAR)),
        ]
        anywhere = 1.0 - LEFT_SHORT_SHARE - AT_WALL_SHARE
        shares = (LEFT_SHORT_SHARE, AT_WALL_SHARE / 2, AT_WALL_SHARE / 4, AT_WALL_SHARE / 4, anywhere)
        beyond = [parts[part] for part in rng.choice(len(parts), remaining, p=shares)]
        places = _apart([*beyond, *[swept] * (len(SWEETS) - remaining)], rng)
        turned = dict(zip(rng.permutation(SWEETS), places.values(), strict=True))  # any of them may be left
        side = rng.choice((-1.0, 1.0))
        return {str(name): place * (1.0, side, 1.0) for name, place in turned.items()}

    def truth(self, state: SceneState) -> Truth:
        """The score is the share of sweets behind the line; success is SUCCESS_SHARE, all still, the brush up."""
        sweets = [state.objects[name] for name in SWEETS]
        across = np.array([sweet.position[1] for sweet in sweets])
        forward, backward = float(np.mean(across >= LINE)), float(np.mean(across <= -LINE))
        over = state.gripper_position[2] > UP_HEIGHT and all(is_resting(sweet, 0.0) for sweet in sweets)
        return Truth(
            forward_success=forward >= SUCCESS_SHARE and over,
            backward_success=backward >= SUCCESS_SHARE and over,
            forward_score=forward,
            backward_score=backward,
        )

    def place_point(self, direction: Direction, rng: np.random.Generator) -> Vector:
        """Where strokes end: a line well beyond the middle; x does not count."""
        return np.array([0.0, (1.0 if direction == Direction.FORWARD else -1.0) * rng.uniform(*STROKE_ENDS), 0.0])

    def left(self, state: SceneState, direction: Direction) -> list[str]:
        """Those not yet clearly behind the line."""
        sign = 1.0 if direction == Direction.FORWARD else -1.0
        return [name for name in SWEETS if sign * state.objects[name].position[1] < LINE + 0.012]

    def stroke(
        self, state: SceneState, direction: Direction, place: Vector, spared: tuple[str, ...] = ()
    ) -> Stroke | None:
        """Along the lane with most sweets to sweep, from behind the last of them."""
        sign = 1.0 if direction == Direction.FORWARD else -1.0
        left = np.array([state.objects[n].position[:2] for n in self.left(state, direction) if n not in spared])
        if len(left) == 0:
            return None
        lower, upper = self.description.workspace_minimum, self.description.workspace_maximum
        lanes = np.append(left[:, 0], left[:, 0].mean())
        lanes = np.append(lanes, (lanes[:, None] / 2 + lanes / 2).ravel())  # between any two of them as well
        for x in (state.objects[name].position[0] for name in spared):
            lanes = np.append(lanes, (x - PAST, x + PAST))
            lanes = lanes[np.abs(lanes - x) >= PAST - 1e-9]
        lanes = lanes[(lanes > lower[0] + 0.01) & (lanes < upper[0] - 0.01)]
        if len(lanes) == 0:
            return None
        apart = np.abs(lanes[:, None] - left[:, 0])
        swept = (apart < BRUSH_HALF_WIDTH - 0.012).sum(axis=1)
        # of equally good lanes the one whose sweets are nearest to its middle: they slip off the ends of the brush
        best = int(np.argmax(swept - apart.min(axis=1) - 0.1 * apart.max(axis=1, where=apart < 0.055, initial=0.0)))
        met = left[apart[best] < BRUSH_HALF_WIDTH + RADIUS]
        if len(met) == 0:
            return None
        behind = (sign * met[:, 1]).min() - BEHIND
        x = float(lanes[best])
        begin = float(np.clip(sign * behind, lower[1] + 0.003, upper[1] - 0.003))
        return Stroke(np.array([x, begin, SWEEP_HEIGHT]), np.array([x, place[1], SWEEP_HEIGHT]), HOVER_HEIGHT)


def _apart(
    rectangles: Sequence[tuple[Sequence[float], Sequence[float]]], rng: np.random.Generator
) -> dict[str, Vector]:
    """A place on the table for each sweet inside its rectangle, least and greatest x, y [m]; none on another."""
    places: list[Vector] = []
    while len(places) < len(SWEETS):
        place = np.array([*rng.uniform(*rectangles[len(places)]), 0.0])
        if all(np.hypot(*(place - other)[:2]) > APART for other in places):
            places.append(place)
    return dict(zip(SWEETS, places, strict=True))


def _sweet(name: str, colour: str) -> str:
    """A ball of sugar; the ends of its paper are to be seen only."""
    paper = "".join(
        f'<geom class="visual" type="cylinder" size=".006 .004" pos="{side * 0.013} 0 {RADIUS}" '
        f'euler="0 1.5708 0" rgba="{colour}"/>'
        for side in (-1, 1)
    )
    ball = (
        f'<geom class="object" type="sphere" size="{RADIUS}" pos="0 0 {RADIUS}" solref=".008 1" '
        f'solimp=".98 .999 .001" rgba="{colour}"/>'
    )
    return scene.movable(name, ball + paper, mass=0.015, centre_of_mass_z=0.008, radius=RADIUS, righting=0.01)
