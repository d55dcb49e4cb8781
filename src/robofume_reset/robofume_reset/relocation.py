"""Relocation: after a success in practice the arm puts what the policy has just put down at another place.

A policy that practises alone puts things where its shortest way ends, begins the other direction there, and forgets
the rest of the table: of one that moves a pot, 82% of the starts lay in the nearest third and none in the farthest,
from where it then succeeded 5 times in 25 (docs/trials.md, "Where practice starts"). Practice without resets needs
something that spreads its starts (the perturbation controller of Zhu et al., The Ingredients of Real-World Robotic
Reinforcement Learning, arXiv 2004.12570). Here that is a script: the hand goes back to where it let go, closes, and
carries what is there to a place drawn at random.
"""

import math
import random
from dataclasses import dataclass

from robofume_common.enums import Direction
from robofume_common.parameters import setting
from robofume_common.task import check_zone

RELOCATE = "put it down elsewhere"
"""Instruction of an episode that relocates."""
BESIDE = 0.02
"""How far [m] outside of the zone something may have been let go and is still carried into it."""
OPEN, CLOSED = 1.0, 0.0
PAUSE = 2
"""Steps in which the hand closes without moving: it must hold before it lifts."""

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

    def __post_init__(self) -> None:
        for name in ("relocate_forward", "relocate_backward"):
            check_zone(name, getattr(self, name))

    def zone(self, direction: Direction) -> tuple[float, ...]:
        """Where the object may be put after a success in this direction; empty: nowhere."""
        return {
            Direction.FORWARD: self.relocate_forward,
            Direction.BACKWARD: self.relocate_backward,
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
    draw = random.Random(f"relocation {number}")
    if draw.random() >= config.relocate_share:
        return ()
    x, y = draw.uniform(zone[0], zone[2]), draw.uniform(zone[1], zone[3])
    low, high = held_at[2], held_at[2] + config.relocate_lift
    actions: list[float] = []
    for target, opening, least in (
        ((held_at[0], held_at[1], high), OPEN, 0),
        (held_at, OPEN, 0),
        (held_at, CLOSED, PAUSE),
        ((held_at[0], held_at[1], high), CLOSED, 0),
        ((x, y, high), CLOSED, 0),
        ((x, y, low), CLOSED, 0),
        ((x, y, low), OPEN, 1),
        ((x, y, high), OPEN, 0),
    ):
        way = [end - begin for begin, end in zip(here, target, strict=True)]
        count = max(least, math.ceil(max(map(abs, way)) / config.relocate_step - 1e-9))
        for _ in range(count):
            actions += [*(axis / count for axis in way), 0.0, 0.0, 0.0, opening]
        here = target
    return tuple(actions)
