"""Relocation: after a success in practice the arm puts what the policy has just put down at another place.

A policy that practises alone puts things where its shortest way ends, begins the other direction there, and forgets
the rest of the table: of one that moves a pot, 82% of the starts lay in the nearest third and none in the farthest,
from where it then succeeded 5 times in 25 (docs/results.md, "Where practice starts"). Practice without resets needs
something that spreads its starts (the perturbation controller of Zhu et al., The Ingredients of Real-World Robotic
Reinforcement Learning, arXiv 2004.12570). Here that is a script: the hand goes back to where it let go, closes, and
carries what is there to a place drawn at random. What is swept and not carried is pushed about by strokes instead.
"""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass

from robofume_common.enums import Direction
from robofume_common.parameters import setting
from robofume_common.task import STROKE, check_stroke, check_zone

RELOCATE = "put it down elsewhere"
"""Instruction of an episode that relocates."""
BESIDE = 0.02
"""How far [m] outside of the zone something may have been let go and is still carried into it."""
OPEN, CLOSED = 1.0, 0.0
PAUSE = 2
"""Steps in which the hand closes without moving: it must hold before it lifts."""
STROKES = 2
"""Of a scattering."""

Place = tuple[float, float, float]


@dataclass(frozen=True)
class RelocationConfig:
    """Settings of the relocation."""

    relocate_share: float = setting(
        0.5, "share of the successes of practice after which the object is put down elsewhere", minimum=0.0, maximum=1.0
    )
    relocate_forward: tuple[float, ...] = setting(
        (), "least x, least y, greatest x, greatest y [m] of the hand there after a success forward; empty: nowhere"
    )
    relocate_backward: tuple[float, ...] = setting((), "the same after a success backward")
    relocate_lift: float = setting(0.05, "how high it is lifted on the way", unit="m", minimum=0.01, maximum=0.3)
    relocate_step: float = setting(
        0.05, "largest way of the hand along each axis in a step of it", unit="m", minimum=0.005, maximum=0.2
    )

    scatter_forward: tuple[float, ...] = setting(
        (), f"strokes that push about what a success forward has swept: {STROKE} [m] of the hand; empty: none"
    )
    scatter_backward: tuple[float, ...] = setting((), "the same after a success backward")
    scatter_step: float = setting(
        0.03, "largest way of the hand along each axis in a step of a stroke", unit="m", minimum=0.005, maximum=0.2
    )

    def __post_init__(self) -> None:
        for name in ("relocate_forward", "relocate_backward"):
            check_zone(name, getattr(self, name))
        for name in ("scatter_forward", "scatter_backward"):
            check_stroke(name, getattr(self, name))

    def zone(self, direction: Direction) -> tuple[float, ...]:
        """Where the object may be put after a success in this direction; empty: nowhere."""
        return {
            Direction.FORWARD: self.relocate_forward,
            Direction.BACKWARD: self.relocate_backward,
        }.get(direction, ())


    def stroke(self, direction: Direction) -> tuple[float, ...]:
        """Of a scattering after a success in this direction; empty: none."""
        return {
            Direction.FORWARD: self.scatter_forward,
            Direction.BACKWARD: self.scatter_backward,
        }.get(direction, ())


def relocation(
    config: RelocationConfig, direction: Direction, here: Place, held_at: Place, number: int
) -> tuple[float, ...]:
    """Actions of a relocation, seven values each, one after the other; empty: none is due.

    Arguments:
        here: the hand [m] as the script begins.
        held_at: where the hand last had the object between its fingers, before the success.
        number: of the episode; whether one is due, and where to, follow from it.
    """
    zone = config.zone(direction)
    if not zone or not (
        zone[0] - BESIDE <= held_at[0] <= zone[2] + BESIDE and zone[1] - BESIDE <= held_at[1] <= zone[3] + BESIDE
    ):
        return ()
    draw = _due(config, number)
    if draw is None:
        return ()
    x, y = draw.uniform(zone[0], zone[2]), draw.uniform(zone[1], zone[3])
    low, high, step = held_at[2], held_at[2] + config.relocate_lift, config.relocate_step
    return _script(
        here,
        (
            _Way((held_at[0], held_at[1], high), OPEN, step),
            _Way(held_at, OPEN, step),
            _Way(held_at, CLOSED, step, PAUSE),
            _Way((held_at[0], held_at[1], high), CLOSED, step),
            _Way((x, y, high), CLOSED, step),
            _Way((x, y, low), CLOSED, step),
            _Way((x, y, low), OPEN, step, 1),
            _Way((x, y, high), OPEN, step),
        ),
    )


def scattering(config: RelocationConfig, direction: Direction, here: Place, number: int) -> tuple[float, ...]:
    """Actions of a scattering, as `relocation` gives them: strokes along y, each at an x and to a y drawn at random."""
    stroke = config.stroke(direction)
    draw = _due(config, number) if stroke else None
    if draw is None:
        return ()
    least, greatest, begin, nearest, furthest, low, high = stroke
    ways: list[_Way] = []
    for _ in range(STROKES):
        x, end = draw.uniform(least, greatest), draw.uniform(nearest, furthest)
        ways += (
            _Way((x, begin, high), CLOSED, config.relocate_step),
            _Way((x, begin, low), CLOSED, config.relocate_step),
            _Way((x, end, low), CLOSED, config.scatter_step),
            _Way((x, end, high), CLOSED, config.relocate_step),
        )
    return _script(here, ways)


def _due(config: RelocationConfig, number: int) -> random.Random | None:
    """What a script after the episode of that number draws from; None where it has none."""
    draw = random.Random(f"relocation {number}")
    return draw if draw.random() < config.relocate_share else None


@dataclass(frozen=True)
class _Way:
    """Straight to a place, with the gripper so far open, in steps of that size [m] along each axis at most."""

    place: Place
    opening: float
    step: float
    at_least: int = 0


def _script(here: Place, ways: Iterable[_Way]) -> tuple[float, ...]:
    actions: list[float] = []
    for way in ways:
        apart = [end - begin for begin, end in zip(here, way.place, strict=True)]
        count = max(way.at_least, math.ceil(max(map(abs, apart)) / way.step - 1e-9))
        for _ in range(count):
            actions += [*(axis / count for axis in apart), 0.0, 0.0, 0.0, way.opening]
        here = way.place
    return tuple(actions)
