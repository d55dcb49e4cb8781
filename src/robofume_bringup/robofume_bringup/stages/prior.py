"""Prior data of a run: episodes of other robots and tasks that the policy is trained on beside its demonstrations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from robofume_common.action import GRIPPER, PHYSICAL_DIMENSION, ActionSpace
from robofume_common.enums import Outcome, Verdict
from robofume_common.errors import RobofumeError

from robofume_bringup.run_config import RunConfig
from robofume_bringup.stages.networks import network_of
from robofume_bringup.task_files import task_description

_TOLERANCE = 1.05
"""Beyond the limits by more than this factor the numbers of an action must mean something else."""
_TURNS = 0.02
"""rad; a smaller rotation in a step is a hand's tremor."""


class PriorData:
    """Reads the prior episodes of a run; what they are is counted while they pass."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._space = task_description(config.robot, config.task).action_space
        self.episodes = 0
        self.steps = 0
        self.undecided = 0
        """Episodes of which nobody knows how they ended, or how any of their steps is: nothing follows from them."""
        self.turning = 0
        """Episodes with rotations, of which a task without them keeps only the translations and the gripper."""

    def before(self, demonstrations: Iterable[Any]) -> Iterator[Any]:
        """The prior episodes and then the demonstrations: what comes last into the memory stays longest.

        RobofumeError where a bag is missing, an episode is there twice, or its pictures or actions do not fit.
        """
        from robofume_data.bad_attempts import read_for_policy

        seen: set[str] = set()
        cameras = network_of(self._config).further_cameras
        for episode in read_for_policy([Path(path) for path in self._config.prior], cameras):
            self._check_name(episode, seen)
            seen.add(episode.episode_id)
            self._check(episode)
            self.episodes, self.steps = self.episodes + 1, self.steps + episode.length
            known = (episode.verdicts != Verdict.UNKNOWN).any()
            self.undecided += bool(episode.outcome == Outcome.UNKNOWN and not known)
            yield episode
        for episode in demonstrations:
            self._check_name(episode, seen)
            yield episode

    def sentence(self) -> str:
        """What was read."""
        if not self.episodes:
            return "Prior data: nothing was read again, the replay cache had them."
        text = f"Prior data: {self.episodes} episodes, {self.steps} steps."
        if self.undecided:
            text += (
                f" Of {self.undecided} of them nobody knows how they ended: they are left out. Import them with "
                f"--labels to learn from them."
            )
        if self.turning:
            text += (
                f" In {self.turning} of them the gripper turns; the actions of the task {self._config.task} have no "
                f"rotations, so only their translations and the gripper are learnt from."
            )
        return text

    @staticmethod
    def _check_name(episode: Any, seen: Collection[str]) -> None:
        if episode.episode_id in seen:
            raise RobofumeError(
                f"The episode {episode.episode_id} of the prior data is there twice: leave out the bag that "
                f"repeats it, or the demonstrations. Those of every run have the same names, so that those of another "
                f"run cannot be prior data of this one as they are."
            )

    def _check(self, episode: Any) -> None:
        size, name = self._config.image_size, episode.episode_id
        height, width = episode.images.shape[1:3]
        if (height, width) != (size, size):
            raise RobofumeError(
                f"The prior episode {name} has pictures of {width}x{height}, the run's are {size}x{size}: import it "
                f"with --image-size {size}."
            )
        excess = np.abs(episode.actions).max(axis=0, initial=0.0) / _limits(self._space)
        if (excess > _TOLERANCE).any():
            worst = int(excess.argmax())
            raise RobofumeError(
                f"The prior episode {name} has actions up to {excess[worst]:.3g} times the limit in component {worst} "
                f"(dx, dy, dz in m; rotation in rad; gripper 0 .. 1): import it with conventions that say what its "
                f"numbers mean, and with this limit."
            )
        masked = np.flatnonzero(~np.array(self._space.mask))
        self.turning += bool((np.abs(episode.actions[:, masked[masked != GRIPPER]]) > _TURNS).any())


def _limits(space: ActionSpace) -> np.ndarray:
    limits = np.array([space.translation_limit] * 3 + [space.rotation_limit] * 3 + [1.0])
    assert len(limits) == PHYSICAL_DIMENSION
    return limits
