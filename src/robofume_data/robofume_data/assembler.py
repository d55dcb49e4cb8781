"""Puts episodes together from their messages, in whatever order these arrive.

Works on messages of rclpy and on those read from bags alike: only the fields are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from robofume_common.action import PHYSICAL_DIMENSION
from robofume_common.enums import Direction, Outcome, Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_common.labels import label_problem

from robofume_data.episode import EpisodeData


def nanoseconds(stamp: Any) -> int:
    """A message's time as an integer."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


@dataclass
class _Judgement:
    verdict: int = Verdict.UNKNOWN
    probability: float = math.nan
    source: int = RewardSource.NONE


@dataclass(frozen=True)
class _Truth:
    arrival: int
    forward: bool
    backward: bool
    task: str


@dataclass
class _Pending:
    """What is known of one episode so far."""

    steps: dict[int, Any] = field(default_factory=dict)
    views: dict[str, dict[int, Any]] = field(default_factory=dict)
    """By camera and index."""
    arrivals: dict[int, int] = field(default_factory=dict)
    judgements: dict[int, _Judgement] = field(default_factory=dict)
    end: Any = None
    closed: int = 0

    @property
    def is_whole(self) -> bool:
        return self.end is not None and all(index in self.steps for index in range(self.end.num_steps + 1))

    def has_views(self, camera: str) -> bool:
        """Whether the camera saw every step of a whole episode. A view of another stamp is of before a restart."""
        views = self.views.get(camera, {})
        return all(
            index in views and nanoseconds(views[index].stamp) == nanoseconds(self.steps[index].stamp)
            for index in range(self.end.num_steps + 1)
        )


class EpisodeAssembler:
    """Collects messages; `take(episode_id)` gives the episode when its steps and its end are there.

    A person's verdict replaces a model's, whichever comes later, and changes the outcome of the episode where
    it contradicts or decides it. Verdicts that are not there when the episode is taken are UNKNOWN. A label that says
    nothing (`label_problem`) is left out, as the reward node does, and counted in `malformed_labels`.

    pictures: whether the pictures are wanted; without them those of an episode are checked and then left black.
    cameras: further cameras, without whose views of all its steps an episode is not whole.
    """

    def __init__(self, pictures: bool = True, cameras: Sequence[str] = ()) -> None:
        self._pictures = pictures
        self._cameras = tuple(cameras)
        self._pending: dict[str, _Pending] = {}
        self._truths: dict[int, list[_Truth]] = {}
        self.malformed_labels = 0

    def add_step(self, step: Any, arrival: int = 0) -> None:
        """A Step. arrival: wall time ns, which tells apart the same stamp of two simulations."""
        pending = self._of(step.episode_id)
        if step.index == 0 and 0 in pending.steps:  # the policy was started again in mid-episode
            pending.steps.clear()
            pending.arrivals.clear()
        pending.steps[int(step.index)] = step
        pending.arrivals[int(step.index)] = arrival

    def add_view(self, camera: str, step: Any) -> None:
        """A Step as one of the further cameras saw it."""
        self._of(step.episode_id).views.setdefault(camera, {})[int(step.index)] = step

    def add_reward(self, reward: Any) -> None:
        """A Reward."""
        judgements = self._of(reward.episode_id).judgements
        known = judgements.get(int(reward.index))
        if known and known.source == RewardSource.HUMAN and reward.source != RewardSource.HUMAN:
            return
        judgements[int(reward.index)] = _Judgement(int(reward.verdict), float(reward.probability), int(reward.source))

    def add_label(self, label: Any) -> None:
        """A Label; its index -1 stands for the last step."""
        if label_problem(label):
            self.malformed_labels += 1
            return
        probability = {Verdict.SUCCESS: 1.0, Verdict.FAILURE: 0.0}.get(Verdict(label.verdict), math.nan)
        judgement = _Judgement(int(label.verdict), probability, RewardSource.HUMAN)
        self._of(label.episode_id).judgements[int(label.index)] = judgement

    def add_ground_truth(self, truth: Any, arrival: int = 0) -> None:
        """A GroundTruth."""
        entry = _Truth(arrival, bool(truth.forward_success), bool(truth.backward_success), str(truth.task))
        self._truths.setdefault(nanoseconds(truth.stamp), []).append(entry)

    def add_end(self, end: Any, closed: int = 0) -> None:
        """An Episode. closed: wall time ns at which it was seen. It may be said again; the first time counts."""
        pending = self._of(end.episode_id)
        if pending.end is None:
            pending.end, pending.closed = end, closed

    @property
    def ends(self) -> dict[str, Any]:
        """The Episode messages of episodes that were not taken yet, by episode id."""
        return {key: pending.end for key, pending in self._pending.items() if pending.end is not None}

    @property
    def open_episodes(self) -> list[str]:
        """Ids of episodes with steps or an end that are not whole."""
        return [
            key
            for key, item in self._pending.items()
            if (item.steps or item.end is not None) and not self.is_whole(key)
        ]

    def is_whole(self, episode_id: str) -> bool:
        """Whether the end and all N + 1 steps of an episode are there, and all views of the further cameras."""
        pending = self._pending.get(episode_id)
        return pending is not None and pending.is_whole and all(map(pending.has_views, self._cameras))

    def blind_camera(self, episode_id: str) -> str:
        """The first further camera that did not see all of an episode whose end and steps are there; empty: none."""
        pending = self._pending.get(episode_id)
        if pending is None or not pending.is_whole:
            return ""
        return next((camera for camera in self._cameras if not pending.has_views(camera)), "")

    def forget(self, episode_id: str) -> None:
        """Drops what is known of an episode."""
        self._pending.pop(episode_id, None)

    def take(self, episode_id: str) -> EpisodeData:
        """The whole episode, validated; forgotten here. RobofumeError where it is not whole or wrong."""
        if not self.is_whole(episode_id):
            camera = self.blind_camera(episode_id)
            reason = f"pictures of the camera {camera} are missing" if camera else "it is not whole yet"
            raise RobofumeError(f"Episode {episode_id!r} cannot be taken: {reason}.")
        return _build(self._pending.pop(episode_id), self._truths, self._pictures, self._cameras)

    def _of(self, episode_id: str) -> _Pending:
        pending = self._pending.get(episode_id)
        if pending is None:
            pending = self._pending[str(episode_id)] = _Pending()
        return pending


def _build(pending: _Pending, truths: dict[int, list[_Truth]], pictures: bool, cameras: tuple[str, ...]) -> EpisodeData:
    end = pending.end
    count = int(end.num_steps)
    steps = [pending.steps[index] for index in range(count + 1)]
    if -1 in pending.judgements:
        pending.judgements[count] = pending.judgements.pop(-1)
    judgements = [pending.judgements.get(index, _Judgement()) for index in range(count + 1)]
    verdicts = np.array([item.verdict for item in judgements], dtype=np.uint8)
    sources = np.array([item.source for item in judgements], dtype=np.uint8)
    outcome, success_index = _outcome(Outcome(end.outcome), int(end.success_index), verdicts, sources)
    stamps = np.array([nanoseconds(step.stamp) for step in steps], dtype=np.int64)
    truth = _truth(stamps, [pending.arrivals[index] for index in range(count + 1)], truths, str(end.task))
    try:
        return EpisodeData(
            episode_id=str(end.episode_id),
            task=str(end.task),
            instruction=str(end.instruction),
            phase=Phase(end.phase),
            direction=Direction(end.direction),
            outcome=outcome,
            success_index=success_index,
            assisted_reset_before=bool(end.assisted_reset_before),
            images=_images(steps, pictures),
            proprioception=np.array([step.proprioception for step in steps], dtype=np.float32),
            actions=np.array([step.action for step in steps[:count]], dtype=np.float32).reshape(
                count, PHYSICAL_DIMENSION
            ),
            actors=np.array([step.actor for step in steps[:count]], dtype=np.uint8),
            policy_versions=np.array([step.policy_version for step in steps], dtype=np.uint64),
            stamps=stamps,
            verdicts=verdicts,
            probabilities=np.array([item.probability for item in judgements], dtype=np.float32),
            sources=sources,
            forward_success=None if truth is None else truth[:, 0],
            backward_success=None if truth is None else truth[:, 1],
            further_images={
                camera: _images([pending.views[camera][index] for index in range(count + 1)], pictures)
                for camera in cameras
            },
            closed=pending.closed,
        ).validate()
    except ValueError as error:
        raise RobofumeError(f"Episode {end.episode_id!r} is not whole: {error}.") from error


def _images(steps: list[Any], wanted: bool) -> np.ndarray:
    """(N + 1, H, W, 3) of checked steps; black, and without memory, where they are not wanted."""
    images = [image_array(step.image) for step in steps]
    if wanted:
        return np.stack(images)
    if any(image.shape != images[0].shape for image in images):
        raise ValueError("its pictures change their size")
    return np.broadcast_to(np.uint8(0), (len(images), *images[0].shape))


def image_array(image: Any) -> np.ndarray:
    """(H, W, 3) uint8 of a Step's image, sharing its memory."""
    pixels = np.frombuffer(image.data, dtype=np.uint8)
    if image.encoding != "rgb8" or pixels.size != image.height * image.width * 3:
        raise ValueError(f"an image is {image.width}x{image.height} {image.encoding} of {pixels.size} bytes")
    return pixels.reshape(image.height, image.width, 3)


def _outcome(outcome: Outcome, success_index: int, verdicts: np.ndarray, sources: np.ndarray) -> tuple[Outcome, int]:
    """Outcome and success index after a person's verdicts."""
    human = sources == RewardSource.HUMAN
    if outcome not in (Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.UNKNOWN) or not human.any():
        return outcome, success_index
    if human[success_index]:  # -1: the last step, which decides where there is no success
        verdict = Verdict(int(verdicts[success_index]))
        if verdict != Verdict.SUCCESS:
            outcome = Outcome.TIMEOUT if verdict == Verdict.FAILURE else Outcome.UNKNOWN
            success_index = -1
    successes = np.flatnonzero(human & (verdicts == Verdict.SUCCESS))
    if successes.size and (outcome != Outcome.SUCCESS or successes[0] < success_index):
        return Outcome.SUCCESS, int(successes[0])
    return outcome, success_index


def _truth(
    stamps: np.ndarray, arrivals: list[int], truths: dict[int, list[_Truth]], task: str
) -> np.ndarray | None:
    """(N + 1, 2) forward and backward truth by stamp; None where one is missing. A scene of several tasks has one
    truth for each, under its name.
    """
    found = []
    for stamp, arrival in zip(stamps.tolist(), arrivals, strict=True):
        entries = truths.get(stamp)
        if not entries:
            return None
        own = [entry for entry in entries if entry.task == task] or entries
        nearest = min(own, key=lambda entry: abs(entry.arrival - arrival))
        found.append((nearest.forward, nearest.backward))
    return np.array(found, dtype=np.bool_)
