"""The graph: which nodes run, with which parameters and remappings, for a robot, a task and a mode.

This one description feeds the launch files and the process runner. It imports no rclpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError

ROBOTS = ("mujoco",)
MODES = ("collect", "practice", "evaluate")


@dataclass(frozen=True)
class NodeDescription:
    """One node of the graph."""

    package: str
    name: str
    """Node name, also the name of its log file and of its console script (`executable`)."""
    module: str
    """Python module with `main()`, started with `python -m`."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    needed: bool = True
    """Whether the run ends when this node dies (after its restarts)."""
    restarts: int = 0
    """How often the runner starts it again after it died."""
    niceness: int = 0
    stop_order: int = 0
    """Nodes are stopped in the order of this number; those with the same number together."""
    stop_deadline: float = 10.0
    """Seconds that the node has for a calm end after SIGINT."""

    @property
    def executable(self) -> str:
        """Name of the console script that `ros2 run` and the launch files start."""
        return self.name


@dataclass(frozen=True)
class GraphSettings:
    """What a graph is built from."""

    task: str
    mode: str
    robot: str = "mujoco"
    run_directory: Path | None = None
    """Bags, checkpoints and the reward model of the run are here; None: nothing is recorded or loaded."""
    seed: int = 0
    lockstep: bool = True
    namespace: str = ""
    record: bool = True
    learn: bool = True
    """In practice: with the learner."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Node name -> parameter -> value, on top of what the graph sets."""


def build_graph(settings: GraphSettings) -> list[NodeDescription]:
    """Describe every node of the graph.

    Raises RobofumeError for an unknown robot, mode or task, and for an override of a node that the graph lacks.
    """
    raise NotImplementedError
