"""The MuJoCo world of one task: a position-controlled WidowX 250s, objects, a camera.

It is driven as the real arm is, by targets of the eight joints (`robofume_robot.kinematics.JOINT_NAMES`), and advances
only when told to. The same task, configuration and seed give the same states and images, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_robot.kinematics import (
    FINGER_CLOSED,
    FINGER_OPEN,
    JOINT_LOWER,
    JOINT_NAMES,
    JOINT_UPPER,
)

from robofume_sim import cloth, graphics, scene
from robofume_sim.cloth import Cloth
from robofume_sim.tasks import make_task
from robofume_sim.tasks.base import ObjectState, SceneState, SimulatedTask, Truth
from robofume_sim.variations import Build

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

TIMESTEP = 0.004
SERVO_PERIOD = 0.02  # how often the joint targets move along a trajectory [s]
SETTLE_SHARE = 0.25  # share of the last segment of a trajectory that is left for the servos to settle
LONGEST_TRAJECTORY = 60.0  # s
LOWER = np.append(JOINT_LOWER, (FINGER_CLOSED, FINGER_CLOSED))
UPPER = np.append(JOINT_UPPER, (FINGER_OPEN, FINGER_OPEN))


@dataclass(frozen=True)
class WorldConfig:
    """Settings of the world."""

    control_period: float = 0.2  # s
    image_width: int = 100  # pixels
    image_height: int = 100
    seed: int = 0  # of the sequence of starts that a reset without a seed takes
    half_done: bool = False  # whether some of these are half done, where the task has such scenes
    appearance: scene.Appearance = field(default_factory=scene.Appearance)
    build: Build = field(default_factory=Build)


def check_period(control_period: float) -> None:
    """Raise RobofumeError for a control period [s] in which the servos' targets would not move evenly."""
    servo_periods = control_period / SERVO_PERIOD
    whole = round(servo_periods) if math.isfinite(servo_periods) else 0
    if whole < 1 or abs(servo_periods - whole) > 1e-6:
        raise RobofumeError(
            f"The control period of the simulation must be a multiple of {SERVO_PERIOD:g} s, not {control_period:g} s."
        )


def check_camera(name: str) -> None:
    """Raise RobofumeError for a camera that the simulation does not have."""
    if name not in scene.CAMERAS:
        raise RobofumeError(f"The simulation has no camera {name}; it has {', '.join(scene.CAMERAS)}.")


class World:
    """One simulated scene. Lengths in m, angles in rad, times in s; positions in the robot base frame."""

    def __init__(self, task: str | SimulatedTask, config: WorldConfig | None = None) -> None:
        self.config = config or WorldConfig()
        self.task = (make_task(task) if isinstance(task, str) else task).shaped(self.config.build)
        check_period(self.config.control_period)
        xml = scene.build(
            self.task.bodies(self.config.appearance),
            self.config.appearance,
            timestep=TIMESTEP,
            width=self.config.image_width,
            height=self.config.image_height,
            tool=self.task.tool(self.config.appearance),
            equalities=cloth.ties() if self.task.has_cloth else "",
            flexible=self.task.has_cloth,
        )
        self._mujoco = graphics.load_mujoco()
        self.model = self._mujoco.MjModel.from_xml_string(xml)
        self.config.build.apply(self.model, self.task.object_names, self.task.tool_names)
        self.data = self._mujoco.MjData(self.model)
        self._renderer: mujoco.Renderer | None = None
        self._site = self.model.site("gripper").id
        self._joints = np.array([self.model.joint(name).qposadr[0] for name in JOINT_NAMES])
        self._velocities = np.array([self.model.joint(name).dofadr[0] for name in JOINT_NAMES])
        self._objects = {name: self.model.body(name).id for name in self.task.object_names}
        self._fingers = {self.model.geom(f"{name}_pad").id for name in JOINT_NAMES[6:]}
        self._home = np.append(self.task.description.home_joint_positions, (FINGER_OPEN, FINGER_OPEN))
        self._cloth = (
            Cloth(self.model, self.data, self.task.lined(), self.task.grippable()) if self.task.has_cloth else None
        )
        self._next_start = np.random.default_rng(self.config.seed)
        self.reset(Direction.FORWARD)

    # Motion

    def reset(
        self,
        direction: Direction,
        seed: int | None = None,
        *,
        start: dict[str, Array] | None = None,
        task: str = "",
    ) -> None:
        """Put objects where `direction` of `task` (empty: the world's own) starts and the arm, at rest, at home with an
        open gripper.

        Time goes on. The places follow from `seed` and the direction alone; None takes the next of the
        configuration's own sequence. `start` gives the places (3,) itself.
        """
        rng = self._next_start if seed is None else np.random.default_rng([seed, int(direction)])
        self._put(self._places(direction, rng, task, own=seed is None) if start is None else start)
        periods = max(1, round(self.task.settling / self.config.control_period))
        self.advance(periods * self.config.control_period)

    def _places(self, direction: Direction, rng: np.random.Generator, task: str, own: bool) -> dict[str, Array]:
        """Where the objects start; `own`: in the configuration's own sequence, of which some may be half done."""
        pair = self.task.pair(task)
        share = pair.half_done_share if own and self.config.half_done else 0.0
        return (pair.half_done if share and rng.random() < share else pair.start)(direction, rng)

    def arrange(self, places: dict[str, Array], settling: float = 0.0) -> None:
        """Put objects at `places` (3,) by hand and the arm, at rest, at home with an open gripper.

        They have `settling` [s] to come to rest; with 0 they are where they were put, also where they cannot stay.
        """
        self._put(places)
        if settling > 0.0:
            self.advance(settling)
        else:
            self._mujoco.mj_forward(self.model, self.data)

    def _put(self, places: dict[str, Array]) -> None:
        """Everything at rest, the arm at home, objects at `places` (3,); time goes on."""
        time = self.data.time
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.time = time
        self.data.qpos[self._joints] = self._home
        self.data.ctrl[:] = self._home
        for name, place in places.items():
            body = self.model.body(name).id
            address = self.model.jnt_qposadr[self.model.body_jntadr[body]]
            self.data.qpos[address : address + 3] = place - self.model.body_pos[body]
        if self._cloth is not None:
            self._cloth.forget()
        self.follow([self._home], [self.config.control_period])

    def step(self, joint_targets: Sequence[float] | Array) -> None:
        """Drive the joints (8,) to their targets during one control period."""
        self.play([joint_targets], [self.config.control_period])

    def play(self, positions: Sequence[Sequence[float] | Array], times: Sequence[float]) -> None:
        """Play a joint trajectory to its end, and on to the end of its last control period; see `follow`."""
        duration = self.follow(positions, times)
        period = self.config.control_period
        self.advance(period * max(1, int(np.ceil(duration / period - 1e-6))))

    def follow(self, positions: Sequence[Sequence[float] | Array], times: Sequence[float]) -> float:
        """Take a joint trajectory as the one to follow from now on: `positions` (N, 8) at `times` (N,), growing [s].

        Returns its duration [s]. The targets move along straight lines and arrive a little early, as a controller that
        lets its servos settle. A RobofumeError says what is wrong with a trajectory that is not followed.
        """
        targets = np.atleast_2d(np.asarray(positions, dtype=np.float64))
        ends = np.asarray(times, dtype=np.float64)
        if ends.ndim != 1 or len(ends) == 0 or targets.shape != (len(ends), 8):
            raise RobofumeError("A joint trajectory needs one or more points of 8 positions, each with its time.")
        if not (np.isfinite(targets).all() and np.isfinite(ends).all()):
            raise RobofumeError("A joint trajectory must not have infinite numbers or NaN.")
        if ends[0] <= 0.0 or np.any(np.diff(ends) <= 0.0) or ends[-1] > LONGEST_TRAJECTORY:
            raise RobofumeError(
                f"The times of a joint trajectory must be above zero, grow, and end within {LONGEST_TRAJECTORY:g} s."
            )
        self._knots = np.concatenate([[0.0], ends])
        self._knots[-1] -= SETTLE_SHARE * (self._knots[-1] - self._knots[-2])
        self._path = np.vstack([self.data.ctrl, np.clip(targets, LOWER, UPPER)])
        self._followed = 0
        return float(ends[-1])

    def advance(self, duration: float) -> None:
        """Let `duration` s pass, rounded to servo periods of 20 ms, along the trajectory being followed."""
        ticks = round(duration / SERVO_PERIOD)
        moments = SERVO_PERIOD * np.arange(self._followed + 1, self._followed + ticks + 1)
        controls = np.column_stack([np.interp(moments, self._knots, self._path[:, joint]) for joint in range(8)])
        substeps = round(SERVO_PERIOD / TIMESTEP)
        for control in controls:
            self.data.ctrl[:] = control
            self._mujoco.mj_step(self.model, self.data, nstep=substeps)
            if self._cloth is not None:
                self._cloth.update()
        self._followed += ticks
        if not np.isfinite(self.data.qpos).all():
            raise RobofumeError("The simulation became unstable; please report the task and the seed.")

    # What can be seen

    @property
    def stamp(self) -> int:
        """Simulated time [ns]."""
        return round(self.data.time * 1e9)

    @property
    def joint_positions(self) -> Array:
        """Measured positions (8,) in the order of JOINT_NAMES."""
        return self.data.qpos[self._joints].copy()

    @property
    def joint_velocities(self) -> Array:
        """Measured velocities (8,)."""
        return self.data.qvel[self._velocities].copy()

    def render(self, camera: str = scene.CAMERAS[0]) -> NDArray[np.uint8]:
        """The picture (height, width, 3), rgb, of one of `scene.CAMERAS`. Raises RobofumeError for another one."""
        check_camera(camera)
        if self._renderer is None:
            self._renderer = graphics.make_renderer(self.model, self.config.image_width, self.config.image_height)
        self._renderer.update_scene(self.data, camera=camera)
        return self._renderer.render()

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    # What only evaluation, scripts and reports may know

    def scene_state(self) -> SceneState:
        """The true state of gripper and objects."""
        self._mujoco.mj_kinematics(self.model, self.data)
        touched: set[int] = set()
        for first, second in self.data.contact.geom:
            if first in self._fingers:
                touched.add(self.model.geom_bodyid[second])
            elif second in self._fingers:
                touched.add(self.model.geom_bodyid[first])
        sheet: dict[str, Any] = {}
        if self._cloth is not None:
            sheet = {
                "cloth": self._cloth.vertices,
                "triangles": self._cloth.triangles,
                "held": bool(self._cloth.held.any()),
            }
        objects = {}
        for name, body in self._objects.items():
            degree = self.model.body_dofadr[body]
            objects[name] = ObjectState(
                position=self.data.xpos[body].copy(),
                quaternion=self.data.xquat[body].copy(),
                velocity=self.data.qvel[degree : degree + 3].copy(),
                touched=body in touched,
            )
        return SceneState(
            gripper_position=self.data.site_xpos[self._site].copy(),
            objects=objects,
            **sheet,
        )

    def truth(self) -> Truth:
        """The truth about both directions."""
        return self.task.truth(self.scene_state())

    def lost_objects(self) -> list[str]:
        """Names of objects that left the arena: a fault of the world, which the robustness check counts."""
        (x0, y0), (x1, y1) = self.task.arena_minimum, self.task.arena_maximum
        lost = []
        for name, body in self._objects.items():
            x, y, z = self.data.xipos[body]
            if not (x0 < x < x1 and y0 < y < y1 and 0.0 < z < scene.ARENA_CEILING):
                lost.append(name)
        return lost
