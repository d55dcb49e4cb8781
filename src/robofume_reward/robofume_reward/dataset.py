"""Labelled frames for fine-tuning and evaluation, from recorded episodes.

What a person who collects demonstrations knows is enough: which direction was followed, whether and when it
succeeded, and that episodes followed each other without a reset. From that follow, for each episode,

- its own question: yes from the success on; no well before it, and in all of a failed episode;
- the question of the other direction: yes until the gripper first comes near the object or closes, where the
  other direction had just succeeded (nothing has moved since); no from the last grasp before the success on.

The same image with the other instruction is what makes the model read the instruction. Frames for which
nothing follows get no label.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from robofume_common.action import GRIPPER
from robofume_common.enums import Actor, Direction, Outcome, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting
from robofume_data.episode import EpisodeData

from . import mining
from .saved import View

EARLY_STEPS = 2
"""A success called this many steps before it comes true is early rather than wrong."""


@dataclass(frozen=True)
class DatasetConfig:
    """Which frames get a label."""

    margin: int = setting(
        0, "Frames before the success without a label, where the labels come late", unit="steps", minimum=0
    )
    clearance: float = setting(
        0.09,
        "Distance of the gripper from the released object at which it may touch it",
        unit="m",
        minimum=0.0,
    )
    other_task_share: float = setting(
        0.1, "Frames also asked about another task's instruction (no), where there are several tasks",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    prior_share: float = setting(
        0.0,
        "Pictures of prior data with other instructions that are asked about this task too (no); in a batch they share "
        "the part of reward_training.counterexample_share; 0: prior data are left out",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip


class _Row(NamedTuple):
    frame: int
    instruction: str
    label: bool
    direction: int
    episode: int
    own: bool
    mined: bool = False


@dataclass(frozen=True)
class LabelledFrames:
    """M questions about F frames.

    Per frame: `images` (F, H, W, 3) uint8 and `proprioception` (F, 7) as in EpisodeData. Per question: `frames` (M,)
    index into images, `instructions` (M,) sentences, `labels` (M,) True where the answer is yes, `directions` (M,)
    the direction the question is about, `episodes` (M,) number of the episode, `own` (M,) True where it is the
    question that the loop asks of the frame, `mined` (M,) True where the label was mined from practice, or a person
    judged how an attempt of the policy ended, or a scene, `made` (M,) True where the picture was not taken of this
    scene but made (see `counterexamples`), or is of prior data (see `prior_frames`); it belongs to no episode.
    `starts` (F,): the first frame of each frame's episode.
    """

    images: NDArray[np.uint8]
    proprioception: NDArray[np.float32]
    frames: NDArray[np.int64]
    instructions: NDArray[np.str_]
    labels: NDArray[np.bool_]
    directions: NDArray[np.uint8]
    episodes: NDArray[np.int64]
    own: NDArray[np.bool_]
    mined: NDArray[np.bool_]
    made: NDArray[np.bool_]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, keep: NDArray[np.bool_]) -> LabelledFrames:
        """The questions where `keep` (M,) is True; the images stay."""
        columns = ("frames", "instructions", "labels", "directions", "episodes", "own", "mined", "made")
        return dataclasses.replace(self, **{name: getattr(self, name)[keep] for name in columns})

    @property
    def indices(self) -> NDArray[np.int64]:
        """The step (M,) of its episode that each question is about."""
        return self.frames - self.starts[self.frames]

    @property
    def ends(self) -> NDArray[np.bool_]:
        """Which pictures (F,) are the last of their episode."""
        return np.append(self.starts[1:] != self.starts[:-1], True)

    def seen(self, rows: NDArray[np.int64] | slice, view: View) -> NDArray[np.int64]:
        """Indices into images of what the model looks at for some questions: (B,), or (B, F) for several frames."""
        newest = self.frames[rows]
        return newest if view.frames == 1 else view.indices(newest, self.starts[newest])


def at_home(frames: LabelledFrames) -> NDArray[np.bool_]:
    """Which questions (M,) are about the first picture of an episode, where the arm is at home and hides nothing."""
    return frames.starts[frames.frames] == frames.frames


def own_labels(episode: EpisodeData, margin: int, agreed: Collection[str] = ()) -> NDArray[np.int8]:
    """Answers (N+1,) to the episode's own question: 1 yes, 0 no, -1 no label. A person's verdicts come
    first; for `agreed`, and what a model judged, see `mining`.
    """
    if mining.is_self_judged(episode):
        return mining.practice_labels(episode, agreed)
    count = len(episode.images)
    labels = np.full(count, -1, np.int8)
    if episode.outcome == Outcome.SUCCESS and episode.success_index >= 0:
        labels[: max(0, episode.success_index - margin)] = 0
        labels[episode.success_index :] = 1
    elif episode.outcome == Outcome.TIMEOUT:
        labels[:] = 0
    human = episode.sources == RewardSource.HUMAN
    labels[human & (episode.verdicts == Verdict.SUCCESS)] = 1
    labels[human & (episode.verdicts == Verdict.FAILURE)] = 0
    labels[human & (episode.verdicts == Verdict.UNKNOWN)] = -1
    return labels


class Reached(NamedTuple):
    """The goal of the other direction, which is reached when an episode begins.

    `released_at` (3,): where the gripper let go of the object [m]; None for a hand that holds a tool and may touch
    anything with its first move.
    """

    released_at: NDArray[np.float32] | None


def other_labels(episode: EpisodeData, reached: Reached | None, clearance: float) -> NDArray[np.int8]:
    """Answers (N+1,) to the question of the other direction: 1 yes, 0 no, -1 no label.

    `reached`: None where the goal of the other direction was not reached when the episode began.
    """
    labels = np.full(len(episode.images), -1, np.int8)
    closed = episode.actions[:, GRIPPER] < 0.5
    # Action i is seen in frame i + 1, so the frame of the first closing action still shows the open gripper.
    untouched = int(np.argmax(closed)) + 1 if closed.any() else len(episode.images)
    if reached is not None:
        if reached.released_at is None:
            untouched = 1
        else:
            # Once the gripper has come near, it may have pushed the object.
            near = np.linalg.norm(episode.proprioception[:, :3] - reached.released_at, axis=1) < clearance
            untouched = min(untouched, int(np.argmax(near)) if near.any() else untouched)
        labels[:untouched] = 1
    if episode.outcome == Outcome.SUCCESS and episode.success_index >= 0:
        # From the frame where the open gripper is around the object on: the next action grasps it.
        labels[_last_grasp(closed[: episode.success_index]) :] = 0
    return labels


def _last_grasp(closed: NDArray[np.bool_]) -> int:
    """First action of the last unbroken run of closing ones; the last action where there is none."""
    if not closed.any():
        return len(closed) - 1
    last = int(np.flatnonzero(closed)[-1])
    before = np.flatnonzero(~closed[:last])
    return int(before[-1]) + 1 if len(before) else 0


def reached_before(
    previous: EpisodeData | None, before: Reached | None, episode: EpisodeData, clearance: float, with_tool: bool
) -> Reached | None:
    """The other direction's goal, if it is reached when the episode begins; else None.

    It is where the other direction has just succeeded, and still is after attempts at this direction that never
    came near the object. `before`: the answer for `previous`, the episode recorded just before. `with_tool`: the hand
    holds a tool and lets go of nothing.
    """
    if previous is None or previous.task != episode.task or not _goes_on(previous, episode):
        return None
    closed = np.flatnonzero(previous.actions[:, GRIPPER] < 0.5)
    if previous.direction == episode.direction:
        kept = before is not None and not len(closed)
        kept = kept and (other_labels(previous, before, clearance) == 1).all()
        return before if kept else None
    if previous.outcome != Outcome.SUCCESS:
        return None
    if with_tool:
        return Reached(None)
    closed = closed[closed < previous.success_index]
    return Reached(previous.proprioception[int(closed[-1]) + 1, :3]) if len(closed) else None


def _with_tool(episodes: Sequence[EpisodeData]) -> set[str]:
    """The tasks in which no gripper ever closes: the hand holds a tool, such as a brush, from the beginning."""
    closing = {episode.task: False for episode in episodes}
    for episode in episodes:
        closing[episode.task] |= bool((episode.actions[:, GRIPPER] < 0.5).any())
    return {task for task, closes in closing.items() if not closes}


def _goes_on(previous: EpisodeData, episode: EpisodeData) -> bool:
    """Whether an episode begins with the scene that the one recorded just before it has left."""
    return (
        len(previous.actions) > 0  # a scene that was arranged goes on with nothing
        and not episode.assisted_reset_before
        and _follows(previous.episode_id, episode.episode_id)
        and bool(previous.stamps[-1] <= episode.stamps[0])
    )


def _follows(previous: str, episode: str) -> bool:
    """Whether no episode lies between two, as far as their ids tell: a session numbers its own."""
    (session, _, number), (own_session, _, own_number) = previous.rpartition("-"), episode.rpartition("-")
    if session != own_session or not (number.isdecimal() and own_number.isdecimal()):
        return True
    return int(own_number) == int(number) + 1


def label(
    episodes: Iterable[EpisodeData], config: DatasetConfig, seed: int, agreed: Collection[str] = ()
) -> LabelledFrames:
    """Labels recorded episodes, which must be in the order of recording. `agreed`: see `mining`.

    Raises RobofumeError where nothing can be labelled.
    """
    ordered = list(episodes)
    instructions, tools = _instructions(ordered), _with_tool(ordered)
    generator = np.random.default_rng(seed)
    rows: list[_Row] = []
    offset = 0
    previous: EpisodeData | None = None
    reached: Reached | None = None
    for number, episode in enumerate(ordered):
        own = own_labels(episode, config.margin, agreed)
        self_judged = mining.is_self_judged(episode)
        mined = self_judged or (episode.sources[-1] == RewardSource.HUMAN and not _is_demonstration(episode))
        if self_judged:
            reached = None
            # One goal is the other's start, so where one is reached the other is not; no more than that is known.
            other = np.where(own == 1, 0, -1).astype(np.int8)
        else:
            reached = reached_before(previous, reached, episode, config.clearance, episode.task in tools)
            other = other_labels(episode, reached, config.clearance)
        reverse = Direction(episode.direction).opposite
        reverse_instruction = instructions.get((episode.task, int(reverse)))
        foreign = [text for (task, _), text in instructions.items() if task != episode.task]
        for index in range(len(episode.images)):
            row = _Row(offset + index, "", False, Direction.NONE, number, False, mined)
            if own[index] >= 0:
                rows.append(
                    row._replace(
                        instruction=episode.instruction,
                        label=bool(own[index]),
                        direction=episode.direction,
                        own=True,
                    )
                )
            if other[index] >= 0 and reverse_instruction is not None:
                rows.append(
                    row._replace(instruction=reverse_instruction, label=bool(other[index]), direction=reverse)
                )
            if foreign and generator.random() < config.other_task_share:
                rows.append(row._replace(instruction=str(generator.choice(foreign)), mined=False))
        offset += len(episode.images)
        previous = None if self_judged else episode
    return _assemble(ordered, rows)


def truth(episodes: Iterable[EpisodeData], config: DatasetConfig) -> LabelledFrames:
    """Every frame with the question that the loop asks of it, for evaluation.

    Labels are the simulation's ground truth where it was recorded, else those of `own_labels`.
    """
    ordered = list(episodes)
    rows: list[_Row] = []
    offset = 0
    for number, episode in enumerate(ordered):
        recorded = episode.truth
        labels = own_labels(episode, config.margin) if recorded is None else recorded.astype(np.int8)
        rows.extend(
            _Row(offset + int(index), episode.instruction, bool(labels[index]), episode.direction, number, True)
            for index in np.flatnonzero(labels >= 0)
        )
        offset += len(episode.images)
    return _assemble(ordered, rows)


def from_home(episodes: Iterable[EpisodeData], config: DatasetConfig) -> LabelledFrames:
    """The first frame of each episode, seen from home, with the questions of both directions.

    It shows what the episode before left: what an episode in practice is confirmed by. Labels are the simulation's
    ground truth where it was recorded, else those of `own_labels` and `other_labels`; `own` is False throughout. There
    may be no question at all: of practice that a person has judged at its ends, nobody knows how it began. Nor does
    what a model has called the end of an episode of practice say how the next one began: it is what is to be measured.
    """
    ordered = list(episodes)
    instructions, tools = _instructions(ordered), _with_tool(ordered)
    rows: list[_Row] = []
    offset = 0
    previous: EpisodeData | None = None
    reached: Reached | None = None
    for number, episode in enumerate(ordered):
        own = int(own_labels(episode, config.margin)[0])
        self_judged = mining.is_self_judged(episode)
        if self_judged:
            reached, other = None, 0 if own == 1 else -1  # as `label` has it
        else:
            reached = reached_before(previous, reached, episode, config.clearance, episode.task in tools)
            other = int(other_labels(episode, reached, config.clearance)[0])
        if episode.forward_success is not None and episode.backward_success is not None:
            truths = bool(episode.forward_success[0]), bool(episode.backward_success[0])
            own, other = truths if episode.direction == Direction.FORWARD else truths[::-1]
        reverse = Direction(episode.direction).opposite
        for direction, answer in ((Direction(episode.direction), own), (reverse, other)):
            text = instructions.get((episode.task, int(direction)))
            if answer >= 0 and text is not None:
                rows.append(_Row(offset, text, bool(answer), int(direction), number, False))
        offset += len(episode.images)
        previous = None if self_judged else episode
    return _assemble(ordered, rows, may_be_empty=True)


def split(
    episodes: Sequence[EpisodeData], share: float, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which episodes (E,), given in the order of recording, are trained on, and which are held out.

    No scene is on both sides. Episodes that began, without a reset, where the one before had ended stay together, as do
    those of one arranged scene, whose two directions share a picture; drawn are such groups, each kind apart: mostly
    successes, mostly failures, and each pair of answers about arranged scenes. A row that is longer than all that is to
    be held out of its kind is cut; then the held-out episodes beside a cut begin or end with a scene that training
    shows, and are on neither side. Where that would leave less than half of what was drawn, since little was recorded,
    they are held out all the same.
    """
    if len(episodes) < 2:
        raise RobofumeError(f"{len(episodes)} recorded episodes cannot be split; record at least two.")
    generator = np.random.default_rng(seed)
    held = np.zeros(len(episodes), bool)
    rows, scenes = _rows_without_reset(episodes), _scenes(episodes)
    succeeded = np.array([episode.outcome == Outcome.SUCCESS for episode in episodes])
    kinds: dict[tuple[str | bool, ...], list[list[int]]] = {}
    for row in rows:
        kinds.setdefault(("row", bool(succeeded[row].mean() >= 0.5)), []).append(row)
    for scene in scenes:
        kinds.setdefault(("scene", *succeeded[scene].tolist()), []).append(scene)
    for kind, parts in sorted(kinds.items()):
        wanted = round(share * sum(map(len, parts)))
        if kind[0] == "row":
            parts = [part for row in parts for part in _cut(row, max(1, wanted))]
        for place in generator.permutation(len(parts)):
            missing = wanted - sum(int(held[part].sum()) for part in parts)
            if len(parts[place]) <= 2 * missing:  # with it, it is nearer to what is wanted
                held[parts[place]] = True
    if not held.any():
        held[generator.integers(len(episodes))] = True
    beside = np.zeros(len(episodes), bool)
    for row in rows:
        for one, other in itertools.pairwise(row):
            if held[one] != held[other]:
                beside[one if held[one] else other] = True
    kept = held & ~beside
    return ~held, kept if 2 * kept.sum() >= held.sum() else held


def _rows_without_reset(episodes: Sequence[EpisodeData]) -> list[list[int]]:
    """The places of the episodes with actions, those that follow one another in one scene together."""
    rows: list[list[int]] = []
    for index, episode in enumerate(episodes):
        if not len(episode.actions):
            continue
        if index > 0 and _goes_on(episodes[index - 1], episode):
            rows[-1].append(index)
        else:
            rows.append([index])
    return rows


def _cut(row: list[int], longest: int) -> list[list[int]]:
    """A row in parts, as few as possible and of about the same length, none longer than `longest`."""
    return [part.tolist() for part in np.array_split(np.array(row), -(-len(row) // longest))]


def _scenes(episodes: Sequence[EpisodeData]) -> list[list[int]]:
    """The places of the episodes that are of one picture alone, those of the same one together."""
    found: dict[tuple[str, bytes], list[int]] = {}
    for index, episode in enumerate(episodes):
        if not len(episode.actions):
            found.setdefault((episode.task, episode.images.tobytes()), []).append(index)
    return list(found.values())


def _is_demonstration(episode: EpisodeData) -> bool:
    """Whether a person or a script did all of it."""
    return len(episode.actors) > 0 and not (episode.actors == Actor.POLICY).any()


def distinct(episodes: Iterable[EpisodeData]) -> list[EpisodeData]:
    """The episodes, each once: the first one read of those that were named twice, or copied and judged again."""
    found: dict[str, EpisodeData] = {}
    for episode in episodes:
        found.setdefault(episode.key, episode)
    return list(found.values())


def opposites(episodes: Sequence[EpisodeData]) -> dict[str, str]:
    """The instruction of each direction of a task with that of the other, where both were recorded."""
    instructions = _instructions(episodes)
    pairs = {(task, way): instructions.get((task, int(Direction(way).opposite))) for task, way in instructions}
    return {instructions[key]: other for key, other in pairs.items() if other not in (None, instructions[key])}


def _instructions(episodes: Sequence[EpisodeData]) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    for episode in episodes:
        found.setdefault((episode.task, int(episode.direction)), episode.instruction)
    return found


def _assemble(episodes: Sequence[EpisodeData], rows: list[_Row], may_be_empty: bool = False) -> LabelledFrames:
    if not episodes or not (rows or may_be_empty):
        raise RobofumeError("No recorded episode gives a labelled frame; record demonstrations and failures first.")
    if len({episode.images.shape[1:] for episode in episodes}) != 1:
        raise RobofumeError("The recorded images differ in size; use bags that were recorded with one image size.")
    frames, texts, labels, directions, numbers, own, mined = zip(*rows, strict=True) if rows else [()] * 7
    lengths = [len(episode.images) for episode in episodes]
    return LabelledFrames(
        np.concatenate([episode.images for episode in episodes]),
        np.concatenate([episode.proprioception for episode in episodes]),
        np.array(frames, np.int64),
        np.array(texts, np.str_),
        np.array(labels, bool),
        np.array(directions, np.uint8),
        np.array(numbers, np.int64),
        np.array(own, bool),
        np.array(mined, bool),
        np.zeros(len(rows), bool),
        np.repeat(np.cumsum([0, *lengths[:-1]]), lengths),
    )
