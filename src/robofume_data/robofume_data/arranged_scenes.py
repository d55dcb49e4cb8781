"""Scenes that somebody arranged and photographed, as episodes: a picture, what it shows, and no action."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from robofume_common.action import PHYSICAL_DIMENSION
from robofume_common.enums import Direction, Outcome, Phase, RewardSource, Verdict
from robofume_common.task import TaskDescription

from robofume_data.episode import EpisodeData

PER_SCENE = 2
"""Episodes of one scene: one for each direction."""


def arranged_episodes(
    number: int, task: TaskDescription, image: NDArray[np.uint8], proprioception: NDArray[np.float32],
    forward: bool, backward: bool,
) -> list[EpisodeData]:  # fmt: skip
    """The answers to the questions of both directions, given by a person.

    Arguments:
        number: of the scene in its run.
        image: (H, W, 3), RGB, as the policy sees it, with the arm at home.
        proprioception: (7,) of the arm, see EpisodeData.
        forward, backward: whether the goal of the direction is reached.

    No episode follows from another: each scene is a new one. RobofumeError where an array does not fit.
    """
    stamp = np.array([time.time_ns()], np.int64)
    episodes = []
    for direction, reached in ((Direction.FORWARD, forward), (Direction.BACKWARD, backward)):
        episode = EpisodeData(
            episode_id=f"scene_{direction.name.lower()}-{number:06d}",
            task=task.name,
            instruction=task.instruction(direction),
            phase=Phase(direction),
            direction=direction,
            outcome=Outcome.SUCCESS if reached else Outcome.TIMEOUT,
            success_index=0 if reached else -1,
            assisted_reset_before=True,
            images=np.asarray(image)[None],
            proprioception=np.asarray(proprioception)[None],
            actions=np.zeros((0, PHYSICAL_DIMENSION), np.float32),
            actors=np.zeros(0, np.uint8),
            policy_versions=np.zeros(1, np.uint64),
            stamps=stamp,
            verdicts=np.array([Verdict.SUCCESS if reached else Verdict.FAILURE], np.uint8),
            probabilities=np.array([float(reached)], np.float32),
            sources=np.array([RewardSource.HUMAN], np.uint8),
        )
        episodes.append(episode.validate())
    return episodes
