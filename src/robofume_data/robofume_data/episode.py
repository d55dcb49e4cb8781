"""One episode as arrays: what learning, reward fine-tuning and reports read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from robofume_common.action import PHYSICAL_DIMENSION
from robofume_common.enums import Actor, Direction, Outcome, Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError

__all__ = ["Actor", "Direction", "EpisodeData", "Outcome", "Phase", "RewardSource", "Verdict"]

LATEST_STAMP = (2**31 - 1) * 10**9
"""ns; the seconds of a builtin_interfaces/Time are an int32."""


@dataclass(frozen=True, eq=False)
class EpisodeData:
    """An episode of N actions and N + 1 observations; the last observation shows where it ended."""

    episode_id: str
    task: str
    instruction: str
    phase: Phase
    direction: Direction
    outcome: Outcome
    success_index: int
    """Index of the first step judged successful; -1 where there is none."""
    assisted_reset_before: bool
    images: NDArray[np.uint8]
    """(N + 1, H, W, 3), RGB."""
    proprioception: NDArray[np.float32]
    """(N + 1, 7): x, y, z [m]; roll, pitch, yaw [rad]; gripper [0 closed .. 1 open]."""
    actions: NDArray[np.float32]
    """(N, 7), physical: deltas in m and rad, gripper target in 0 .. 1."""
    actors: NDArray[np.uint8]
    """(N,): who chose each action."""
    policy_versions: NDArray[np.uint64]
    """(N + 1,)."""
    stamps: NDArray[np.int64]
    """(N + 1,) ns, on the clock of the camera."""
    verdicts: NDArray[np.uint8]
    """(N + 1,): UNKNOWN where nobody judged."""
    probabilities: NDArray[np.float32]
    """(N + 1,): P(success), NaN where there is none."""
    sources: NDArray[np.uint8]
    """(N + 1,): who gave each verdict."""
    forward_success: NDArray[np.bool_] | None = None
    """(N + 1,): the simulation's own truth, None where it was not recorded."""
    backward_success: NDArray[np.bool_] | None = None
    further_images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    """(N + 1, H, W, 3) each, RGB: what further cameras saw at the same steps, by the camera's name."""
    closed: int = 0
    """Wall time at which the end of the episode was recorded, ns since 1970; 0 where it is not known."""

    @property
    def length(self) -> int:
        """Number of actions, N."""
        return len(self.actions)

    @property
    def key(self) -> str:
        """What tells the episode from those of other runs, whose ids are the same, as are the stamps of a simulation
        that begins at 0: its id, the stamp of its first picture and the wall time of its end. A copy has the same, one
        that was judged again too.
        """
        return f"{self.episode_id} {int(self.stamps[0])} {self.closed}"

    def named_by_key(self) -> EpisodeData:
        """The same episode with its key as its id, which no episode of another run has."""
        return dataclasses.replace(self, episode_id=self.key)

    @property
    def takeovers(self) -> int:
        """How often a person began to act: interventions, in an episode of the policy."""
        by_person = self.actors == Actor.PERSON
        return int(by_person[:1].sum() + (by_person[1:] & ~by_person[:-1]).sum())

    @property
    def is_success(self) -> bool:
        """Whether the episode was judged successful."""
        return self.outcome == Outcome.SUCCESS

    @property
    def truth(self) -> NDArray[np.bool_] | None:
        """(N + 1,): ground truth for the direction of the episode, None where it was not recorded."""
        return self.backward_success if self.direction == Direction.BACKWARD else self.forward_success

    def truncated_at_success(self) -> EpisodeData:
        """The episode up to its first success, 0 .. success_index; the whole of it where there is none."""
        return self.first_steps(self.success_index) if self.is_success else self

    def first_steps(self, actions: int) -> EpisodeData:
        """The first `actions` actions with the observations around them."""
        if not 0 <= actions <= self.length:
            raise RobofumeError(f"Episode {self.episode_id} has {self.length} actions, not {actions}.")
        changes: dict[str, object] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                changes[item.name] = value[: actions + (len(value) > self.length)]
        changes["further_images"] = {name: images[: actions + 1] for name, images in self.further_images.items()}
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def validate(self) -> EpisodeData:
        """The same episode, or a RobofumeError that says which part does not fit."""
        count = self.length
        shapes: dict[str, tuple[tuple[int | None, ...], type]] = {
            "images": ((count + 1, None, None, 3), np.uint8),
            "proprioception": ((count + 1, PHYSICAL_DIMENSION), np.float32),
            "actions": ((count, PHYSICAL_DIMENSION), np.float32),
            "actors": ((count,), np.uint8),
            "policy_versions": ((count + 1,), np.uint64),
            "stamps": ((count + 1,), np.int64),
            "verdicts": ((count + 1,), np.uint8),
            "probabilities": ((count + 1,), np.float32),
            "sources": ((count + 1,), np.uint8),
            "forward_success": ((count + 1,), np.bool_),
            "backward_success": ((count + 1,), np.bool_),
        }
        arrays = {name: getattr(self, name) for name in shapes}
        for camera, images in self.further_images.items():
            name = f"further_images[{camera!r}]"
            arrays[name], shapes[name] = images, shapes["images"]
        for name, (shape, dtype) in shapes.items():
            array = arrays[name]
            if array is None:
                continue
            fits = len(array.shape) == len(shape) and all(
                expected in (None, actual) for expected, actual in zip(shape, array.shape, strict=True)
            )
            if not fits or array.dtype != dtype:
                raise self._unfit(f"{name} is {array.shape} {array.dtype}, expected {shape} {np.dtype(dtype)}")
        if not self.episode_id:
            raise self._unfit("it has no id")
        if not (np.isfinite(self.actions).all() and np.isfinite(self.proprioception).all()):
            raise self._unfit("actions and proprioception must be finite")
        if self.is_success != (self.success_index >= 0) or self.success_index > count:
            raise self._unfit(f"outcome {self.outcome.name} does not go with success index {self.success_index}")
        if (np.diff(self.stamps) < 0).any():
            raise self._unfit("its stamps go back in time")
        if (np.abs(self.stamps) > LATEST_STAMP).any():
            raise self._unfit("its stamps do not fit the time of a message")
        return self

    def _unfit(self, reason: str) -> RobofumeError:
        return RobofumeError(f"Episode {self.episode_id!r} is not whole: {reason}.")
