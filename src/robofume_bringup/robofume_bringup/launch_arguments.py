"""The arguments of the launch files, and the graph's settings from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from robofume_common.errors import RobofumeError

from robofume_bringup.graph import DEMONSTRATORS, MODES, GraphSettings, next_start
from robofume_bringup.run_config import RunConfig, merged, open_run
from robofume_bringup.run_directory import POLICIES, RunDirectory
from robofume_bringup.stages.networks import network_of
from robofume_bringup.stages.settings import check_pictures
from robofume_bringup.task_files import ROBOTS, is_task_file

BOOLEAN = ("true", "false")


@dataclass(frozen=True)
class LaunchArgument:
    """One argument of the launch files."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


LAUNCH_ARGUMENTS = (
    LaunchArgument("robot", "mujoco", "where the arm is: embedded simulation, Gazebo, or the real arm", ROBOTS),
    LaunchArgument(
        "task",
        "pot_pick_and_place",
        "what the arm is to do: a name (`robofume tasks` lists them), or for the real arm a task file.yaml",
    ),
    LaunchArgument(
        "mode",
        "practice",
        "collect demonstrations, practice, wait for an evaluation, or replay a bag as steps",
        MODES,
    ),
    LaunchArgument("use_rviz", "false", "show robot, camera and markers in rviz", BOOLEAN),
    LaunchArgument(
        "run_directory", "", "bags, checkpoints and the reward model are here; empty: runs/<namespace, or task>"
    ),
    LaunchArgument("namespace", "", "ROS namespace of all nodes, for a second robot"),
    LaunchArgument("robot_name", "wx250s", "namespace of the real arm's driver, or of the arm in Gazebo"),
    LaunchArgument("camera_source", "", "camera through OpenCV: device number, file or URL; empty: a topic"),
    LaunchArgument("image_topic", "", "topic of the camera's driver; empty: the graph's own camera/image_raw"),
    LaunchArgument("extra_cameras", "", "names of further cameras, with commas: wrist takes wrist/image_raw"),
    LaunchArgument(
        "policy_cameras", "", "of a new run: further cameras that its policy sees too, with commas; it keeps them"
    ),
    LaunchArgument("image_size", "64", "height and width of the policy's picture [px]"),
    LaunchArgument("seed", "0", "everything random follows from it"),
    LaunchArgument(
        "demonstrator",
        "scripted",
        "in collection with a simulation: the script, or a person with teleop",
        DEMONSTRATORS,
    ),
    LaunchArgument("lockstep", "true", "embedded simulation only: the world waits for each command", BOOLEAN),
    LaunchArgument("weights", "practised", "which policy is evaluated", POLICIES),
    LaunchArgument("record", "true", "write bags into the run directory", BOOLEAN),
    LaunchArgument("restarts", "2", "times that a node which dies is started again, where that continues the run"),
    LaunchArgument("bag", "", "replay: the bag to play"),
    LaunchArgument("replay_direction", "forward", "replay: what the bag shows", ("forward", "backward")),
    LaunchArgument(
        "replay_outcome", "unknown", "replay: how its episodes ended", ("success", "timeout", "unknown")
    ),
    LaunchArgument("security", "false", "SROS2 with the run's keystore, which `robofume security` makes", BOOLEAN),
    LaunchArgument("parameters", "", "YAML file: node -> parameter -> value, on top of what the graph sets"),
)

_NUMBERS = ("seed", "image_size", "restarts")
_SWITCHES = ("lockstep", "use_rviz", "record")


def settings_from_arguments(values: Mapping[str, str]) -> GraphSettings:
    """GraphSettings from the texts of the launch arguments. Raises RobofumeError for a value that does not
    fit."""
    texts: dict[str, Any] = dict(values)
    file = texts.pop("parameters")
    texts.pop("security", None)  # of the launch, not of the graph
    typed: dict[str, Any] = {}
    for name in _NUMBERS:
        text = texts.pop(name)
        if not text.isdigit():
            raise RobofumeError(f"{name} must be a whole number of 0 or more, not {text!r}.")
        typed[name] = int(text)
    for name in _SWITCHES:
        typed[name] = texts.pop(name) == "true"
    run = texts.pop("run_directory") or f"runs/{texts['namespace'].strip('/') or Path(texts['task']).stem}"
    typed["run_directory"] = Path(run).resolve()
    for name, argument in (("extra_cameras", "extra_cameras"), ("further_cameras", "policy_cameras")):
        typed[name] = tuple(camera for camera in texts.pop(argument).split(",") if camera)
    typed["replay_direction"] = {"forward": 1, "backward": 2}[texts.pop("replay_direction")]
    if file:
        try:
            overrides = yaml.safe_load(Path(file).read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise RobofumeError(f"The parameter file {file} cannot be read: {error}") from error
        if not isinstance(overrides, dict) or not all(isinstance(values, dict) for values in overrides.values()):
            raise RobofumeError(
                f"The parameter file {file} holds values by node and parameter, such as learner: {{batch_size: 64}}."
            )
        typed["overrides"] = overrides
    return GraphSettings(**texts, **typed)


def keystore_of(settings: GraphSettings) -> Path:
    """Where the keys of the run are."""
    assert settings.run_directory is not None
    return RunDirectory(settings.run_directory).keystore


def join_run(settings: GraphSettings) -> GraphSettings:
    """The settings as the run has them.

    Where the run is new its config.yaml is written, so that the `robofume` commands find it; where it is not, its seed,
    picture size and `lockstep` stand unless others are asked for. Its settings of nodes come below those of the
    parameter file.

    Raises RobofumeError where the run belongs to another task or robot, cannot be begun, or cannot be written.
    """
    if settings.run_directory is None:
        return settings
    task = str(Path(settings.task).resolve()) if is_task_file(settings.task) else settings.task
    given: dict[str, Any] = {"task": task, "robot": settings.robot}
    for name in ("seed", "image_size", "lockstep"):
        if getattr(settings, name) != getattr(RunConfig, name):
            given[name] = getattr(settings, name)
    if settings.further_cameras:
        given["settings"] = {"network": {"further_cameras": list(settings.further_cameras)}}
    run = open_run(RunDirectory(settings.run_directory), given, check_pictures)
    replay = {"learner": run.of("replay")} if run.of("replay") else {}  # practice's memories are like those of training
    overrides = merged(merged(replay, run.node_settings), settings.overrides)
    return replace(
        settings,
        seed=run.seed,
        image_size=run.image_size,
        lockstep=run.lockstep,
        further_cameras=network_of(run).further_cameras,
        prior=tuple(run.prior),
        overrides=overrides,
        **next_start(RunDirectory(settings.run_directory), settings.mode),
    )
