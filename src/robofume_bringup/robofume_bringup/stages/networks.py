"""The policy's network as the settings of a run have it."""

from robofume_common.parameters import from_dict
from robofume_policy.config import NetworkConfig

from robofume_bringup.run_config import RunConfig
from robofume_bringup.task_files import task_description


def network_of(config: RunConfig) -> NetworkConfig:
    """Shape of the network that a run trains. Raises RobofumeError where a setting `network.*` cannot be."""
    dimension = task_description(config.robot, config.task).action_space.dimension
    given = {"action_dimension": dimension, **config.of("network"), "image_size": config.image_size}
    return from_dict(NetworkConfig, given)
