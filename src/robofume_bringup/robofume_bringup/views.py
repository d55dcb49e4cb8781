"""The nodes that show the graph to a person: rviz, the robot's model, and the markers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from robofume_common.errors import RobofumeError
from robofume_common.task import TaskDescription

from robofume_bringup.node_table import NODES, NodeDescription

if TYPE_CHECKING:
    from robofume_bringup.graph import GraphSettings

BASE_FRAME = "base_link"


def shared_file(name: str) -> Path:
    """A file of this package's share folder, such as `rviz/robofume.rviz`; the source folder where none is sourced."""
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":"):
        path = Path(prefix) / "share" / "robofume_bringup" / name
        if prefix and path.is_file():
            return path
    path = Path(__file__).resolve().parents[1] / name
    if not path.is_file():
        raise RobofumeError(f"{name} of robofume_bringup is missing: run `make setup`, and source install/setup.bash.")
    return path


def view_nodes(settings: GraphSettings, task: TaskDescription) -> list[NodeDescription]:
    """Markers, robot_state_publisher and rviz for a graph."""
    from robofume_sim.urdf import widowx_urdf

    # Several robots share one tree of frames, so each has its own prefix in it.
    prefix = f"{settings.namespace.strip('/')}/" if settings.namespace.strip("/") else ""
    replayed = settings.mode == "replay" and settings.robot != "mujoco"
    joint_states = {"joint_states": f"/{settings.robot_name}/joint_states"} if replayed else {}
    gazebo = settings.robot == "gazebo" and settings.mode != "replay"
    markers = {
        "frame": prefix + BASE_FRAME,
        "workspace_minimum": task.workspace_minimum,
        "workspace_maximum": task.workspace_maximum,
        **settings.overrides.get("markers", {}),
    }
    model = {"robot_description": widowx_urdf(), "frame_prefix": prefix}
    return [
        replace(NODES["markers"], parameters=markers, use_sim_time=gazebo),
        replace(
            NODES["robot_state_publisher"], parameters=model, remappings=joint_states, use_sim_time=gazebo
        ),
        replace(
            NODES["rviz"],
            arguments=("-d", str(shared_file("rviz/robofume.rviz")), "-f", prefix + BASE_FRAME),
            use_sim_time=gazebo,
        ),
    ]
