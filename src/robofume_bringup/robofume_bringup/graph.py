"""The graph: which nodes run, with which parameters and remappings, for a robot, a task and a mode.

This one description feeds the launch files and the process runner. It imports no rclpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict
from robofume_common.task import TaskDescription

from robofume_bringup.run_directory import RunDirectory

ROBOTS = ("mujoco",)
MODES = ("collect", "practice", "evaluate")
SUCCESSES_SHOWN = 3
"""Steps in a row that must show the success before a demonstration ends."""


@dataclass(frozen=True)
class NodeDescription:
    """One node of the graph."""

    package: str
    name: str
    """Node name, also the name of its log file and of its console script (`executable`)."""
    module: str
    """Python module with `main()`, started with `python -m`."""
    config: str = ""
    """`module:Class` of the dataclass with the node's settings; empty: not known."""
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

    def parameter_values(self) -> dict[str, Any]:
        """The parameters as plain values for ROS.

        Empty lists are left out: ROS cannot tell their type; the node's default stands.
        """
        values = {name: _plain(value) for name, value in self.parameters.items()}
        return {name: value for name, value in values.items() if value is not None and value != []}

    def check_parameters(self) -> None:
        """Raise RobofumeError for a parameter that the node does not have or that does not fit."""
        if not self.config:
            return
        module, _, name = self.config.partition(":")
        try:
            from_dict(getattr(import_module(module), name), self.parameter_values())
        except RobofumeError as error:
            raise RobofumeError(f"Settings of the {self.name} node: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


@dataclass(frozen=True)
class GraphSettings:
    """What a graph is built from."""

    task: str
    mode: str
    robot: str = "mujoco"
    run_directory: Path | None = None
    """Bags, checkpoints and the reward model of the run are here; None: nothing is recorded, loaded or
    learnt."""
    seed: int = 0
    scene_seed: int | None = None
    """Places of the objects in the simulation follow from it; None: the seed."""
    start_direction: int = 1
    """Direction (Step.DIRECTION_*) that starts where the simulation's objects are at first."""
    image_size: int = 64
    """Height and width of the policy's picture [px]."""
    lockstep: bool = True
    namespace: str = ""
    weights: str = "practised"
    """Which policy is evaluated: pretrained, practised or retrained."""
    record: bool = True
    clumsy: bool = False
    """In collection: deliberately bad attempts."""
    restarts: int = 0
    """Times that a node which dies is started again, except those in LOST_WITH_THEIR_PROCESS."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Node name -> parameter -> value, on top of what the graph sets."""


NODES: dict[str, NodeDescription] = {
    node.name: node
    for node in (
        NodeDescription("robofume_sim", "sim", "robofume_sim.nodes.sim",
                        "robofume_sim.nodes.sim:SimConfig", stop_order=4),
        NodeDescription("robofume_sim", "demonstrator", "robofume_sim.nodes.demonstrator",
                        "robofume_sim.nodes.demonstrator:DemonstratorNodeConfig"),
        NodeDescription("robofume_robot", "camera", "robofume_robot.nodes.camera",
                        "robofume_robot.camera_config:CameraConfig", stop_order=4),
        NodeDescription("robofume_robot", "arm", "robofume_robot.nodes.arm",
                        "robofume_robot.arm_config:ArmConfig", stop_order=3),
        NodeDescription("robofume_robot", "interbotix", "robofume_robot.nodes.interbotix",
                        "robofume_robot.interbotix_config:InterbotixConfig", stop_order=4, stop_deadline=45.0),
        NodeDescription("robofume_policy", "policy", "robofume_policy.nodes.policy",
                        "robofume_policy.nodes.policy:PolicyNodeConfig", stop_order=1),
        NodeDescription("robofume_policy", "learner", "robofume_policy.nodes.learner",
                        "robofume_policy.nodes.learner:LearnerNodeConfig",
                        niceness=5, stop_order=5, stop_deadline=30.0),
        NodeDescription("robofume_reward", "reward", "robofume_reward.nodes.reward",
                        "robofume_reward.nodes.reward:RewardNodeConfig", stop_order=2),
        NodeDescription("robofume_reset", "switcher", "robofume_reset.nodes.switcher",
                        "robofume_reset.nodes.switcher:SwitcherConfig"),
        NodeDescription("robofume_data", "recorder", "robofume_data.nodes.recorder",
                        "robofume_data.nodes.recorder:RecorderConfig", stop_order=6, stop_deadline=30.0),
    )
}  # fmt: skip
"""Every node there is, without parameters."""


LOST_WITH_THEIR_PROCESS = ("sim", "switcher")
"""Nodes whose restart does not continue the run: the world would be another one, and the goal is forgotten."""


def task_description(robot: str, task: str) -> TaskDescription:
    """The description of a task. Raises RobofumeError, naming the known ones, for another robot or task."""
    if robot not in ROBOTS:
        raise RobofumeError(f"There is no robot {robot!r}; choose one of: {', '.join(ROBOTS)}.")
    from robofume_sim.tasks import TASKS

    if task not in TASKS:
        raise RobofumeError(f"There is no task {task!r}; choose one of: {', '.join(sorted(TASKS))}.")
    return TASKS[task].description


def build_graph(settings: GraphSettings) -> list[NodeDescription]:
    """Describe every node of the graph, in the order in which they are started.

    Raises RobofumeError for an unknown robot, mode or task, and for overrides of a node that does not exist.
    """
    if settings.mode not in MODES:
        raise RobofumeError(f"There is no mode {settings.mode!r}; choose one of: {', '.join(MODES)}.")
    unknown = sorted(set(settings.overrides) - set(NODES))
    if unknown:
        raise RobofumeError(
            f"There is no node {', '.join(unknown)}; choose from: {', '.join(sorted(NODES))}."
        )
    task = task_description(settings.robot, settings.task)
    parameters = {**_robot(settings, task), **_learning(settings, task)}
    return [
        replace(
            NODES[name],
            parameters={**values, **settings.overrides.get(name, {})},
            restarts=0 if name in LOST_WITH_THEIR_PROCESS else settings.restarts,
        )
        for name, values in parameters.items()
    ]


def _robot(settings: GraphSettings, task: TaskDescription) -> dict[str, dict[str, Any]]:
    """Parameters of the nodes that are, or touch, the robot."""
    scene_seed = settings.seed if settings.scene_seed is None else settings.scene_seed
    size, lockstep = settings.image_size, settings.lockstep
    nodes: dict[str, dict[str, Any]] = {
        "sim": {
            "task": task.name,
            "seed": scene_seed,
            "start_direction": settings.start_direction,
            "lockstep": lockstep,
        },
        "camera": {"width": size, "height": size, "lockstep": lockstep},
        "arm": {
            "workspace_minimum": task.workspace_minimum,
            "workspace_maximum": task.workspace_maximum,
            "home_joint_positions": task.home_joint_positions,
            "translation_limit": task.translation_limit,
            "rotation_limit": task.rotation_limit,
            "lockstep": lockstep,
        },
    }
    if settings.mode == "collect":
        nodes["demonstrator"] = {
            "task": task.name,
            "seed": scene_seed,
            "failure_share": float(settings.clumsy),
        }
    return nodes


def _learning(settings: GraphSettings, task: TaskDescription) -> dict[str, dict[str, Any]]:
    """Parameters of the nodes that act, judge, switch, learn and record."""
    run, mode = settings.run_directory, settings.mode
    practises = mode == "practice"
    if run is None and mode != "collect":
        raise RobofumeError(f"The mode {mode} needs a run directory with a policy in it.")
    directory = RunDirectory(run) if run is not None else None
    acting = {
        "action_mask": task.action_mask,
        "translation_limit": task.translation_limit,
        "rotation_limit": task.rotation_limit,
        "image_size": settings.image_size,
    }
    nodes: dict[str, dict[str, Any]] = {
        "policy": {
            **acting,
            "lockstep": settings.lockstep,
            "source": "override" if mode == "collect" else "policy",
            "seed": settings.seed,
        },
        # The model's threshold was chosen on frames in motion; of what is seen from home, P(yes) > P(no) is enough.
        "reward": {"judge": "vlm", "last_threshold": 0.5} if practises else {"judge": "ground_truth"},
        "switcher": {
            "task": task.name,
            "forward_instruction": task.forward_instruction,
            "backward_instruction": task.backward_instruction,
            "step_limit": task.steps_allowed(demonstrating=mode == "collect"),
            "lockstep": settings.lockstep,
            "expect_learner": practises,
            "confirm": practises,
            "success_needs_open_gripper": task.released_at_success,
            "min_episode_steps": 3,
            "session": mode,
        },
    }
    if mode == "collect":
        # A person goes on for a moment after a success: the reward model needs pictures of it, and the policy learns
        # to let go clearly.
        nodes["switcher"] |= {"successes_needed": SUCCESSES_SHOWN, "verdict_window": SUCCESSES_SHOWN}
    if practises:
        # One frame in motion deceives the model more often than two; what is missed is seen at the step limit.
        nodes["switcher"] |= {"successes_needed": 2, "verdict_window": 2}
    if directory is not None:
        nodes["switcher"]["state_file"] = directory.switcher_state(mode)
        if mode == "evaluate":
            nodes["policy"]["checkpoint"] = directory.policy(settings.weights)
        if practises:
            nodes["reward"]["model"] = directory.reward
            nodes["learner"] = {
                "pretrained": directory.pretrained,
                "demonstrations": (directory.bags("demos"),),
                "practice": (directory.bags("practice"),),
                "checkpoints": directory.checkpoints,
                "metrics": directory.metrics,
                "seed": settings.seed,
            }
            # The switcher paces the loop by the same ratio.
            ratio = {"updates_per_step", "warm_up_steps"} & set(settings.overrides.get("learner", {}))
            nodes["switcher"] |= {name: settings.overrides["learner"][name] for name in ratio}
        if settings.record:
            kind = {"collect": "demos", "practice": "practice", "evaluate": "evaluate"}[mode]
            nodes["recorder"] = {"directory": directory.bags(kind), "name": "clumsy" if settings.clumsy else kind}
    keepers = ("learner" in nodes) + ("recorder" in nodes)
    nodes["switcher"]["episode_listeners"] = keepers
    nodes["policy"]["step_listeners"] = 2 + keepers  # the reward node and the switcher
    return nodes


# Launch files


@dataclass(frozen=True)
class LaunchArgument:
    """One argument of the launch files."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


LAUNCH_ARGUMENTS = (
    LaunchArgument("robot", "mujoco", "where the arm is", ROBOTS),
    LaunchArgument("task", "pot_pick_and_place", "what the arm is to do; `robofume tasks` lists the tasks"),
    LaunchArgument("mode", "practice", "collect demonstrations, practice, or wait for an evaluation", MODES),
    LaunchArgument(
        "run_directory", "runs/pot_pick_and_place", "bags, checkpoints and the reward model are here"
    ),
    LaunchArgument("seed", "0", "everything random follows from it"),
    LaunchArgument("image_size", "64", "height and width of the policy's picture [px]"),
    LaunchArgument(
        "lockstep", "true", "simulation only: the world waits for each command", ("true", "false")
    ),
    LaunchArgument("namespace", "", "ROS namespace of all nodes, for a second robot"),
    LaunchArgument("weights", "practised", "which policy is evaluated", ("practised", "pretrained", "retrained")),
    LaunchArgument("parameters", "", "YAML file: node -> parameter -> value, on top of what the graph sets"),
)


def settings_from_arguments(values: Mapping[str, str]) -> GraphSettings:
    """GraphSettings from the texts of the launch arguments. Raises RobofumeError for a value that does not
    fit."""
    texts: dict[str, Any] = dict(values)
    file = texts.pop("parameters")
    typed: dict[str, Any] = {"run_directory": Path(texts.pop("run_directory")).resolve()}
    for name in ("seed", "image_size"):
        text = texts.pop(name)
        if not text.isdigit():
            raise RobofumeError(f"{name} must be a whole number of 0 or more, not {text!r}.")
        typed[name] = int(text)
    typed["lockstep"] = texts.pop("lockstep") == "true"
    if file:
        try:
            typed["overrides"] = yaml.safe_load(Path(file).read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise RobofumeError(f"The parameter file {file} cannot be read: {error}") from error
    return GraphSettings(**texts, **typed)
