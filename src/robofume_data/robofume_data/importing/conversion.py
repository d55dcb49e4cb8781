"""From a trajectory in a data set's own terms to an episode: pose, action, labels, picture size."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from robofume_common.action import GRIPPER, PHYSICAL_DIMENSION
from robofume_common.enums import Actor, Direction, Outcome, Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting
from scipy.spatial.transform import Rotation

from robofume_data.episode import EpisodeData
from robofume_data.importing.conventions import ROTATIONS, Conventions
from robofume_data.importing.late_pictures import LatePictures
from robofume_data.importing.trajectory import ImportReport, Trajectory

cv2.setNumThreads(1)  # several sources are imported at a time
MAX_PIXELS = 64_000_000
"""A larger picture is taken for damage."""
BLACK = 8
"""Grey levels: what packing as JPEG makes of black is not brighter."""
LARGEST = float(np.finfo(np.float32).max)
"""Episodes hold float32."""
_PHASES = {Direction.NONE: Phase.FORWARD, Direction.FORWARD: Phase.FORWARD, Direction.BACKWARD: Phase.BACKWARD}


@dataclass(frozen=True)
class ImportOptions:
    """What the person who imports says about all episodes of a source."""

    task: str = setting("prior", "Name of the task that the episodes are filed under")
    direction: int = setting(0, "Direction of the task: 0 none, 1 forward, 2 backward", choices=(0, 1, 2))
    instruction: str = setting("", "Sentence in place of the data's own")
    image_size: int = setting(0, "Side of the pictures after import; 0: as they are", unit="pixels", minimum=0)
    actor: int = setting(2, "Who acted (Step.ACTOR_*): 1 policy, 2 person, 3 script", choices=(1, 2, 3))


def to_episode(
    trajectory: Trajectory, conventions: Conventions, options: ImportOptions, report: ImportReport
) -> EpisodeData:
    """The episode of a trajectory; RobofumeError with the reason where it cannot be used.

    The last observation answers no action, so of S actions the last is dropped. What had to be changed to fit is
    counted in `report`.
    """
    first = conventions.dropped_first_steps
    count = len(trajectory.images) - first
    if count < 2:
        raise RobofumeError(f"it has {len(trajectory.images)} observations, at least {first + 2} are needed")
    if len(trajectory.states) != len(trajectory.images):
        raise RobofumeError(f"it has {len(trajectory.images)} pictures and {len(trajectory.states)} states")
    instruction = (options.instruction or trajectory.instruction).strip()
    if not instruction:
        raise RobofumeError("it has no instruction; give one with --instruction")
    states = poses(trajectory.states[first:], conventions, report)
    actions = physical_actions(
        None if trajectory.actions is None else trajectory.actions[first:], states, conventions, report
    )
    outcome, success_index, verdicts = labels(trajectory, count, conventions)
    judged = verdicts != Verdict.UNKNOWN
    sources = np.where(judged, RewardSource.HUMAN, RewardSource.NONE).astype(np.uint8)
    if conventions.labels == "given" and trajectory.sources is not None:
        sources = trajectory.sources[first:]
    stamps = trajectory.stamps[first:] if trajectory.stamps is not None else None
    if stamps is None:
        stamps = (np.arange(count) * (1e9 / conventions.rate)).astype(np.int64)
    for camera, pictures in trajectory.further_images.items():
        if len(pictures) != len(trajectory.images):
            raise RobofumeError(f"it has {len(trajectory.images)} pictures and {len(pictures)} of the camera {camera}")
    direction = Direction(options.direction)
    return EpisodeData(
        episode_id=trajectory.name,
        task=options.task,
        instruction=instruction,
        phase=_PHASES[direction],
        direction=direction,
        outcome=outcome,
        success_index=success_index,
        assisted_reset_before=True,  # nobody knows what the scene was before
        images=_pictures(trajectory.images[first:], options.image_size),
        further_images={
            camera: _seen(camera, _pictures(pictures[first:], options.image_size))
            for camera, pictures in trajectory.further_images.items()
        },
        proprioception=states.astype(np.float32),
        actions=actions.astype(np.float32),
        actors=np.full(count - 1, Actor(options.actor), np.uint8),
        policy_versions=np.zeros(count, np.uint64),
        stamps=np.asarray(stamps, np.int64),
        verdicts=verdicts,
        probabilities=np.where(judged, (verdicts == Verdict.SUCCESS).astype(np.float32), np.nan).astype(np.float32),
        sources=sources,
    ).validate()


def poses(raw: NDArray[np.float64], conventions: Conventions, report: ImportReport) -> NDArray[np.float64]:
    """(S, 7) proprioception from (S, D) states."""
    values = _selected(raw, conventions.state_indices, conventions.state_dimension, "state")
    return _pose(values, conventions, conventions.state_rotation, conventions.translation_scale,
                 conventions.state_gripper, report)  # fmt: skip


def physical_actions(
    raw: NDArray[np.float64] | None, states: NDArray[np.float64], conventions: Conventions, report: ImportReport
) -> NDArray[np.float64]:
    """(S - 1, 7) actions: from commands, or from what the arm did until the next state."""
    count = len(states) - 1
    if conventions.action_kind == "states" or raw is None:
        actions = actions_between(states)
    elif len(raw) not in (count, count + 1):
        raise RobofumeError(f"it has {count + 1} states and {len(raw)} actions")
    else:
        values = _selected(raw[:count], conventions.action_indices, conventions.action_dimension, "action")
        kind, scale = conventions.action_rotation, conventions.action_translation_scale
        if conventions.action_kind == "absolute":
            targets = _pose(values, conventions, kind, scale, conventions.action_gripper, report)
            actions = change(states[:-1], targets)
        else:
            actions = np.zeros((count, PHYSICAL_DIMENSION))
            actions[:, :3] = values[:, :3] * scale
            turns = values[:, 3:-1]
            if kind != "quaternion":  # angles, to be in rad before they become a rotation; a quaternion has no unit
                turns = turns * conventions.action_rotation_scale
            actions[:, 3:6] = _rotations(turns, kind).as_rotvec()
            actions[:, GRIPPER] = _opening(values[:, -1], conventions.action_gripper, report)
    limit = np.array([conventions.translation_limit] * 3 + [conventions.rotation_limit] * 3)
    cut = np.clip(actions[:, :6], -limit, limit)
    report.count("actions_cut_to_the_limits", int((np.abs(cut - actions[:, :6]) > 1e-9).any(1).sum()))
    actions[:, :6] = cut
    return actions


def actions_between(states: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S - 1, 7) actions that lead from each state (S, 7) to the next; the gripper's is where it got to."""
    return change(states[:-1], states[1:])


def change(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 7) actions from poses (N, 7) to others: translation, rotation vector in the base frame, gripper's end."""
    actions = np.zeros(before.shape)
    actions[:, :3] = after[:, :3] - before[:, :3]
    turn = Rotation.from_euler("xyz", after[:, 3:6]) * Rotation.from_euler("xyz", before[:, 3:6]).inv()
    actions[:, 3:6] = turn.as_rotvec()
    actions[:, GRIPPER] = np.clip(after[:, GRIPPER], 0.0, 1.0)
    return actions


def labels(trajectory: Trajectory, count: int, conventions: Conventions) -> tuple[Outcome, int, NDArray[np.uint8]]:
    """Outcome, success index and verdicts (S,) of the last `count` observations."""
    kind = conventions.labels if trajectory.success is None else ("last" if trajectory.success else "failure")
    if kind == "none":
        return Outcome.UNKNOWN, -1, np.full(count, Verdict.UNKNOWN, np.uint8)
    if kind == "given" and trajectory.verdicts is not None:
        verdicts = trajectory.verdicts[-count:].astype(np.uint8)
        if trajectory.outcome is not None:
            return *_given_outcome(trajectory.outcome, len(trajectory.images) - count, count), verdicts
        return *ending(verdicts, first=1), verdicts  # as in the loop, what is there at step 0 was not achieved
    success: NDArray[np.bool_]
    if kind == "failure":
        success = np.zeros(count, np.bool_)
    elif kind == "last":
        success = np.arange(count) >= max(1, count - conventions.success_frames)
    elif trajectory.rewards is None:
        raise RobofumeError("it has no rewards; choose other labels than `given`")
    else:
        success = trajectory.rewards[-count:] > 0
    verdicts = np.where(success, Verdict.SUCCESS, Verdict.FAILURE).astype(np.uint8)
    return *ending(verdicts, first=0), verdicts


def ending(verdicts: NDArray[np.uint8], first: int) -> tuple[Outcome, int]:
    """Outcome and success index that follow from verdicts (S,): the first success from step `first` on; without one,
    the last step's verdict decides between failure and unknown.
    """
    successes = np.flatnonzero(verdicts == Verdict.SUCCESS)
    successes = successes[successes >= first]
    if len(successes):
        return Outcome.SUCCESS, int(successes[0])
    return (Outcome.UNKNOWN if verdicts[-1] == Verdict.UNKNOWN else Outcome.TIMEOUT), -1


def _given_outcome(given: tuple[int, int], dropped: int, count: int) -> tuple[Outcome, int]:
    outcome, index = given
    first = dropped if outcome == Outcome.SUCCESS else -1
    if outcome not in list(Outcome) or not first <= index < (count + dropped if first >= 0 else 0):
        raise RobofumeError(f"its outcome {outcome} with success at step {index} cannot be")
    return Outcome(outcome), index - max(0, first)


def picture(image: bytes | NDArray[np.uint8], size: int = 0) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of an encoded or plain picture; with `size` its middle square, averaged to size x size."""
    if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3:
        return square(image, size) if size else image
    try:
        opened = Image.fromarray(image) if isinstance(image, np.ndarray) else Image.open(io.BytesIO(image))
        if opened.width * opened.height > MAX_PIXELS:
            raise RobofumeError(f"a picture of {opened.width}x{opened.height} is taken for damage")
        if size and min(opened.size) >= 2 * size:
            opened.draft("RGB", (2 * size, 2 * size))
        plain = np.asarray(opened.convert("RGB"))
    except RobofumeError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, TypeError, Image.DecompressionBombError) as error:
        raise RobofumeError(f"a picture cannot be decoded ({type(error).__name__})") from error
    return square(plain, size) if size else plain


def square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The middle square of a picture (H, W, C), as the camera node would make it: (size, size, C).

    One that is larger by four times or more is halved first, which takes a third of the time: the means of 2x2 pixels
    stand for these at the edges of what becomes one pixel.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    if (height, width) == (size, size):
        return image
    left, top = (width - side) // 2, (height - side) // 2
    part = image[top : top + side, left : left + side]
    if side == size:
        return part
    if side >= 4 * size and side % size and side % 2 == 0:
        side //= 2
        part = np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    method = cv2.INTER_AREA if side >= size else cv2.INTER_LINEAR
    smaller = cv2.resize(part, (size, size), interpolation=method)
    return np.asarray(smaller, np.uint8).reshape(size, size, image.shape[2])


def resized(episode: EpisodeData, size: int) -> EpisodeData:
    """An episode with pictures of `size` x `size`; 0: as they are."""
    if not size:
        return episode

    def smaller(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.stack([picture(image, size) for image in images])

    further = {camera: smaller(images) for camera, images in episode.further_images.items()}
    return dataclasses.replace(episode, images=smaller(episode.images), further_images=further)


def with_labels(episode: EpisodeData, probabilities: NDArray[np.float64], verdicts: NDArray[np.uint8]) -> EpisodeData:
    """The episode judged by a reward model: P(success) (N + 1,), NaN where it gave no answer, and verdicts (N + 1,).

    What is there at step 0 was not achieved and makes no success, as in the loop.
    """
    answered = np.isfinite(probabilities)
    verdicts = np.where(answered, verdicts, Verdict.UNKNOWN).astype(np.uint8)
    outcome, success_index = ending(verdicts, first=1)
    return dataclasses.replace(
        episode,
        outcome=outcome,
        success_index=success_index,
        verdicts=verdicts,
        probabilities=probabilities.astype(np.float32),
        sources=np.where(answered, RewardSource.VLM, RewardSource.NONE).astype(np.uint8),
    ).validate()


def _pictures(given: object, size: int) -> NDArray[np.uint8]:
    """One array of pictures, of `size` x `size` where it is not 0."""
    if isinstance(given, LatePictures) and not size:
        return cast("NDArray[np.uint8]", given)  # as far as writing it goes
    if isinstance(given, np.ndarray) and (not size or given.shape[1:3] == (size, size)):
        return given
    return np.stack([picture(image, size) for image in _of_one_size(given)])


def _seen(camera: str, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pictures (S, H, W, 3) of a further camera; RobofumeError where all are black.

    Data sets whose episodes have different cameras fill the place of a missing one so. What they say beside that need
    not hold: episodes of Bridge with three cameras say that they have none.
    """
    if images.max(initial=0) <= BLACK:
        raise RobofumeError(f"all its pictures of the camera {camera} are black: it was recorded without that camera")
    return images


def _of_one_size(images: object) -> list[bytes | NDArray[np.uint8]]:
    pictures = list(images)  # type: ignore[call-overload]
    sizes = {image.shape for image in pictures if isinstance(image, np.ndarray)}
    if len(sizes) > 1:
        raise RobofumeError(f"its pictures change their size: {sorted(sizes)}")
    return pictures


def _selected(raw: NDArray[np.float64], indices: tuple[int, ...], dimension: int, what: str) -> NDArray[np.float64]:
    values = np.asarray(raw, np.float64)
    if values.ndim != 2:
        raise RobofumeError(f"its {what}s have the shape {values.shape}")
    if indices:
        if max(indices) >= values.shape[1]:
            raise RobofumeError(
                f"its {what}s have {values.shape[1]} numbers, {what}_indices asks for number {max(indices)}"
            )
        values = values[:, list(indices)]
    if values.shape[1] != dimension:
        raise RobofumeError(f"its {what}s have {values.shape[1]} numbers, {dimension} were expected")
    if not np.isfinite(values).all() or (np.abs(values) > LARGEST).any():
        raise RobofumeError(f"its {what}s are not finite")
    return values


def _pose(
    values: NDArray[np.float64], conventions: Conventions, kind: str, scale: float, gripper: tuple[float, ...],
    report: ImportReport,
) -> NDArray[np.float64]:  # fmt: skip
    result = np.empty((len(values), PHYSICAL_DIMENSION))
    result[:, :3] = values[:, :3] * scale
    if ROTATIONS[kind] and (kind != "rpy" or any(conventions.down)):
        down = Rotation.from_euler("xyz", conventions.down)
        result[:, 3:6] = (_rotations(values[:, 3:-1], kind) * down.inv()).as_euler("xyz")
    else:
        result[:, 3:6] = values[:, 3:-1] if ROTATIONS[kind] else 0.0
    result[:, GRIPPER] = _opening(values[:, -1], gripper, report)
    return result


def _rotations(values: NDArray[np.float64], kind: str) -> Rotation:
    if kind == "rpy":
        return Rotation.from_euler("xyz", values)
    if kind == "quaternion":
        if (np.linalg.norm(values, axis=1) < 1e-6).any():
            raise RobofumeError("a quaternion is zero")
        return Rotation.from_quat(values)
    return Rotation.from_rotvec(values if kind == "rotation_vector" else np.zeros((len(values), 3)))


def _opening(values: NDArray[np.float64], ends: tuple[float, ...], report: ImportReport) -> NDArray[np.float64]:
    """0 closed .. 1 open."""
    closed, opened = ends
    opening = (values - closed) / (opened - closed)
    report.count("gripper_values_clipped", int(((opening < -0.05) | (opening > 1.05)).sum()))
    return np.clip(opening, 0.0, 1.0)
