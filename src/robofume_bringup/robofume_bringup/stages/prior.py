"""Prior data of a run: episodes of other robots, tasks and runs that the policy is trained on beside its own."""

from __future__ import annotations

import hashlib
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

    def before(self, own: Iterable[Any]) -> Iterator[Any]:
        """The prior episodes and then the run's own: what comes last into the memory stays longest.

        Prior ones are named by their keys, as in `read_with_prior`. RobofumeError where a bag is missing, an episode is
        there twice, or its pictures or actions do not fit.
        """
        from robofume_data.bad_attempts import read_for_policy

        seen: set[bytes] = set()
        cameras = network_of(self._config).further_cameras
        for episode in read_for_policy([Path(path) for path in self._config.prior], cameras):
            self._check_once(episode, seen)
            seen.add(_mark(episode))
            self._check(episode)
            self.episodes, self.steps = self.episodes + 1, self.steps + episode.length
            known = (episode.verdicts != Verdict.UNKNOWN).any()
            self.undecided += bool(episode.outcome == Outcome.UNKNOWN and not known)
            yield episode.named_by_key()
        for episode in own:
            self._check_once(episode, seen)
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
    def _check_once(episode: Any, seen: Collection[bytes]) -> None:
        if _mark(episode) in seen:
            raise RobofumeError(
                f"The episode {episode.episode_id} of the prior data is there twice: leave out the bag that repeats "
                "it, or the one among this run's own."
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


def _mark(episode: Any) -> bytes:
    """What an episode and its copies have, and no other: ids are the same in every run, and the key of what was
    imported a second time is another one.
    """
    content = hashlib.sha256(episode.episode_id.encode())
    content.update(episode.actions.tobytes() + episode.proprioception.tobytes())
    return content.digest()


def prior_names(config: RunConfig) -> list[str]:
    """What tells a run's prior data from others, wherever they lie: the bags of all runs are in folders of the same
    names.
    """
    named = [Path(path) for path in config.prior]
    return ["/".join(path.parts[-3:]) if path.parent.name == "bags" else path.name for path in named]


def _limits(space: ActionSpace) -> np.ndarray:
    limits = np.array([space.translation_limit] * 3 + [space.rotation_limit] * 3 + [1.0])
    assert len(limits) == PHYSICAL_DIMENSION
    return limits
