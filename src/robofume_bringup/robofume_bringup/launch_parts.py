"""Launch descriptions from the graph, for the files in launch/.

The packages for it (launch, launch_ros, ros2launch, and ros2bag for the replay) come with a ROS installation, not from
PyPI.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare
from robofume_common.errors import RobofumeError
from robofume_common.parent import LAUNCH_PID

from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.launch_arguments import LAUNCH_ARGUMENTS, join_run, keystore_of, settings_from_arguments
from robofume_bringup.network import network_environment
from robofume_bringup.node_table import PARTS, NodeDescription
from robofume_bringup.security import secured, security_environment
from robofume_bringup.views import shared_file

REPLAY_LEAD, REPLAY_TAIL = 5.0, 5.0
"""Seconds before a bag is played, so that its first message is heard, and after it, so that its last step is kept."""


def describe(parts: Iterable[str] = PARTS) -> LaunchDescription:
    """The launch description of some parts of the graph, with all launch arguments."""
    chosen = tuple(parts)
    arguments = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in LAUNCH_ARGUMENTS
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start, kwargs={"parts": chosen})])


def _start(context: LaunchContext, parts: tuple[str, ...]) -> list[Any]:
    values = {
        argument.name: LaunchConfiguration(argument.name).perform(context) for argument in LAUNCH_ARGUMENTS
    }
    if parts == ("rviz",):
        values["use_rviz"] = "true"
    settings = join_run(settings_from_arguments(values))
    nodes = [node for node in build_graph(settings) if node.part in parts]
    for node in nodes:
        node.settings()
    require_packages(nodes)
    environment = {LAUNCH_PID: str(os.getpid()), **network_environment()}
    if values["security"] == "true":
        nodes = secured(nodes)
        environment |= security_environment(keystore_of(settings))
    actions: list[Any] = []
    if settings.robot == "gazebo" and settings.mode != "replay" and "robot" in parts:
        actions.append(_gazebo(settings))
    for node in nodes:
        actions += launch_actions(node, settings.namespace)
    if settings.mode == "replay" and "replay" in parts:
        actions += _player(settings)
    if not actions:
        actions.append(LogInfo(msg=f"Nothing to start: {settings.robot} in mode {settings.mode} has no such part."))
    return [*(SetEnvironmentVariable(name, value) for name, value in environment.items()), *actions]


def require_packages(nodes: Iterable[NodeDescription]) -> None:
    """RobofumeError where a node's package is not installed: said before anything runs."""
    missing = set()
    for node in nodes:
        try:
            get_package_prefix(node.package)
        except PackageNotFoundError:
            missing.add(node.package)
    if missing:
        packages = " ".join(f"ros-$ROS_DISTRO-{name.replace('_', '-')}" for name in sorted(missing))
        raise RobofumeError(
            f"Not installed, or not sourced: {', '.join(sorted(missing))}. Packages of ROS: `sudo apt install "
            f"{packages}`; packages of RoboFuME: `. install/setup.bash`."
        )


def launch_actions(node: NodeDescription, namespace: str, restarts_left: int | None = None) -> list[Any]:
    """A node as launch actions: itself, and what follows when it ends.

    Not launch's own `respawn`: that cannot count on Humble, and would start again a node that Ctrl+C has just ended.
    """
    left = node.restarts if restarts_left is None else restarts_left
    action = Node(
        package=node.package,
        executable=node.executable,
        name=node.name,
        exec_name=node.name,  # in the log, also behind a prefix
        namespace=namespace,
        parameters=[node.ros_parameters()] if node.ros_parameters() else [],
        remappings=list(node.remappings.items()),
        arguments=[*node.arguments, *(("--ros-args", "--enclave", node.enclave) if node.enclave else ())],
        prefix=f"nice -n {node.niceness}" if node.niceness else None,
        output="both",
        sigterm_timeout=str(node.stop_deadline),
    )

    def on_exit(event: Any, context: LaunchContext) -> list[Any]:
        if context.is_shutdown:
            return []
        if event.returncode != 0 and left > 0:
            again = launch_actions(node, namespace, left - 1)
            note = LogInfo(msg=f"Starting the {node.name} node again ({left - 1} more times after this).")
            return [note, TimerAction(period=node.restart_delay, actions=again)]
        return [Shutdown(reason=f"the {node.name} node ended")] if node.needed else []

    return [action, RegisterEventHandler(OnProcessExit(target_action=action, on_exit=on_exit))]


def _gazebo(settings: GraphSettings) -> Any:
    """Interbotix's arm in Gazebo Classic, in the world of the task."""
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            [FindPackageShare("interbotix_xsarm_sim"), "/launch/xsarm_gz_classic.launch.py"]
        ),
        launch_arguments={
            "robot_model": "wx250s",
            "robot_name": settings.robot_name,
            "world_filepath": str(shared_file(f"worlds/{settings.task}.world")),
            "use_rviz": "false",
        }.items(),
    )


def _player(settings: GraphSettings) -> list[Any]:
    """`ros2 bag play`, and the end of everything a little after it."""
    namespace = settings.namespace.strip("/")
    # What the bag calls a topic is found in this robot's namespace only if it is put there.
    remaps = ["--remap", f"/camera/image_raw:=/{namespace}/camera/image_raw"] if namespace else []
    play = ExecuteProcess(cmd=["ros2", "bag", "play", settings.bag, *remaps], output="both")
    end = TimerAction(period=REPLAY_TAIL, actions=[Shutdown(reason="the bag has been played")])
    return [
        TimerAction(period=REPLAY_LEAD, actions=[play]),
        RegisterEventHandler(OnProcessExit(target_action=play, on_exit=[end])),
    ]
