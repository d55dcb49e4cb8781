"""Starts the graph with ros2 launch: a thin layer over robofume_bringup.graph."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from robofume_bringup.graph import (
    LAUNCH_ARGUMENTS,
    build_graph,
    settings_from_arguments,
)


def _nodes(context):
    values = {
        argument.name: LaunchConfiguration(argument.name).perform(context) for argument in LAUNCH_ARGUMENTS
    }
    settings = settings_from_arguments(values)
    return [
        Node(
            package=node.package,
            executable=node.executable,
            name=node.name,
            namespace=settings.namespace,
            parameters=[node.parameter_values()],
            remappings=list(node.remappings.items()),
            respawn=node.restarts > 0,
            respawn_max_retries=node.restarts,
            on_exit=[Shutdown(reason=f"the {node.name} node ended")]
            if node.needed and not node.restarts
            else [],
            output="both",
        )
        for node in build_graph(settings)
    ]


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in LAUNCH_ARGUMENTS
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_nodes)])
