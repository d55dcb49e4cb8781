"""What a simulated task is: its description, its bodies, its starts, its truth, and how a script would do it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_common.task import TaskDescription

from robofume_sim.robot_model import FINGERTIP_BELOW_GRIPPER
from robofume_sim.scene import ARENA_MAX, ARENA_MIN, Appearance
from robofume_sim.variations import Build

HOME_JOINT_POSITIONS = (0.0, -0.3044, 0.4469, 0.0, 1.4283, 0.0)
"""Home of tabletop tasks [rad]: gripper straight down at (0.22, 0, 0.17), drawn back to let the camera see."""

LEANING_TILT = 0.2
"""rad; what stands with its foot half on a low ridge leans so much, and more than that is not standing."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ObjectState:
    """One movable object: position (3,) [m], quaternion (4,) w x y z, linear velocity (3,) [m/s], and whether a
    finger touches it."""

    position: Vector
    quaternion: Vector
    velocity: Vector
    touched: bool

    @property
    def tilt(self) -> float:
        """Angle [rad] between the object's own up and the world's up."""
        _, x, y, _ = self.quaternion
        return float(np.arccos(np.clip(1.0 - 2.0 * (x * x + y * y), -1.0, 1.0)))


@dataclass(frozen=True)
class SceneState:
    """What is true about the world now: gripper position (3,) [m], objects by name.

    Where there is a cloth: its vertices (V, 3) [m], its triangles (T, 3) of vertices, and whether the hand holds it.
    Scripts do without them.
    """

    gripper_position: Vector
    objects: dict[str, ObjectState]
    cloth: Vector = field(default_factory=lambda: np.zeros((0, 3)))
    triangles: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    held: bool = False


@dataclass(frozen=True)
class Truth:
    """Whether each direction's goal is reached, and which share of it (0 .. 1)."""

    forward_success: bool
    backward_success: bool
    forward_score: float
    backward_score: float

    def success(self, direction: Direction) -> bool:
        """Whether the goal of `direction` is reached."""
        return self.forward_success if direction == Direction.FORWARD else self.backward_success

    def score(self, direction: Direction) -> float:
        """Which share of the goal of `direction` is reached."""
        return self.forward_score if direction == Direction.FORWARD else self.backward_score


@dataclass(frozen=True)
class Transfer:
    """How a script carries an object: positions of the gripper [m], and the heights it moves at.

    `grasp` is where to close (it follows the object), `place` where to open. `done`: whether nothing is left to do;
    None where that follows from the object being at its place.
    """

    grasp: Vector
    place: Vector
    hover_height: float
    carry_height: float
    done_height: float
    done: bool | None = None


@dataclass(frozen=True)
class Stroke:
    """How a script sweeps: down behind the things at `begin`, across to `end`, both (3,) [m] of the gripper, and up to
    `hover_height` on the way to the next stroke."""

    begin: Vector
    end: Vector
    hover_height: float


@dataclass(frozen=True)
class Hand:
    """How imperfect a demonstrator of the task is: `action_noise` as a share of the largest step, `grasp_offset` [m],
    how far beside the right place it grasps or sweeps, and `speed`, the largest step that it takes as a share of the
    largest that the arm can take.

    People guide an arm more slowly than it can move, and are given more time
    (`TaskDescription.demonstration_step_limit`); a policy that only imitates them does not become faster.
    """

    action_noise: float
    grasp_offset: float
    speed: float = 1.0


class SimulatedTask(ABC):
    """One task in the simulation: a forward and a backward instruction over the same objects."""

    description: TaskDescription
    object_names: tuple[str, ...]
    tool_names: tuple[str, ...] = ()
    """Bodies that the gripper holds all the time."""
    hand = Hand(action_noise=0.2, grasp_offset=0.012, speed=0.3)
    in_gazebo = True
    """Whether Gazebo Classic can simulate it: rigid objects, and the gripper as the URDF has it."""
    has_cloth = False
    arena_minimum, arena_maximum = ARENA_MIN, ARENA_MAX
    """Where the objects may be [m]; those outside are lost."""
    settling = 0.0
    """How long the objects take to come to rest after a reset, at least [s]."""
    half_done_share = 0.0
    """Of the scenes in which demonstrations begin: the work is half done there, as practice will leave it."""
    arranged_settling = 1.0
    """How long those of `arranged` are given [s], from where they are let go of; 0 where they would not stay."""
    run_settings: Mapping[str, Any] = MappingProxyType({})
    """What a new run is to have where the task needs other settings than most: as in a run's config.yaml. What the
    person asks for comes first."""

    @property
    def pairs(self) -> tuple[SimulatedTask, ...]:
        """The tasks of this scene by the names of `description.pairs`, this one first: they share its bodies."""
        return (self,)

    def pair(self, name: str = "") -> SimulatedTask:
        """The task of that name in this scene; without one this one. Raises RobofumeError for another."""
        own = self.description.name
        for pair, task in zip(self.description.pairs, self.pairs, strict=True):
            if pair.name == (name or own):
                return task
        raise RobofumeError(f"there is no task '{name}' in the scene of {own}.")

    def shaped(self, build: Build) -> SimulatedTask:  # noqa: ARG002  for those with a cloth
        """The task with bodies, truth and scripts for objects of the build's shape.

        Rigid objects are given theirs in the model (`Build.apply`); nothing else depends on it.
        """
        return self

    def lined(self) -> NDArray[np.bool_]:
        """Which vertices of the cloth are lined, that is heavy; none."""
        return np.zeros(0, dtype=bool)

    def grippable(self) -> NDArray[np.bool_]:
        """Which vertices of the cloth the hand can hold; without an answer, all."""
        return np.zeros(0, dtype=bool)

    @abstractmethod
    def bodies(self, appearance: Appearance) -> str:
        """MJCF of everything the task adds to the scene; movable objects through `scene.movable`."""

    def tool(self, appearance: Appearance) -> str:  # noqa: ARG002  for those that hold something
        """MJCF of what the gripper holds all the time, in the frame of its last link; nothing."""
        return ""

    @abstractmethod
    def start(self, direction: Direction, rng: np.random.Generator) -> dict[str, Vector]:
        """Positions (3,) [m] of the movable bodies where `direction` starts, by the names of the bodies."""

    def half_done(self, direction: Direction, rng: np.random.Generator) -> dict[str, Vector]:
        """Positions (3,) [m] of the movable bodies where `direction` is half done; as `start` without an answer."""
        return self.start(direction, rng)

    def arranged(self, rng: np.random.Generator) -> dict[str, Vector] | None:  # noqa: ARG002  for those that have some
        """Where (3,) [m] a person would lay the movable bodies by hand to show a judge where the goals begin: near
        their borders, on both sides. None for a task whose demonstrations and failures show them well enough.

        They come to rest for `arranged_settling` before the picture is taken.
        """
        return None

    @abstractmethod
    def truth(self, state: SceneState) -> Truth:
        """The truth about both directions."""

    @abstractmethod
    def place_point(self, direction: Direction, rng: np.random.Generator) -> Vector:
        """Where a script would put the object, or end its strokes, in this episode (3,) [m]."""


class CarryingTask(SimulatedTask):
    """A task that is done by carrying one thing to one place."""

    @abstractmethod
    def transfer(self, state: SceneState, direction: Direction, place: Vector) -> Transfer:
        """How a script would carry the object now."""

    def half_way_point(self, direction: Direction, rng: np.random.Generator) -> Vector | None:  # noqa: ARG002
        """Where (3,) [m] the gripper lets go of an object that is to end just short of the goal; None where nothing
        stays so.
        """
        return None


class SweepingTask(SimulatedTask):
    """A task that is done by strokes along y."""

    @abstractmethod
    def left(self, state: SceneState, direction: Direction) -> list[str]:
        """Names of the things that are still to be swept."""

    @abstractmethod
    def stroke(
        self, state: SceneState, direction: Direction, place: Vector, spared: tuple[str, ...] = ()
    ) -> Stroke | None:
        """The next stroke that a script would make, past the things of the names `spared`.

        None where nothing is left that it could sweep.
        """


def share_reached(distance: float, scale: float, resting: bool, released: bool) -> float:
    """A score: half for the way to the zone, a quarter each for resting in it and for a gripper off the object."""
    score = 0.5 * max(0.0, 1.0 - distance / scale)
    if distance <= 0.0:
        score += 0.25 * resting + 0.25 * (resting and released)
    return float(score)


def distance_to_rectangle(x: float, y: float, lower: tuple[float, float], upper: tuple[float, float]) -> float:
    """Distance [m] of a point to a rectangle; 0 inside."""
    dx = max(lower[0] - x, 0.0, x - upper[0])
    dy = max(lower[1] - y, 0.0, y - upper[1])
    return float(np.hypot(dx, dy))


def is_resting(thing: ObjectState, height: float) -> bool:
    """Whether an object stands upright and still with its foot at `height` [m]."""
    still = float(np.linalg.norm(thing.velocity)) < 0.05
    return abs(float(thing.position[2]) - height) < 0.004 and thing.tilt < LEANING_TILT and still


def is_off(state: SceneState, name: str, object_height: float) -> bool:
    """Whether the gripper has let go of an object, clearly enough to be seen in one picture.

    Its fingertips are 1 cm above the object's top [m over its foot], or it is 7 cm beside it. Then it cannot hold
    the object, so its opening, which a picture hardly shows from afar, does not count.
    """
    thing = state.objects[name]
    x, y, z = state.gripper_position - thing.position
    away = z > object_height + FINGERTIP_BELOW_GRIPPER + 0.01 or float(np.hypot(x, y)) > 0.07
    return away and not thing.touched


def place_within(
    lower: tuple[float, float], upper: tuple[float, float], margin: float, rng: np.random.Generator
) -> Vector:
    """A place (3,) [m] on the table inside a rectangle, `margin` away from its sides."""
    x, y = rng.uniform(np.add(lower, margin), np.subtract(upper, margin))
    return np.array([x, y, 0.0])
