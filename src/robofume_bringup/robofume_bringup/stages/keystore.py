"""SROS2 keys and permissions for the graph of a run."""

from __future__ import annotations

from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.security import graph_permissions, make_keystore
from robofume_bringup.stages.context import StageContext
from robofume_bringup.stages.networks import network_of

MODES = ("collect", "practice", "evaluate")


def make_run_keystore(context: StageContext, namespace: str) -> None:
    """Make the run's keystore, or renew its permissions: each node may use what it uses in one of the modes."""
    config, directory = context.config, context.directory
    nodes = [
        node
        for mode in MODES
        for node in build_graph(
            GraphSettings(
                task=config.task,
                mode=mode,
                robot=config.robot,
                run_directory=directory.path.resolve(),
                namespace=namespace,
                further_cameras=network_of(config).further_cameras,
                overrides=config.node_settings,
            )
        )
    ]
    permissions = graph_permissions(nodes, namespace)
    make_keystore(directory.keystore, permissions)
    context.say(
        f"Keys and permissions for {', '.join(entry.name for entry in permissions)} are in {directory.keystore}: keep "
        f"its folder private/ to yourself. `robofume up --run {directory.name} --secure` uses them, and so does "
        "`security:=true` in the launch files. A person joins with `robofume teleop`, `helped`, `scenes` or "
        f"`workspace record`, each with --run {directory.name} --secure."
    )
