"""Trains the policy offline: on the demonstrations, or anew on these and what was practised."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError

from robofume_bringup.stages.capacity import fitting
from robofume_bringup.stages.context import StageContext
from robofume_bringup.stages.networks import network_of
from robofume_bringup.stages.prior import PriorData, prior_names
from robofume_bringup.task_files import task_description

STAGE = "pretrain"
RETRAIN = "retrain"
LARGER = "start the run with --set replay.offline_capacity=STEPS"
"""What to do where the demonstrations do not fit the memory."""


def pretrain_policy(context: StageContext, again: bool = False) -> None:
    """Train into `pretrained/`; continues from the newest checkpoint there unless it shall start `again`."""
    from robofume_data.bad_attempts import read_for_policy
    from robofume_data.bag_reader import episode_ids, find_bags
    from robofume_policy.replay_cache import ReplayCache

    directory = context.directory
    _need_demonstrations(context)
    if again and directory.checkpoints.exists():
        raise RobofumeError(
            f"The run {directory.name} has practised from its pre-trained policy: use another run to pre-train anew."
        )
    with context.timed(STAGE):
        if again:
            shutil.rmtree(directory.pretrained, ignore_errors=True)
        demonstrations, cameras = directory.bag_files("demos"), network_of(context.config).further_cameras
        _note_demonstrations(context, STAGE, directory.pretrained, len(episode_ids(demonstrations)))
        prior = find_bags([Path(path) for path in context.config.prior])
        updates = _train(
            context, read_for_policy(demonstrations, cameras), directory.pretrained, context.config.pretraining_updates,
            "Pre-training the policy", cache=ReplayCache(directory.replay, [*prior, *demonstrations]),
            advice=f"give less prior data, or {LARGER}" if prior else LARGER,
            own=episode_ids(demonstrations) if prior else (),
        )  # fmt: skip
    also = "prior data and the demonstrations" if context.config.prior else "the demonstrations"
    context.say(f"Pre-training: {updates} updates on {also} are done.")
    directory.note(STAGE, finished=True, updates=updates)


def retrain_policy(context: StageContext, steps: int, upsampling: int, again: bool = False) -> None:
    """Train a new policy into `retrained/` on the demonstrations and the first `steps` steps of practice (0: all).

    Successful episodes of practice are drawn `upsampling` times as often as others. Continues unless `again`.
    """
    from robofume_data.bad_attempts import read_for_policy
    from robofume_data.bag_reader import episode_ids, find_bags
    from robofume_data.labels import labels_hash, read_labelled
    from robofume_policy.replay_cache import ReplayCache
    from robofume_policy.retraining import first_steps, repeated_successes, without_pictures

    directory = context.directory
    _need_demonstrations(context)
    if steps < 0 or upsampling < 1:
        raise RobofumeError("--first-steps must be 0 or more, and --upsampling 1 or more.")
    cameras = network_of(context.config).further_cameras
    bags, demonstrations = directory.bag_files("practice"), directory.bag_files("demos")
    practised = first_steps(without_pictures(read_labelled(bags)), steps)
    if not practised:
        raise RobofumeError(
            f"The run {directory.name} has no episode of practice in its first {steps} steps: run `robofume practice "
            f"--run {directory.name}` first, or leave out --first-steps."
        )
    prior = find_bags([Path(path) for path in context.config.prior])
    made = sum(len(episode.actions) for episode in practised)
    labels = labels_hash(bags[0])
    chosen = {episode.episode_id for episode in practised}
    practice = (episode for episode in read_labelled(bags, cameras=cameras) if episode.episode_id in chosen)
    with context.timed(RETRAIN):
        if again:
            shutil.rmtree(directory.retrained, ignore_errors=True)
        _note_demonstrations(context, RETRAIN, directory.retrained, len(episode_ids(demonstrations)))
        updates = _train(
            context,
            itertools.chain(read_for_policy(demonstrations, cameras), practice),
            directory.retrained,
            context.config.retraining_updates,
            "Training a new policy",
            cache=ReplayCache(directory.replay, [*prior, *demonstrations, *bags], f"first {steps} steps"),
            advice="take less practice with --first-steps, or set replay.offline_capacity in the run's config.yaml",
            metrics_name="retraining",
            times=repeated_successes(practised, upsampling),
            own=episode_ids(demonstrations) | chosen if prior else (),
            data={
                "practice_steps": made, "practice_episodes": len(practised), "upsampling": upsampling,
                **({"labels": labels} if labels else {}),
            },
        )  # fmt: skip
    context.say(
        f"Retraining: {updates} updates on the demonstrations and {made} steps of practice ({len(practised)} episodes) "
        f"are done. `robofume evaluate --run {directory.name} --weights retrained` measures the new policy."
    )
    directory.note(RETRAIN, finished=True, updates=updates, practice_steps=made, upsampling=upsampling)


def _note_demonstrations(context: StageContext, stage: str, folder: Path, count: int) -> None:
    """Keep how many recorded episodes a training begins with; say where there are others when it is continued."""
    directory = context.directory
    begun = any(folder.glob("[0-9]*"))
    before = directory.stage_record(stage).get("demonstrations")
    if not begun:
        directory.note(stage, demonstrations=count)
    elif before not in (None, count):
        practised = stage == STAGE and directory.checkpoints.exists()
        how = "in another run, since this one has practised," if practised else "with --again"
        training = "pre-training" if stage == STAGE else "retraining"
        context.say(
            f"There are {count} recorded episodes, and the {training} began with {before}: train {how} to learn from "
            "all of them from the beginning."
        )


def _need_demonstrations(context: StageContext) -> None:
    if not context.directory.bag_files("demos"):
        raise RobofumeError(
            f"The run {context.directory.name} has no demonstrations yet: run `robofume demos --run "
            f"{context.directory.name}` first."
        )


def _train(
    context: StageContext, episodes: Iterable[Any], folder: Path, updates: int, title: str, advice: str, **more: Any
) -> int:
    """Train into `folder` with the run's settings on its prior data and these episodes; the updates made there.

    `advice`: what to do where they are more than the memory holds.
    """
    from robofume_common.parameters import from_dict
    from robofume_data.bag_reader import find_bags
    from robofume_data.labels import labels_hashes
    from robofume_policy.config import (
        AgentConfig,
        LanguageConfig,
        PretrainingConfig,
        ReplayConfig,
    )
    from robofume_policy.pretraining import pretrain

    config = context.config
    action_space = task_description(config.robot, config.task).action_space
    options = from_dict(
        PretrainingConfig, {"seed": config.seed, **config.of("pretraining"), "updates": updates}
    )
    replay = from_dict(ReplayConfig, config.of("replay"))
    prior = PriorData(config)
    if config.prior:
        told: dict[str, Any] = {"prior": prior_names(config), "prior_share": replay.prior_share}
        labels = labels_hashes(find_bags(config.prior))
        more["data"] = {**more.get("data", {}), **told, **({"prior_labels": labels} if labels else {})}
    with context.interruption.immediately(), context.bar(title, options.updates, "update") as bar:
        trained = pretrain(
            fitting(
                prior.before(episodes) if config.prior else episodes, replay.offline_capacity,
                "The recorded data of this run", advice,
            ),
            folder,
            action_space=action_space,
            network=network_of(config),
            agent=from_dict(AgentConfig, config.of("agent")),
            replay=replay,
            language=from_dict(LanguageConfig, config.of("language")),
            config=options,
            metrics_directory=context.directory.metrics,
            progress=context.training_progress(bar, ("losses/bellman", "losses/imitation")),
            **more,
        )
    if config.prior:
        context.say(prior.sentence())
    return trained.agent.updates
