"""Every node of the suite: what starts it, where its settings are, and how it is stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict

PARTS = ("robot", "camera", "arm", "learning", "recorder", "rviz", "replay")
"""What the graph is made of; each part has a launch file of its own."""


@dataclass(frozen=True)
class NodeDescription:
    """One node of the graph."""

    package: str
    name: str
    """Node name, also the name of its log file."""
    module: str
    """Python module with `main()`, started with `python -m`; empty: a program of another package."""
    config: str = ""
    """`module:Class` of the dataclass with the node's settings; empty: not known."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    needed: bool = True
    """Whether the run ends when this node dies (after its restarts)."""
    restarts: int = 0
    """How often the runner starts it again after it died."""
    use_sim_time: bool = False
    """Whether it lives by `/clock`."""
    niceness: int = 0
    batch: bool = False
    """Scheduled as batch work: it does not interrupt the node that sent it a message, and starts when that one waits.
    About a tenth faster in lockstep, and slower where something else keeps a core busy. Only the runner does it."""
    lane: int | None = None
    """Stays on one processor, with the other nodes of this lane (`processors.processor`). Only the runner does it."""
    part: str = "learning"
    """One of PARTS."""
    program: str = ""
    """Executable of another package; empty: the console script of the same name as the node."""
    arguments: tuple[str, ...] = ()
    """On the command line, before the ROS arguments."""
    restart_delay: float = 1.0
    """Seconds before `ros2 launch` starts it again."""
    enclave: str = ""
    """Name of its SROS2 enclave; empty: not secured."""
    stop_order: int = 0
    """Nodes are stopped in the order of this number; those with the same number together."""
    stop_deadline: float = 10.0
    """Seconds that the node has for a calm end after SIGINT."""

    @property
    def executable(self) -> str:
        """Name of the console script that `ros2 run` and the launch files start."""
        return self.program or self.module.rpartition(".")[2]

    def parameter_values(self) -> dict[str, Any]:
        """The node's own settings as plain values.

        Empty lists are left out: ROS cannot tell their type; the node's default stands.
        """
        values = {name: _plain(value) for name, value in self.parameters.items()}
        return {name: value for name, value in values.items() if value is not None and value != []}

    def ros_parameters(self) -> dict[str, Any]:
        """Everything that the node is given: its settings, and whether it lives by simulated time."""
        return {**self.parameter_values(), **({"use_sim_time": True} if self.use_sim_time else {})}

    def settings(self) -> Any:
        """The node's settings, an instance of `config`; None where that is not known.

        Raises RobofumeError for a parameter that the node does not have or that does not fit.
        """
        if not self.config:
            return None
        module, _, name = self.config.partition(":")
        try:
            return from_dict(getattr(import_module(module), name), self.parameter_values())
        except RobofumeError as error:
            raise RobofumeError(f"Settings of the {self.name} node: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


NODES: dict[str, NodeDescription] = {
    node.name: node
    for node in (
        NodeDescription("robofume_sim", "sim", "robofume_sim.nodes.sim",
                        "robofume_sim.sim_config:SimConfig", part="robot", stop_order=4),
        NodeDescription("robofume_sim", "gazebo_scene", "robofume_sim.nodes.gazebo_scene",
                        "robofume_sim.gazebo:GazeboSceneConfig", part="robot", stop_order=4),
        NodeDescription("robofume_sim", "gazebo_arm", "robofume_sim.nodes.gazebo_arm",
                        "robofume_sim.nodes.gazebo_arm:GazeboArmConfig", part="robot", stop_order=4),
        NodeDescription("robofume_robot", "interbotix", "robofume_robot.nodes.interbotix",
                        "robofume_robot.interbotix_config:InterbotixConfig",
                        part="robot", stop_order=4, stop_deadline=45.0),
        NodeDescription("robofume_sim", "demonstrator", "robofume_sim.nodes.demonstrator",
                        "robofume_sim.nodes.demonstrator:DemonstratorNodeConfig"),
        NodeDescription("robofume_robot", "camera", "robofume_robot.nodes.camera",
                        "robofume_robot.camera_config:CameraConfig", part="camera", stop_order=4),
        NodeDescription("robofume_robot", "arm", "robofume_robot.nodes.arm",
                        "robofume_robot.arm_config:ArmConfig", part="arm", stop_order=3),
        NodeDescription("robofume_policy", "policy", "robofume_policy.nodes.policy",
                        "robofume_policy.nodes.policy:PolicyNodeConfig", stop_order=1, stop_deadline=20.0),
        NodeDescription("robofume_policy", "learner", "robofume_policy.nodes.learner",
                        "robofume_policy.nodes.learner:LearnerNodeConfig",
                        niceness=5, stop_order=5, stop_deadline=30.0),
        NodeDescription("robofume_reward", "reward", "robofume_reward.nodes.reward",
                        "robofume_reward.reward_config:RewardNodeConfig", stop_order=2, stop_deadline=20.0),
        NodeDescription("robofume_reset", "switcher", "robofume_reset.nodes.switcher",
                        "robofume_reset.nodes.switcher:SwitcherConfig", stop_deadline=20.0),
        NodeDescription("robofume_robot", "replay", "robofume_robot.nodes.replay",
                        "robofume_robot.replay:ReplayConfig", part="replay", stop_order=5),
        NodeDescription("robofume_data", "recorder", "robofume_data.nodes.recorder",
                        "robofume_data.nodes.recorder:RecorderConfig",
                        part="recorder", stop_order=6, stop_deadline=30.0),
        NodeDescription("robofume_bringup", "markers", "robofume_bringup.nodes.markers",
                        "robofume_bringup.marker_config:MarkerConfig",
                        part="rviz", needed=False, restarts=3),
        NodeDescription("robot_state_publisher", "robot_state_publisher", "",
                        part="rviz", program="robot_state_publisher", needed=False, restarts=3),
        NodeDescription("rviz2", "rviz", "", part="rviz", program="rviz2", needed=False),
    )
}  # fmt: skip
"""Every node there is, without parameters."""
