"""The graph: which nodes run, with which parameters and remappings, for a robot, a task and a mode.

This one description feeds the launch files and the process runner. It imports no rclpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError
from robofume_common.task import TaskDescription
from robofume_data.bad_attempts import CLUMSY
from robofume_data.topics import observation_topic

from robofume_bringup.node_table import NODES, NodeDescription
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.task_files import task_description
from robofume_bringup.views import view_nodes

MODES = ("collect", "practice", "evaluate", "replay")
DEMONSTRATORS = ("scripted", "person")
CONTROL_RATE = 5.0
"""Control steps per second on a robot that does not wait; also the simulation's."""
STREAM_SLACK = 1.3
"""How much faster than the arm node plans a real arm's driver may be: its ticks jitter."""


def control_period(robot: str, settings: Mapping[str, Mapping[str, Any]]) -> float:
    """Seconds of the robot's own time from one control step to the next, with a run's settings of nodes.

    Raises RobofumeError where the setting that says it is no number.
    """
    if robot == "mujoco":
        return _number(settings, "sim", "control_period", 1.0 / CONTROL_RATE)
    return 1.0 / (_number(settings, "camera", "rate", CONTROL_RATE) or CONTROL_RATE)


def _number(settings: Mapping[str, Mapping[str, Any]], node: str, name: str, default: float) -> float:
    """A setting that others follow from, before the node itself looks at it."""
    value = settings.get(node, {}).get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RobofumeError(f"Settings of the {node} node: {name} must be a number, not {value!r}.")
    return float(value)


SUCCESSES_SHOWN = 3
"""Steps in a row that must show the success before a demonstration ends."""


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
    """Places of the objects in the simulation follow from it; None: the seed, which a varied world follows from
    anyway."""
    start_direction: int = 1
    """Direction (Step.DIRECTION_*) that starts where the simulation's objects are at first."""
    start_task: str = ""
    """Of several tasks in one scene, the one that `start_direction` is of; empty: the first."""
    image_size: int = 64
    """Height and width of the policy's picture [px]."""
    lockstep: bool = True
    demonstrator: str = "scripted"
    """Who demonstrates in simulation: scripted, or person (`robofume teleop`; in the wall clock's time)."""
    namespace: str = ""
    weights: str = "practised"
    """Which policy is evaluated, one of `run_directory.POLICIES`."""
    record: bool = True
    clumsy: bool = False
    """In collection: deliberately bad attempts."""
    restarts: int = 0
    """Times that a node which dies is started again, except those in LOST_WITH_THEIR_PROCESS."""
    use_rviz: bool = False
    """Whether rviz, the robot model and the markers are shown."""
    robot_name: str = "wx250s"
    """Namespace of the real arm's driver, or of the arm in Gazebo."""
    camera_source: str = ""
    """OpenCV source of the camera: device number, file or URL; empty: the topic `image_topic`."""
    image_topic: str = ""
    """Topic of the camera's driver; empty: where the robot's camera publishes."""
    extra_cameras: tuple[str, ...] = ()
    """Further cameras: `wrist` is a node `camera_wrist` from `wrist/image_raw` to `observation/wrist/image`."""
    further_cameras: tuple[str, ...] = ()
    """Those of the extra cameras that the policy sees too, in the order of `network.further_cameras`; the embedded
    simulation shows them. Each has its node, whether `extra_cameras` names it or not."""
    bag: str = ""
    """Replay: the bag that is played."""
    replay_direction: int = 1
    """Replay: the direction (Step.DIRECTION_*) that the bag shows."""
    replay_outcome: str = "unknown"
    """Replay: how its episodes ended: success, timeout or unknown."""
    prior: tuple[str, ...] = ()
    """Bags of prior data that the learner samples from beside the demonstrations."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Node name -> parameter -> value, on top of what the graph sets."""

    @property
    def waits(self) -> bool:
        """Whether the world waits for each command: only the embedded simulation can."""
        return self.lockstep and self.robot == "mujoco" and self.mode != "replay" and not self._person_demonstrates

    @property
    def simulated_time(self) -> bool:
        """Whether the nodes live by `/clock`, since they compare stamps with now; in lockstep nobody asks for it."""
        return self.robot != "widowx" and self.mode != "replay" and not self.waits

    @property
    def scripted(self) -> bool:
        """Whether the scripted demonstrator is part of the graph; it needs the truth of a simulation."""
        return self.mode == "collect" and self.judged and not self._person_demonstrates

    @property
    def _person_demonstrates(self) -> bool:
        return self.mode == "collect" and self.demonstrator == "person"

    @property
    def judged(self) -> bool:
        """Whether the robot's world tells its own truth."""
        return self.robot != "widowx"

    @property
    def cameras(self) -> tuple[str, ...]:
        """All cameras but the first, each once. Raises RobofumeError for a name that cannot be part of a topic's."""
        names = tuple(dict.fromkeys((*self.further_cameras, *self.extra_cameras)))
        for name in names:
            if not name.isidentifier():
                raise RobofumeError(f"A camera's name has letters, digits and _, not {name!r}.")
        return names


def next_start(run: RunDirectory, mode: str) -> dict[str, Any]:
    """Fields of GraphSettings: what the switcher goes on with, which a simulation that starts anew must fit to.

    Raises RobofumeError where its state is damaged.
    """
    from robofume_reset.state import load_state
    from robofume_reset.switching import SwitchingConfig

    alternation = load_state(run.switcher_state(mode), SwitchingConfig()).alternation
    return {"start_direction": int(alternation.direction), "start_task": alternation.task}


LOST_WITH_THEIR_PROCESS = ("sim", "switcher", "interbotix", "replay")
"""Nodes whose restart does not continue the run: the world would be another one, the goal or the episode in progress
is forgotten, or the real arm may have lost its torque and needs a person."""


PRACTICE_JUDGE = {"judge": "vlm", "home_threshold": 0.5, "enough": 0.8}
"""Parameters of the reward node in practice. The model's threshold was chosen on frames in motion; of what is seen from
home, P(yes) > P(no) is enough, or what the model saved for such pictures where that is more. A call in motion only ends
the episode, and what is seen from home decides (docs/trials.md, "On practice")."""


LANES = {"sim": 0, "reward": 0, "switcher": 0, "camera": 1, "policy": 1, "arm": 1}
"""Which nodes share a processor in lockstep. From picture to command the world waits, and so does its processor: what
follows a step there (verdict, permit) is out of the way of the command."""


def build_graph(settings: GraphSettings, task: TaskDescription | None = None) -> list[NodeDescription]:
    """Describe every node of the graph, in the order in which they are started; `task`, where it is none of the robot's
    own.

    Raises RobofumeError for an unknown robot, mode or task, and for overrides of a node that does not exist.
    """
    if settings.mode not in MODES:
        raise RobofumeError(f"There is no mode {settings.mode!r}; choose one of: {', '.join(MODES)}.")
    if settings.demonstrator not in DEMONSTRATORS:
        raise RobofumeError(f"The demonstrator is one of {', '.join(DEMONSTRATORS)}, not {settings.demonstrator!r}.")
    task = task or task_description(settings.robot, settings.task)
    known = {**NODES, **{name: replace(NODES["camera"], name=name) for name in map(camera_node, settings.cameras)}}
    unknown = sorted(set(settings.overrides) - set(known))
    if unknown:
        raise RobofumeError(
            f"There is no node {', '.join(unknown)}; choose from: {', '.join(sorted(known))}."
        )
    parameters = _replay(settings, task) if settings.mode == "replay" else _living(settings, task)
    remappings = _remappings(settings)
    overrides = _overrides(settings)
    hurried = settings.waits and "learner" not in parameters
    nodes = [
        replace(
            known[name],
            parameters={**values, **overrides.get(name, {})},
            remappings=remappings.get(name, {}),
            use_sim_time=settings.simulated_time,
            restarts=0 if name in LOST_WITH_THEIR_PROCESS else settings.restarts,
            batch=hurried,
            lane=LANES.get(name) if hurried else None,
        )
        for name, values in parameters.items()
    ]
    return [*nodes, *view_nodes(settings, task)] if settings.use_rviz else nodes


def _living(settings: GraphSettings, task: TaskDescription) -> dict[str, dict[str, Any]]:
    return {**_robot(settings, task), **_learning(settings, task)}


def camera_node(camera: str) -> str:
    """Name of the node of one of the cameras after the first."""
    return f"camera_{camera}"


def _camera(settings: GraphSettings, task: TaskDescription) -> dict[str, dict[str, Any]]:
    """Parameters of the camera nodes; the crop and the source belong to the first."""
    size = settings.image_size
    values: dict[str, Any] = {"width": size, "height": size, "lockstep": settings.waits}
    if settings.robot != "mujoco":
        values |= {"rate": CONTROL_RATE, "max_age": 1.0, "hold_when_blind": True, "frozen_after": 15}
    first = {**values, "source": settings.camera_source, "crop": task.crop}
    return {"camera": first, **{camera_node(name): dict(values) for name in settings.cameras}}


def _robot(settings: GraphSettings, task: TaskDescription) -> dict[str, dict[str, Any]]:
    """Parameters of the nodes that are, or touch, the robot."""
    scene_seed = settings.seed if settings.scene_seed is None else settings.scene_seed
    start = {"task": task.name, "seed": scene_seed, "start_direction": settings.start_direction}
    started = {"start_task": settings.start_task}
    nodes: dict[str, dict[str, Any]] = {}
    if settings.robot == "mujoco":
        nodes["sim"] = {
            **start,
            **started,
            "variation_seed": settings.seed,  # one world for the whole run, wherever the objects lie at a start
            "lockstep": settings.waits,
            "further_cameras": settings.further_cameras,
            "half_done": settings.mode == "collect",
        }
    elif settings.robot == "gazebo":
        nodes["gazebo_scene"] = start
        nodes["gazebo_arm"] = {"robot_name": settings.robot_name}
    else:
        nodes["interbotix"] = {"robot_model": "wx250s", "robot_name": settings.robot_name}
    nodes |= _camera(settings, task)
    nodes["arm"] = {
        "workspace_minimum": task.workspace_minimum,
        "workspace_maximum": task.workspace_maximum,
        "home_joint_positions": task.home_joint_positions,
        "translation_limit": task.translation_limit,
        "rotation_limit": task.rotation_limit,
        "control_period": control_period(settings.robot, settings.overrides),
        "lockstep": settings.waits,
    }
    if settings.robot == "widowx":
        # Half of what the servos can, and home without hurry: people stand beside this one. The arm node counts
        # commands; its driver counts time, so that commands that come too fast make nothing faster.
        nodes["arm"] |= {"velocity_scale": 0.5, "home_velocity_scale": 0.2}
        allowed = _number(settings.overrides, "arm", "velocity_scale", nodes["arm"]["velocity_scale"])
        nodes["interbotix"]["velocity_scale"] = min(1.0, STREAM_SLACK * allowed)
    if settings.scripted:
        nodes["demonstrator"] = {
            "task": task.name,
            "seed": scene_seed,
            "failure_share": float(settings.clumsy),
        }
    return nodes


def _remappings(settings: GraphSettings) -> dict[str, dict[str, str]]:
    """Node -> name -> topic, where a robot's own names differ from the graph's."""
    image = settings.image_topic
    nodes: dict[str, dict[str, str]] = {
        camera_node(name): {
            "camera/image_raw": f"{name}/image_raw",
            "camera/image_raw/compressed": f"{name}/image_raw/compressed",
            "camera/camera_info": f"{name}/camera_info",
            "observation/image": observation_topic(name),
        }
        for name in settings.cameras
    }
    if settings.robot != "mujoco":
        # A living arm's joint states are put into the graph's terms by the interbotix or the gazebo_arm node.
        nodes["replay"] = {"joint_states": f"/{settings.robot_name}/joint_states"}
    if settings.robot == "gazebo":
        image = image or "/camera/image_raw"
    if image:
        nodes["camera"] = {
            "camera/image_raw": image,
            "camera/image_raw/compressed": f"{image}/compressed",
            "camera/camera_info": f"{image.rpartition('/')[0]}/camera_info",
        }
    return nodes


def _overrides(settings: GraphSettings) -> dict[str, dict[str, Any]]:
    """Node -> parameter -> value. Who is to judge practice (`reward.judge`) does not judge demonstrations and
    evaluation where a simulation's truth can."""
    given = {name: dict(values) for name, values in settings.overrides.items()}
    if settings.mode != "practice" and settings.judged:
        given.get("reward", {}).pop("judge", None)
    return given


def _judge(settings: GraphSettings) -> dict[str, Any]:
    """Parameters of the reward node."""
    if settings.mode == "practice":
        return dict(PRACTICE_JUDGE)
    if settings.judged:
        return {"judge": "ground_truth"}
    # A person judges with labels; a step without one is unknown, and nothing waits for it.
    return {"judge": "ground_truth", "deadline": 1.0}


def _replay(settings: GraphSettings, task: TaskDescription) -> dict[str, dict[str, Any]]:
    """A recorded robot in the place of a living one: nothing here can move an arm."""
    if not settings.bag:
        raise RobofumeError("The mode replay needs a bag: bag:=/path/to/a/bag.")
    if settings.run_directory is None:
        raise RobofumeError("The mode replay needs a run directory for the steps that it makes.")
    if settings.further_cameras:
        raise RobofumeError(
            "A replayed bag is seen through one camera: use a run without network.further_cameras, or import data of "
            "several cameras with `robofume import`."
        )
    nodes = _camera(settings, task)
    nodes["camera"] |= {"rate": CONTROL_RATE, "max_age": 0.0, "exit_when_lost": False, "source": ""}
    nodes["replay"] = {
        "task": task.name,
        "forward_instruction": task.forward_instruction,
        "backward_instruction": task.backward_instruction,
        "direction": settings.replay_direction,
        "outcome": settings.replay_outcome,
        "translation_limit": task.translation_limit,
        "rotation_limit": task.rotation_limit,
        "session": Path(settings.bag).stem,
        "step_listeners": 1,
    }
    nodes["recorder"] = {"directory": RunDirectory(settings.run_directory).bags("demos"), "name": "replay"}
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
            "lockstep": settings.waits,
            "source": "override" if mode == "collect" else "policy",
            "seed": settings.seed,
            "further_cameras": settings.further_cameras,
        },
        "reward": _judge(settings),
        "switcher": {
            "task": task.name,
            "forward_instruction": task.forward_instruction,
            "backward_instruction": task.backward_instruction,
            "step_limit": task.steps_allowed(demonstrating=mode == "collect"),
            "reset_every": task.demonstrations_per_scene if mode == "collect" else 0,
            "lockstep": settings.waits,
            "expect_learner": practises,
            "confirm": practises,
            # The truth of a simulation knows by itself what is held.
            "success_needs_open_gripper": task.released_at_success and (practises or not settings.judged),
            "further_tasks": task.further_tasks,
            "further_forward": task.further_forward,
            "further_backward": task.further_backward,
            "further_after": task.further_after,
            "nudge": task.nudge_actions if practises else (),  # demonstrations fail on purpose, or are a person's
            "relocate_forward": task.relocate_forward if practises else (),
            "relocate_backward": task.relocate_backward if practises else (),
            "relocate_step": task.translation_limit,
            "ask_person": settings.robot == "widowx",
            "min_episode_steps": 3,
            "session": mode,
        },
    }
    if mode == "collect" and settings.judged:
        # A person goes on for a moment after a success: the reward model needs pictures of it, and the policy learns
        # to let go clearly.
        nodes["switcher"] |= {"successes_needed": SUCCESSES_SHOWN, "verdict_window": SUCCESSES_SHOWN}
    if not practises and not settings.judged:
        nodes["switcher"] |= {"uncalled_is_failure": True}
    if practises:
        # One frame in motion deceives the model more often than two; what is missed is seen at the step limit.
        nodes["switcher"] |= {"successes_needed": 2, "verdict_window": 2}
    if directory is not None:
        nodes["switcher"]["state_file"] = directory.switcher_state(mode)
        if mode == "evaluate":
            nodes["policy"]["checkpoint"] = directory.policy(settings.weights)
        if mode != "collect":
            nodes["reward"]["model"] = directory.reward
        if practises:
            nodes["learner"] = {
                "pretrained": directory.pretrained,
                "demonstrations": (directory.bags("demos"),),
                "prior": settings.prior,
                "replay_cache": directory.replay,
                "practice": (directory.bags("practice"),),
                "checkpoints": directory.checkpoints,
                "best": directory.best,
                "metrics": directory.metrics,
                "seed": settings.seed,
                "further_cameras": settings.further_cameras,
            }
            # The switcher paces the loop by the same ratio.
            ratio = {"updates_per_step", "warm_up_steps"} & set(settings.overrides.get("learner", {}))
            nodes["switcher"] |= {name: settings.overrides["learner"][name] for name in ratio}
        if settings.record:
            kind = {"collect": "demos", "practice": "practice", "evaluate": "evaluate"}[mode]
            nodes["recorder"] = {
                "directory": directory.bags(kind),
                "name": CLUMSY if settings.clumsy else kind,
                "further_cameras": settings.further_cameras,
            }
    keepers = ("learner" in nodes) + ("recorder" in nodes)
    nodes["switcher"]["episode_listeners"] = keepers
    nodes["policy"] |= {"step_listeners": 2 + keepers, "view_listeners": keepers}  # the reward node and the switcher
    return nodes
