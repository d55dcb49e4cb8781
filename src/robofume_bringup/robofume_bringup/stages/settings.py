"""Whether the settings of a run that is to begin exist and fit: a run keeps what it is begun with."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from robofume_common.parameters import from_dict

from robofume_bringup.graph import GraphSettings
from robofume_bringup.run_config import COMPONENTS, RunConfig, Settings
from robofume_bringup.stages.context import StageContext
from robofume_bringup.stages.keystore import MODES
from robofume_bringup.stages.networks import network_of
from robofume_bringup.task_files import task_description


def check_settings(context: StageContext, given: Settings) -> None:
    """Raise RobofumeError for a robot, task or picture size that cannot be, or a setting of `given` that there is not
    or that does not fit: now, and not in the stage that takes it, after the hours of those before it.
    """
    config = context.config
    check_pictures(config)
    for component in COMPONENTS:
        if component in given and component != "network":
            from_dict(_component(component), config.of(component))
    of_nodes = set(given) - (set(COMPONENTS) - {"network", "replay"})
    if of_nodes and find_spec("rclpy") is not None:  # without ROS no node starts, and their settings are with them
        for mode in MODES:
            context.node_configs(mode)


def check_pictures(config: RunConfig) -> None:
    """Raise RobofumeError for a robot, task or picture size that cannot be, and for a camera that is not there."""
    task_description(config.robot, config.task)
    cameras = GraphSettings(config.task, "practice", further_cameras=network_of(config).further_cameras).cameras
    if config.robot == "mujoco" and cameras:
        from robofume_sim.world import check_camera

        for camera in cameras:
            check_camera(camera)


def _component(name: str) -> type[Any]:
    """The settings of one of COMPONENTS; those of the judge take seconds to import."""
    if name == "reward_training":
        from robofume_reward.training import TrainingConfig

        return TrainingConfig
    if name == "reward_data":
        from robofume_reward.dataset import DatasetConfig

        return DatasetConfig
    from robofume_policy import config

    named: dict[str, type[Any]] = {
        "pretraining": config.PretrainingConfig, "adaptation": config.AdaptationConfig, "agent": config.AgentConfig,
        "replay": config.ReplayConfig, "language": config.LanguageConfig,
    }  # fmt: skip
    return named[name]
