"""How a script does the two kinds of tasks: it carries one thing to one place, or sweeps many across a line.

A script says where the gripper should go now; the demonstrator makes it slow and inaccurate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from robofume_common.enums import Direction

from robofume_sim.tasks.base import CarryingTask, SceneState, Stroke, SweepingTask, Transfer, Vector

OPEN, CLOSED = 1.0, 0.0


class Mishap(Enum):
    """What a deliberately failing episode does wrong."""

    MISS = 1  # closes beyond or short of the object, again and again; sweeps over everything
    DROP = 2  # opens soon after the lift, and leaves it at that; ends its first stroke soon
    KEEP = 3  # arrives and never opens, whether it holds something or not; never lifts the brush
    WANDER = 4  # moves about over the scene and leaves the object alone
    HALF_WAY = 5  # puts it down between the two goals, and leaves it at that, where it stays there; spares one or two


@dataclass(frozen=True)
class Episode:
    """What a script has to know of its episode: direction, the place to reach, an offset [m] by which it errs, what it
    does wrong, how far [m] a miss is off, the largest translation of a step [m], and which it spares where it does
    (shares, 0 to 1, of the row of those that it finds)."""

    direction: Direction
    place: Vector
    offset: Vector
    mishap: Mishap | None
    miss: float
    limit: float
    spared: tuple[float, ...] = ()


class Script(ABC):
    """The course of one episode."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode

    @abstractmethod
    def command(self, state: SceneState) -> tuple[Vector, float]:
        """Translation (3,) [m] and gripper opening for what is true now."""

    @abstractmethod
    def hover_height(self, state: SceneState) -> float:
        """Height [m] of the gripper over everything."""

    def towards(self, gripper: Vector, target: Vector, height: float) -> Vector:
        """Across at `height`, and down only over the target."""
        limit = self.episode.limit
        delta: Vector = target - gripper
        across = float(np.abs(delta[:2]).max())
        if across > 0.6 * limit:
            delta[2] = height - gripper[2]
            if gripper[2] < height - 0.03:
                delta[:2] *= 0.3
        return np.clip(delta, -limit, limit)


class Stage(Enum):
    """Where in an episode a script is."""

    REACH = 1
    CLOSE = 2
    CARRY = 3
    OPEN = 4
    RETREAT = 5


class Carrying(Script):
    """Carries the task's object to where the direction wants it, and starts again where it lost it."""

    def __init__(self, task: CarryingTask, episode: Episode) -> None:
        super().__init__(episode)
        self.task = task
        self._stage = Stage.REACH
        self._way = 0.0
        self._waited = 0

    def command(self, state: SceneState) -> tuple[Vector, float]:
        """See the base class."""
        plan = self.task.transfer(state, self.episode.direction, self.episode.place)
        if self.episode.miss:
            # Along x, across which the fingers do not move: beside the object in y a finger would come down on it.
            box = self.task.description
            middle = (box.workspace_minimum[0] + box.workspace_maximum[0]) / 2
            off = (np.copysign(self.episode.miss, middle - plan.grasp[0]), 0.0, 0.0)
            plan = replace(plan, grasp=plan.grasp + off)
        self._advance(state, plan)
        return self._command(state, plan)

    def hover_height(self, state: SceneState) -> float:
        """See the base class."""
        return self.task.transfer(state, self.episode.direction, self.episode.place).hover_height

    def _advance(self, state: SceneState, plan: Transfer) -> None:
        gripper, episode = state.gripper_position, self.episode
        grasp = plan.grasp + episode.offset
        carried = float(np.linalg.norm(gripper - grasp)) < 0.03 + float(np.linalg.norm(episode.offset))
        if self._stage is Stage.REACH and near(gripper, grasp, 0.012, 0.012):
            self._stage = Stage.CLOSE
        elif self._stage is Stage.CLOSE:
            self._stage = Stage.CARRY
            self._way = float(np.linalg.norm((plan.place - plan.grasp)[:2]))
        elif self._stage is Stage.CARRY:
            if self._opens(gripper, plan):
                self._stage = Stage.OPEN
            elif not carried and episode.mishap is not Mishap.KEEP:
                self._stage = Stage.RETREAT
        elif self._stage is Stage.OPEN:
            self._stage, self._waited = Stage.RETREAT, 0
        elif self._stage is Stage.RETREAT:
            self._waited += 1
            there = near(plan.grasp, plan.place, 0.04, 0.02) if plan.done is None else plan.done
            done = episode.mishap in (Mishap.DROP, Mishap.HALF_WAY) or there
            if not done and gripper[2] > plan.done_height - 0.015 and self._waited > 2:
                self._stage = Stage.REACH

    def _opens(self, gripper: Vector, plan: Transfer) -> bool:
        mishap = self.episode.mishap
        if mishap is Mishap.DROP:
            lifted = bool(gripper[2] > plan.carry_height - 0.015)
            return lifted and float(np.linalg.norm((plan.place - plan.grasp)[:2])) > 0.6 * self._way
        return mishap is not Mishap.KEEP and near(plan.grasp, plan.place, 0.02, 0.01)

    def _command(self, state: SceneState, plan: Transfer) -> tuple[Vector, float]:
        gripper, limit = state.gripper_position, self.episode.limit
        if self._stage is Stage.REACH:
            return self.towards(gripper, plan.grasp + self.episode.offset, plan.hover_height), OPEN
        if self._stage is Stage.CLOSE:
            return np.zeros(3), CLOSED
        if self._stage is Stage.CARRY:
            # Bring the object there, wherever in the hand it hangs.
            return self.towards(gripper, gripper + plan.place - plan.grasp, plan.carry_height), CLOSED
        if self._stage is Stage.OPEN:
            return np.zeros(3), OPEN
        return np.array([0.0, 0.0, np.clip(plan.done_height - gripper[2], -limit, limit)]), OPEN


class Sweeping(Script):
    """One stroke after another, until nothing is left to sweep; the hand is open all the time."""

    def __init__(self, task: SweepingTask, episode: Episode) -> None:
        super().__init__(episode)
        self.task = task
        self._stage = Stage.RETREAT
        self._stroke: Stroke | None = None
        self._strokes = 0
        self._height = task.description.workspace_maximum[2]
        self._spared: tuple[str, ...] | None = None

    def command(self, state: SceneState) -> tuple[Vector, float]:
        """See the base class."""
        self._advance(state)
        gripper, limit = state.gripper_position, self.episode.limit
        if self._stage is Stage.REACH and self._stroke is not None:
            return self.towards(gripper, self._stroke.begin, self._stroke.hover_height), OPEN
        if self._stage is Stage.CARRY and self._stroke is not None:
            return np.clip(self._stroke.end - gripper, -limit, limit), OPEN
        up = self._height if self.episode.mishap is not Mishap.KEEP else 0.0
        return np.array([0.0, 0.0, np.clip(max(up - gripper[2], 0.0), 0.0, limit)]), OPEN

    def hover_height(self, state: SceneState) -> float:  # noqa: ARG002  the same wherever the sweets are
        """See the base class."""
        return self._height

    def _advance(self, state: SceneState) -> None:
        gripper, mishap = state.gripper_position, self.episode.mishap
        if self._stage is Stage.RETREAT:
            over = mishap is Mishap.KEEP or gripper[2] > self._height - 0.01 or self._strokes == 0
            given_up = mishap in (Mishap.DROP, Mishap.KEEP) and self._strokes > 0
            stroke = self.task.stroke(state, self.episode.direction, self.episode.place, self._to_spare(state))
            if stroke is not None and over and not given_up:
                self._begin(stroke)
        elif self._stroke is None:
            self._stage = Stage.RETREAT
        elif self._stage is Stage.REACH and near(gripper, self._stroke.begin, 0.012, 0.012):
            self._stage = Stage.CARRY
        elif self._stage is Stage.CARRY and near(gripper, self._stroke.end, 0.012, 0.02):
            self._stage = Stage.RETREAT

    def _to_spare(self, state: SceneState) -> tuple[str, ...]:
        """Those that this episode spares, once chosen always the same."""
        if self._spared is None:
            left = self.task.left(state, self.episode.direction)
            self._spared = tuple(left[int(share * len(left))] for share in self.episode.spared if left)
        return self._spared

    def _begin(self, stroke: Stroke) -> None:
        """Take the next stroke, spoilt by the imperfection of the episode."""
        episode = self.episode
        begin, end = stroke.begin + (episode.offset[0], 0.0, 0.0), stroke.end + (episode.offset[0], 0.0, 0.0)
        if episode.mishap is Mishap.MISS:
            begin, end = begin + (0.0, 0.0, episode.miss), end + (0.0, 0.0, episode.miss)
        elif episode.mishap is Mishap.DROP:
            end = begin + 0.3 * (end - begin)
        self._stroke = Stroke(begin, end, max(stroke.hover_height, float(begin[2])))
        self._height = self._stroke.hover_height
        self._stage = Stage.REACH
        self._strokes += 1


def near(position: Vector, target: Vector, across: float, height: float) -> bool:
    """Whether a point is within `across` [m] of another on the table, and within `height` [m] above or below."""
    apart = position - target
    return float(np.hypot(apart[0], apart[1])) < across and abs(float(apart[2])) < height
