"""Trains the policy offline on the demonstrations."""

from __future__ import annotations

import shutil

from robofume_common.errors import RobofumeError

from robofume_bringup.stages.context import StageContext

STAGE = "pretrain"


def pretrain_policy(context: StageContext, again: bool = False) -> None:
    """Train into `pretrained/`; continues from the newest checkpoint there unless it shall start `again`."""
    from robofume_common.parameters import from_dict
    from robofume_data.bag_reader import read_episodes
    from robofume_policy.config import (
        AgentConfig,
        NetworkConfig,
        PretrainingConfig,
        ReplayConfig,
    )
    from robofume_policy.pretraining import pretrain
    from robofume_sim.tasks import TASKS

    config, directory = context.config, context.directory
    if not directory.bag_files("demos"):
        raise RobofumeError(
            f"The run {directory.name} has no demonstrations yet: run `robofume demos --run "
            f"{directory.name}` first."
        )
    if again:
        if directory.checkpoints.exists():
            raise RobofumeError(
                f"The run {directory.name} has practised from its pre-trained policy: use another run to "
                f"pre-train anew."
            )
        shutil.rmtree(directory.pretrained, ignore_errors=True)
    action_space = TASKS[config.task].description.action_space
    options = from_dict(
        PretrainingConfig,
        {"seed": config.seed, **config.of("pretraining"), "updates": config.pretraining_updates},
    )
    network = from_dict(
        NetworkConfig,
        {"action_dimension": action_space.dimension, **config.of("network"), "image_size": config.image_size},
    )
    with (
        context.timed(STAGE),
        context.interruption.immediately(),
        context.bar("Pre-training the policy", options.updates, "update") as bar,
    ):
        trained = pretrain(
            read_episodes(directory.bag_files("demos")),
            directory.pretrained,
            action_space=action_space,
            network=network,
            agent=from_dict(AgentConfig, config.of("agent")),
            replay=from_dict(ReplayConfig, config.of("replay")),
            config=options,
            metrics_directory=directory.metrics,
            progress=context.training_progress(bar, ("losses/critic", "losses/imitation")),
        )
    context.say(f"Pre-training: {trained.agent.updates} updates on the demonstrations are done.")
    directory.note(STAGE, finished=True, updates=trained.agent.updates)
