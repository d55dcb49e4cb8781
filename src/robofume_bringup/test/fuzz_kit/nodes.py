"""The nodes themselves, in this process: every subscription, service, goal and timer of each is called with messages
that are wrong."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from rclpy.serialization import serialize_message
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.node_table import NodeDescription
from robofume_common.conversion import array_to_image, floats
from robofume_common.errors import RobofumeError
from robofume_robot.kinematics import JOINT_NAMES
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from fuzz_kit import values
from robofume_interfaces.msg import ArmCommand, ArmStatus, Episode, GroundTruth, Reward, Step, Task

CASES_PER_NODE = 300
"""Then it is made anew."""
TASK = "pot_pick_and_place"
_ACTING = {
    "reward": {"judge": "ground_truth"},
    "policy": {"checkpoint": "pretrained", "step_listeners": 0, "lockstep": True},
}
"""The policy has weights and acts; `checkpoint` is in the run directory."""


def node_descriptions(run: Path) -> list[NodeDescription]:
    """Every node that needs neither a person's terminal nor packages that are not on PyPI."""
    nodes: dict[str, NodeDescription] = {}
    for settings in (
        GraphSettings(TASK, "practice", run_directory=run, overrides=_ACTING),
        GraphSettings(TASK, "collect", run_directory=run),
        GraphSettings(TASK, "replay", run_directory=run, bag="bag", robot="widowx"),
    ):
        for node in build_graph(settings):
            if node.name == "policy" and node.name not in nodes:
                node = replace(node, parameters={**node.parameters, "checkpoint": str(run / "pretrained")})
            nodes.setdefault(node.name, node)
    return list(nodes.values())


class NodeBoundary:
    """One node under wrong messages; `case(dice)` is one call. Use as a context manager."""

    def __init__(self, description: NodeDescription, folder: Path) -> None:
        self.name = description.name
        module = import_module(description.module)
        (self._class,) = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "create_subscription")
        ]
        self._file = folder / f"{description.name}.yaml"
        self._file.write_text(yaml.safe_dump({"/**": {"ros__parameters": description.ros_parameters()}}))
        self._node: Any = None
        self._cases = 0
        self.calls: dict[str, int] = {}
        """How often each topic, service, goal and timer was called."""

    def __enter__(self) -> NodeBoundary:
        rclpy.init(args=["--ros-args", "--params-file", str(self._file), "--log-level", "FATAL"])
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        rclpy.try_shutdown()

    def _begin(self) -> None:
        self._node = self._class()
        self._cases = 0

    def _end(self) -> None:
        node, self._node = self._node, None
        if node is not None:
            getattr(node, "close", lambda: None)()
            node.destroy_node()

    def case(self, dice: random.Random) -> bool:
        """One call; whether it was refused with a sentence that ends the node. Raises what is no refusal."""
        if self._node is None or self._cases >= CASES_PER_NODE:
            self._end()
            self._begin()
        self._cases += 1
        try:
            self._call(dice)
        except RobofumeError as error:
            assert str(error).strip() and "\n" not in str(error), f"not one sentence: {error!r}"
            self._end()
            return True
        failure = getattr(self._node, "failure", None)
        if failure is not None:
            self._end()
        return failure is not None

    def _call(self, dice: random.Random) -> None:
        node = self._node
        doors: list[tuple[str, Any]] = [(s.topic_name, s) for s in node.subscriptions]
        own = [s for s in node.services if "parameter" not in s.srv_name and "type_desc" not in s.srv_name]
        doors += [(s.srv_name, s) for s in own]
        doors += [("timer", timer) for timer in node.timers][:1]
        doors += [(server._action_type.__name__.lower(), server) for server in getattr(node, "_servers", [])]
        name, door = dice.choice(doors)
        self.calls[name] = self.calls.get(name, 0) + 1
        if name == "timer":
            door.callback()
        elif hasattr(door, "srv_type"):
            door.callback(values.message(dice, door.srv_type.Request), door.srv_type.Response())
        elif hasattr(door, "_goal_callback"):
            goal = values.message(dice, door._action_type.Goal)
            door._goal_callback(goal)
            node._practice_plan(goal) if name == "practice" else node._evaluation_plan(goal)
        else:
            base = template(door.msg_type, dice) if dice.random() < 0.8 else None
            made = values.message(dice, door.msg_type, base)
            if getattr(door, "raw", False):
                data = serialize_message(made)
                door.callback(values.mutated(dice, data) if dice.random() < 0.2 else data)
            else:
                door.callback(made)


def template(kind: type, dice: random.Random) -> Any:
    """A message that is right, of one of a few episodes, so that a change to one field meets the rest of the code."""
    picture = array_to_image(np.zeros((64, 64, 3), np.uint8))
    stamp = dice.randint(0, 20)
    episode = f"practice-{dice.randint(0, 3):06d}"
    made: Any = kind()
    if kind is Image:
        made = picture
        made.header.stamp.sec = stamp
    elif kind is Step:
        made = Step(episode_id=episode, index=dice.randint(0, 5), phase=1, direction=1, instruction="put it away",
                    image=picture, proprioception=floats(np.zeros(7)), action=floats(np.zeros(7 * dice.randint(0, 1))),
                    actor=1)  # fmt: skip
        made.stamp.sec = stamp
    elif kind is JointState:
        made.name = list(JOINT_NAMES) if dice.random() < 0.7 else []
        made.position = [0.1] * (len(made.name) or 7)
        made.header.stamp.sec = stamp
    elif kind is JointTrajectory:
        made.joint_names = list(JOINT_NAMES)
        made.points = [JointTrajectoryPoint(positions=[0.02] * 8)]
        made.header.stamp.sec = stamp
    elif kind is Reward:
        made = Reward(episode_id=episode, index=dice.randint(0, 5), verdict=dice.randint(0, 2), source=1)
    elif kind is Episode:
        made = Episode(episode_id=episode, phase=1, direction=1, task=TASK, num_steps=dice.randint(0, 5),
                       outcome=dice.randint(1, 5), success_index=dice.randint(-1, 5))  # fmt: skip
    elif kind is Task:
        made = Task(phase=1, direction=1, task=TASK, instruction="put it away", episode_id=episode, step_limit=40)
    elif kind is ArmCommand:
        made = ArmCommand(actor=1)
        made.header.stamp.sec = stamp
    elif kind is ArmStatus:
        made = ArmStatus(state=2)
        made.stamp.sec = stamp
    elif kind is GroundTruth:
        made.task = TASK
        made.stamp.sec = stamp
    return made


def use_domain(domain: int) -> None:
    """Nobody else hears these messages."""
    os.environ.update(ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
