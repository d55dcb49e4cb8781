"""Pictures of prior data, which follow no direction of this task, as pictures of no success at it.

Whatever another robot did in another scene, this task is not done there. A model that has seen nothing but its own
scene need not know that. Off by default (`DatasetConfig.prior_share`): what it does to the judge is not measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData

from . import counterexamples, questions
from .dataset import LabelledFrames


def of_other_tasks(prior: Sequence[EpisodeData], frames: LabelledFrames) -> list[EpisodeData]:
    """The episodes of prior data whose instruction is none that is asked about `frames`: with the same one they may
    well show success.
    """
    asked = {_plain(text) for text in np.unique(frames.instructions)}
    return [episode for episode in prior if _plain(episode.instruction) not in asked]


def add(
    frames: LabelledFrames, prior: Sequence[EpisodeData], share: float, seed: int
) -> tuple[LabelledFrames, int]:
    """The questions of `frames`, and every one of their instructions about a `share` of the pictures of `prior`, drawn
    at random and answered no; how many these are. RobofumeError where the pictures differ in size.
    """
    if not prior:
        return frames, 0
    generator = np.random.default_rng(seed)
    images, poses = [frames.images[:0]], [frames.proprioception[:0]]
    for episode in prior:
        if episode.images.shape[1:] != frames.images.shape[1:]:
            raise RobofumeError(
                "The pictures of the prior data have another size than those of the task; import them with its size, "
                "or set reward_data.prior_share to 0."
            )
        drawn = generator.random(len(episode.images)) < share
        images.append(episode.images[drawn])
        poses.append(episode.proprioception[drawn])
    more = counterexamples.with_no(frames, np.concatenate(images), np.concatenate(poses))
    return more, len(more) - len(frames)


def _plain(instruction: str) -> str:
    return questions.clean(instruction).lower()
