"""Gazebo as a scene backend: what to ask gazebo_msgs services, and what their answers mean. No ROS.

A flow is a generator: it yields a `Call`, is sent the response, and returns its result. Who drives it decides how the
services are called and how long one may take.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting
from robofume_robot.kinematics import forward_kinematics

from robofume_sim.sdf import spawn_sdf
from robofume_sim.tasks import GAZEBO_TASKS, make_task
from robofume_sim.tasks.base import ObjectState, SceneState, Truth

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class GazeboSceneConfig:
    """Settings of the Gazebo scene node."""

    task: str = setting("pot_pick_and_place", "Which simulated task")
    seed: int = setting(0, "Places of the objects follow from it where a reset gives none", minimum=0)
    start_direction: int = setting(1, "Direction that starts where the scene is at first: 1 forward, 2 backward",
                                   choices=(1, 2))  # fmt: skip
    state_prefix: str = setting("/gazebo", "Namespace of get_entity_state and set_entity_state (the world's plugin)")
    factory_prefix: str = setting("", "Namespace of spawn_entity and delete_entity (gzserver)")
    reference_frame: str = setting("world", "Frame of the objects' poses: where the arm's base stands")
    service_deadline: float = setting(
        2.0, "Wall time for the answer of one service", unit="s", minimum=0.1, maximum=60.0
    )


@dataclass(frozen=True)
class Call:
    """One call of a service: `service` is the resolved name, `kind` the name of its type in gazebo_msgs.srv."""

    service: str
    kind: str
    request: Any


Flow = Generator[Call, Any, Any]


def service_names(config: GazeboSceneConfig) -> dict[str, str]:
    """Kind -> resolved name of every service of Gazebo that is called."""
    names = {}
    for kind in ("GetEntityState", "SetEntityState", "SpawnEntity", "DeleteEntity"):
        verb, state = kind.removesuffix("State").removesuffix("Entity").lower(), kind.endswith("State")
        prefix = config.state_prefix if state else config.factory_prefix
        names[kind] = f"{prefix.rstrip('/')}/{verb}_entity{'_state' if state else ''}"
    return names


class GazeboScene:
    """The scene of one task in Gazebo.

    Arguments:
        config: settings.
        types: the module `gazebo_msgs.srv`, or something of the same shape.
    """

    def __init__(self, config: GazeboSceneConfig, types: Any) -> None:
        self.config = config
        self.task = make_task(config.task)
        if not self.task.in_gazebo:
            raise RobofumeError(
                f"{config.task} cannot be simulated in Gazebo; choose one of: {', '.join(GAZEBO_TASKS)}"
            )
        self._types = types
        self._starts = np.random.default_rng([config.seed, 3])
        self._gripper: Vector | None = None

    def joint_positions(self, positions: Vector) -> None:
        """Take note of the arm: eight positions in the order of `kinematics.JOINT_NAMES` (rad, m)."""
        self._gripper = forward_kinematics(positions[:6])[:3, 3]

    def services(self) -> dict[str, str]:
        """Resolved name -> kind of every service that is called."""
        return {name: kind for kind, name in service_names(self.config).items()}

    def _call(self, kind: str, **fields: Any) -> Call:
        request = getattr(self._types, kind).Request()
        for name, value in fields.items():
            setattr(request, name, value)
        return Call(service_names(self.config)[kind], kind, request)

    # Truth

    def look(self) -> Flow:
        """Where the objects are: name -> ObjectState, or a sentence where Gazebo does not tell."""
        objects: dict[str, ObjectState] = {}
        for name in self.task.object_names:
            response = yield self._call("GetEntityState", name=name, reference_frame=self.config.reference_frame)
            if response is None or not response.success:
                return f"Gazebo does not tell where {name!r} is: does the world have it, and the state plugin?"
            objects[name] = object_state(response.state)
        return objects

    def truth(self, objects: dict[str, ObjectState]) -> Truth | None:
        """What is true of the task; None before the arm is known. Touch is not known: distance stands for it."""
        if self._gripper is None:
            return None
        return self.task.truth(SceneState(self._gripper, objects))

    # Reset

    def reset(self, direction: Direction, seed: int) -> Flow:
        """Put the objects where `direction` starts; returns an empty sentence, or what went wrong.

        An object that cannot be moved, as when somebody deleted it, is made anew.
        """
        random = np.random.default_rng([seed, int(direction)]) if seed else self._starts
        for name, place in self.task.start(direction, random).items():
            moved = yield self._set_state(name, place)
            if moved is not None and moved.success:
                continue
            yield self._call("DeleteEntity", name=name)  # refused where it is not there, which is as good
            spawned = yield self._spawn(name, place)
            if spawned is None or not spawned.success:
                why = "no answer" if spawned is None else spawned.status_message
                return f"Gazebo could neither move nor make {name!r}: {why}"
            seen = yield self._call("GetEntityState", name=name, reference_frame=self.config.reference_frame)
            if seen is None or not seen.success:
                return f"Gazebo made {name!r} but does not show it."
        return ""

    def _set_state(self, name: str, place: Vector) -> Call:
        call = self._call("SetEntityState")
        state = call.request.state
        state.name, state.reference_frame = name, self.config.reference_frame
        _put(state.pose, place)
        return call

    def _spawn(self, name: str, place: Vector) -> Call:
        xml = spawn_sdf(self.config.task, name)
        call = self._call("SpawnEntity", name=name, xml=xml, reference_frame=self.config.reference_frame)
        _put(call.request.initial_pose, place)
        return call


def object_state(state: Any) -> ObjectState:
    """ObjectState of a gazebo_msgs/EntityState."""
    position, turn, speed = state.pose.position, state.pose.orientation, state.twist.linear
    return ObjectState(
        position=np.array([position.x, position.y, position.z]),
        quaternion=np.array([turn.w, turn.x, turn.y, turn.z]),
        velocity=np.array([speed.x, speed.y, speed.z]),
        touched=False,
    )


def _put(pose: Any, place: Vector) -> None:
    """Upright at a place (3,) [m], a little above it, so that nothing starts inside the table."""
    pose.position.x, pose.position.y, pose.position.z = float(place[0]), float(place[1]), float(place[2]) + 0.001
    pose.orientation.w = 1.0
