"""Trajectories from recordings of a robot: pictures, joint states and, where there are any, commands.

The rules of alignment. A picture begins a control step; of faster cameras the first picture at or after each tick of
the control rate is taken. Where no step can be made for longer than `gap`, the episode ends. The state of a step is the
one nearest to its picture in time, before or after it, and not farther than `max_state_age`; so is what a further
camera saw in it. The action of a step is the command that carries its picture's stamp; otherwise the newest target that
was commanded from the picture on and before the next one; otherwise what the arm did until the next picture. Times are
those of the message headers; where a header has none, the time of recording.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError

from robofume_data.assembler import nanoseconds
from robofume_data.importing.bag_messages import DAMAGE, UNREADABLE, Message, Recording
from robofume_data.importing.cameras import NearestPictures
from robofume_data.importing.conventions import Conventions
from robofume_data.importing.conversion import change, picture
from robofume_data.importing.image_messages import pixels
from robofume_data.importing.joint_states import JointStates
from robofume_data.importing.late_pictures import LatePictures
from robofume_data.importing.memory import Pool
from robofume_data.importing.raw_bag_config import RawBagConfig
from robofume_data.importing.trajectory import Skipped, Trajectory

SECOND = 1_000_000_000
MOST_BYTES = 256 * 2**20
"""Of the pictures of one episode, which its readers hold in memory as a whole; a longer one is cut."""
POSE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
STATES = ("sensor_msgs/msg/JointState",)
COMMANDS = (
    "robofume_interfaces/msg/ArmCommand",
    "trajectory_msgs/msg/JointTrajectory",
    "sensor_msgs/msg/JointState",
)
_MEMORY = Pool(2**24)
"""For pictures until they are written."""
_FULL, _RESIZED = "episodes_that_fill_the_memory", "changes_of_the_picture_size"
_REPEATED, _UNCOMMANDED = "repeated_pictures", "steps_without_a_command"
_REASONS = {
    UNREADABLE: "their bytes do not fit their type",
    _FULL: f"each was cut at {MOST_BYTES >> 20} MiB of pictures; give --image-size or --step-limit",
    _REPEATED: "they have the stamp of the one before",
    _UNCOMMANDED: "their actions are what the arm did",
    _RESIZED: "an episode ended there and another began",
}
Kinematics = Callable[[Sequence[str], Sequence[float]], "NDArray[np.float64] | None"]
"""Proprioception (7,) of joint names and positions; None where they are not those of the arm."""


@dataclass(frozen=True)
class Span:
    """An episode of a label file, in ns from the first picture."""

    start: int
    end: int
    instruction: str
    success: bool | None


@dataclass
class _Tracks:
    """Everything of a recording but its pictures."""

    states: JointStates
    answers: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    targets: list[tuple[int, NDArray[np.float64]]] = field(default_factory=list)
    boundaries: list[tuple[int, bool]] = field(default_factory=list)
    sentences: list[tuple[int, str]] = field(default_factory=list)


class _Pictures:
    """Pictures (H, W, 3) of one size in the array that the episode will have: putting large ones together at the end
    costs more than reading them. Memory is taken from the system only as it fills."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: NDArray[np.uint8] = np.zeros((0, 0, 0, 3), np.uint8)
        self.count = 0

    def place(self, height: int, width: int) -> NDArray[np.uint8] | None:
        """The place of the next picture; None where those before it have another size."""
        if not self.count and self._rows.shape[1:3] != (height, width):
            room = min(self._most, MOST_BYTES // max(1, height * width * 3) + 1)
            self._rows = np.empty((room, height, width, 3), np.uint8)
        return self._rows[self.count] if self._rows.shape[1:3] == (height, width) else None

    def add(self, image: NDArray[np.uint8]) -> bool:
        """Takes in a picture, which may stand in its place already; False where those before it have another size."""
        place = self.place(*image.shape[:2])
        if place is None:
            return False
        if not np.may_share_memory(place, image):
            place[:] = image
        self.count += 1
        return True

    @property
    def nbytes(self) -> int:
        """Bytes of the pictures so far."""
        return self._rows[: self.count].nbytes

    def array(self) -> NDArray[np.uint8]:
        """(S, H, W, 3)."""
        return self._rows[: self.count]


@dataclass
class _Open:
    """The episode in progress."""

    images: _Pictures | LatePictures
    stamps: list[int] = field(default_factory=list)
    states: list[NDArray[np.float64]] = field(default_factory=list)
    span: Span | None = None
    views: dict[str, _Pictures] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all its pictures."""
        return self.images.nbytes + sum(view.nbytes for view in self.views.values())

    def add_views(self, views: dict[str, NDArray[np.uint8]], most: int) -> bool:
        """Takes in what each further camera saw in a step; False where one has another size than those before."""
        tracks = {camera: self.views.get(camera) or _Pictures(most) for camera in views}
        if any(tracks[camera].place(*view.shape[:2]) is None for camera, view in views.items()):
            return False
        self.views = tracks
        return all(tracks[camera].add(view) for camera, view in views.items())


class RawBagReader:
    """Reads one recording; an object that can be sent to another process."""

    def __init__(self, config: RawBagConfig, kinematics: Kinematics) -> None:
        self._config = config
        self._kinematics = kinematics

    def __call__(self, recording: Recording) -> Iterator[Trajectory | Skipped]:
        """Trajectories in order, then what could not be read. RobofumeError where topics are missing."""
        path = recording.path
        image_topic = _topic(recording, self._config.image_topic, IMAGES, "pictures", "--image-topic")
        lost: dict[str, int] = {}
        for topic in self._config.view_topics.values():
            _topic(recording, topic, IMAGES, "pictures", "--further-images")
        tracks = self._tracks(recording, image_topic, lost)
        damage = recording.damage
        if not len(tracks.states):
            raise RobofumeError(f"The bag {path} has no joint states of the arm.")
        spans = load_labels(Path(self._config.label_file)) if self._config.label_file else None
        name = recording_name(path)
        number = 0
        for episode in self._episodes(recording, image_topic, tracks, spans, lost):
            key = f"{name}-{number:05d}"
            number += 1
            if len(episode.stamps) < 2:
                yield Skipped(key, "it has a single picture")
                continue
            yield self._trajectory(key, episode, tracks, lost)
        if damage or recording.damage:
            yield Skipped(path.name, damage or recording.damage)
        for what, count in sorted(lost.items()):
            yield Skipped(f"{count} {what.replace('_', ' ')}", _REASONS.get(what, "they fit no step"))

    def _tracks(self, recording: Recording, image_topic: str, lost: dict[str, int]) -> _Tracks:
        config, tracks = self._config, _Tracks(JointStates(self._pose))
        commands = _topic(recording, config.command_topic, COMMANDS[:2], "commands", "--command-topic", needed=False)
        others = {topic for topic in (commands, config.episode_topic, config.instruction_topic) if topic}
        candidates = {topic for topic, kind in recording.topics.items() if kind in STATES} - others
        state_topic = config.state_topic or next(
            (topic for topic in sorted(candidates) if topic.rsplit("/", 2)[-2:] == ["observation", "proprioception"]),
            "",
        )
        if not state_topic:
            state_topic = _topic(recording, "", STATES, "joint states", "--state-topic", without=others)
        for topic in (state_topic, *others):
            if topic not in recording.topics:
                raise RobofumeError(f"The bag {recording.path} has no topic {topic}; it has {_topics(recording)}.")
        for message in recording.messages({state_topic, *others}, image_topic):
            if message.topic == state_topic:
                try:
                    tracks.states.add(message)
                except DAMAGE:
                    _count(lost, UNREADABLE)
            else:
                self._add_other(message, commands, tracks, lost)
            del message  # its bytes belong to those of a whole block, whose memory the next block shall have
        tracks.states.sort()
        _count(lost, "joint_states_without_the_arm", tracks.states.refused)
        for track in (tracks.targets, tracks.boundaries, tracks.sentences):
            track.sort(key=_first)
        return tracks

    def _add_other(self, message: Message, commands: str, tracks: _Tracks, lost: dict[str, int]) -> None:
        try:
            content = message.decode()
        except DAMAGE:
            _count(lost, UNREADABLE)
            return
        try:
            if message.topic == commands:
                self._add_command(message, content, tracks, lost)
            elif message.topic == self._config.episode_topic:
                tracks.boundaries.append((_time(message, content), getattr(content, "data", True) is not False))
            else:
                tracks.sentences.append((message.log_time, str(content.data)))
        except (AttributeError, ValueError, TypeError, IndexError):
            _count(lost, "messages_of_unexpected_type")

    def _add_command(self, message: Message, content: Any, tracks: _Tracks, lost: dict[str, int]) -> None:
        if hasattr(content, "action"):  # ArmCommand; only deltas are actions
            action = np.asarray(content.action, np.float64)
            if not np.isfinite(action).all():
                _count(lost, "commands_that_are_not_finite")
            elif content.mode == 0:
                tracks.answers[nanoseconds(content.header.stamp)] = action
            return
        names = content.joint_names if hasattr(content, "points") else content.name
        positions = content.points[-1].positions if hasattr(content, "points") else content.position
        target = self._pose(names, positions)
        if target is None:
            _count(lost, "commands_without_the_arm")
        else:
            # A target takes effect when it is sent; its header may carry the stamp of what it answers.
            tracks.targets.append((message.log_time, target))

    def _pose(self, names: Sequence[str], positions: Sequence[float]) -> NDArray[np.float64] | None:
        if tuple(names) == POSE_NAMES:
            pose = np.asarray(positions, np.float64)
        else:
            found = self._kinematics(list(names), np.asarray(positions, np.float64).tolist())
            if found is None:
                return None
            pose = found
        return pose if pose.shape == (7,) and np.isfinite(pose).all() else None

    def _episodes(
        self, recording: Recording, topic: str, tracks: _Tracks, spans: list[Span] | None, lost: dict[str, int]
    ) -> Iterator[_Open]:
        config = self._config
        size = None if config.further_images else self._size_of_all(recording, topic)
        cameras = {
            camera: NearestPictures(recording.pictures(name), round(config.max_state_age * SECOND))
            for camera, name in config.view_topics.items()
        }
        most = config.step_limit + 1
        episode = self._open(size)
        period = round(SECOND / config.rate) if config.rate else 0
        first = last = due = None
        for message in recording.pictures(topic):
            stamp = message.stamp
            first = stamp if first is None else first
            if last is not None and stamp == last:
                _count(lost, _REPEATED)
                continue
            if last is not None and (stamp < last or stamp - last > config.gap * SECOND):
                yield from _closed(episode)
                episode, due = self._open(size), None
            open_now = _open_at(tracks.boundaries, last, stamp)
            last = stamp
            span = next((item for item in spans if item.start <= stamp - first < item.end), None) if spans else None
            if open_now is not None or span is not episode.span:
                yield from _closed(episode)
                episode, due = self._open(size, span), None
            if (spans is not None and span is None) or not _is_open(tracks.boundaries, stamp):
                _count(lost, "pictures_outside_of_episodes")
                continue
            if due is not None and stamp < due:
                continue
            state = tracks.states.nearest(stamp, config.max_state_age)
            if state is None:
                _count(lost, "pictures_without_joint_state")
                continue
            if episode.stamps and stamp - episode.stamps[-1] > config.gap * SECOND + period:
                # Pictures came on, but without what makes them steps: it would be one action over all that time.
                yield from _closed(episode)
                episode, due = self._open(size, span), None
            seen = {camera: pictures.at(stamp) for camera, pictures in cameras.items()}
            blind = next((camera for camera, view in seen.items() if view is None), None)
            if blind is not None:
                _count(lost, f"pictures_without_one_of_the_camera_{blind}")
                continue
            if isinstance(episode.images, LatePictures):
                episode.images.add(functools.partial(_read, message.decode))
            else:
                try:
                    side = config.image_size
                    views = {
                        camera: np.array(picture(pixels(view.decode(), side), side))  # its data hold until the next
                        for camera, view in seen.items()
                        if view is not None
                    }
                    image = picture(pixels(message.decode(), side, episode.images.place), side)
                except DAMAGE:
                    _count(lost, "pictures_that_cannot_be_decoded")
                    continue
                if not (episode.add_views(views, most) and episode.images.add(image)):
                    _count(lost, _RESIZED)
                    yield from _closed(episode)
                    images = _Pictures(most)
                    images.add(image)
                    episode, due = _Open(images, span=span), None
                    episode.add_views(views, most)
            due = stamp + period if due is None else due + period * max(1, -(-(stamp - due + 1) // max(1, period)))
            episode.stamps.append(stamp)
            episode.states.append(state)
            full = episode.nbytes > MOST_BYTES
            _count(lost, _FULL, full)
            if full or len(episode.stamps) > config.step_limit:
                yield from _closed(episode)
                episode = self._open(size, span)
        yield from _closed(episode)

    def _open(self, size: tuple[int, int] | None, span: Span | None = None) -> _Open:
        return _Open(LatePictures(*size) if size else _Pictures(self._config.step_limit + 1), span=span)

    def _size_of_all(self, recording: Recording, topic: str) -> tuple[int, int] | None:
        """Height and width of the pictures where all have the same and can be read when they are written."""
        if self._config.image_size or not recording.are_alike(topic):
            return None
        try:
            image = pixels(next(recording.pictures(topic)).decode())
        except DAMAGE:
            return None
        return (image.shape[0], image.shape[1]) if isinstance(image, np.ndarray) else None

    def _trajectory(self, name: str, episode: _Open, tracks: _Tracks, lost: dict[str, int]) -> Trajectory:
        states = np.stack(episode.states)
        actions = change(states[:-1], states[1:])
        for index, (begin, end) in enumerate(zip(episode.stamps, episode.stamps[1:], strict=False)):
            if begin in tracks.answers:
                actions[index] = tracks.answers[begin]
                continue
            newest = _newest(tracks.targets, end - 1)
            if newest >= 0 and tracks.targets[newest][0] >= begin:
                actions[index] = change(states[index : index + 1], tracks.targets[newest][1][None])[0]
            elif tracks.answers or tracks.targets:
                _count(lost, _UNCOMMANDED)
        told = _newest(tracks.sentences, episode.stamps[-1])
        sentence = tracks.sentences[told][1] if told >= 0 else ""
        span = episode.span
        return Trajectory(
            name=name,
            instruction=(span.instruction if span else "") or sentence,
            images=episode.images if isinstance(episode.images, LatePictures) else episode.images.array(),
            states=states,
            actions=actions,
            further_images={camera: list(view.array()[: len(states)]) for camera, view in episode.views.items()},
            stamps=np.array(episode.stamps, np.int64),
            success=span.success if span else None,
        )


def _read(decode: Callable[[], Any]) -> bytes | NDArray[np.uint8]:
    """The picture of a message, in memory of its own."""
    return pixels(decode(), place=lambda height, width: _MEMORY.take(height * width * 3).reshape(height, width, 3))


def raw_conventions(rate: float, labels: str) -> Conventions:
    """Conventions of what `RawBagReader` gives: this suite's own."""
    return Conventions(name="bag", rate=rate or 5.0, action_rotation="rotation_vector", labels=labels)


def recording_name(path: Path) -> str:
    """Name of a recording: its folder's or its file's."""
    return path.name if path.is_dir() else path.stem


def load_labels(path: Path) -> list[Span]:
    """Episodes of a label file; RobofumeError with the number of the entry that is wrong."""
    return list(_load_labels(path))


@functools.cache
def _load_labels(path: Path) -> tuple[Span, ...]:
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RobofumeError(f"Cannot read the label file {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RobofumeError(f"The label file {path} is not valid YAML: {error}") from error
    if not isinstance(entries, list):
        raise RobofumeError(f"The label file {path} must be a list of episodes with start and end in seconds.")
    spans = []
    for number, entry in enumerate(entries, start=1):
        try:
            start, end = (round(float(entry[key]) * SECOND) for key in ("start", "end"))
            if start >= end or not set(entry) <= {"start", "end", "instruction", "success"}:
                raise ValueError
            success = entry.get("success")
            if success is not None and not isinstance(success, bool):
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RobofumeError(
                f"Entry {number} of the label file {path} must have start < end in seconds and may have instruction "
                f"and success (true, false); it is {entry!r}."
            ) from error
        spans.append(Span(start, end, str(entry.get("instruction") or ""), success))
    return tuple(sorted(spans, key=lambda item: item.start))


def _topic(
    recording: Recording,
    given: str,
    types: tuple[str, ...],
    what: str,
    flag: str,
    needed: bool = True,
    without: set[str] | None = None,
) -> str:
    """The topic that was given, or the only one of these types."""
    if given:
        if given not in recording.topics:
            raise RobofumeError(f"The bag {recording.path} has no topic {given}; it has {_topics(recording)}.")
        return given
    found = sorted(topic for topic, kind in recording.topics.items() if kind in types and topic not in (without or ()))
    if len(found) == 1:
        return found[0]
    if not found:
        if needed:
            raise RobofumeError(f"The bag {recording.path} has no {what}; it has {_topics(recording)}.")
        return ""
    raise RobofumeError(
        f"The bag {recording.path} has several topics of {what}: name one with {flag}: {', '.join(found)}."
    )


def _topics(recording: Recording) -> str:
    return ", ".join(f"{topic} ({kind})" for topic, kind in sorted(recording.topics.items())) or "none"


def _time(message: Message, content: Any) -> int:
    header = getattr(content, "header", None)
    return (nanoseconds(header.stamp) if header is not None else 0) or message.log_time


def _first(item: tuple[int, Any]) -> int:
    return item[0]


def _count(lost: dict[str, int], what: str, number: int = 1) -> None:
    if number:
        lost[what] = lost.get(what, 0) + number


def _newest(track: Sequence[tuple[int, Any]], until: int) -> int:
    """Index of the last item of a sorted track whose time is `until` or earlier; -1 where there is none."""
    return bisect.bisect_right(track, until, key=_first) - 1


def _open_at(boundaries: list[tuple[int, bool]], before: int | None, stamp: int) -> bool | None:
    """Whether an episode begins (True) or ends (False) after `before` and until `stamp`; None: neither."""
    newest = _newest(boundaries, stamp)
    if newest < 0 or (before is not None and boundaries[newest][0] <= before):
        return None
    return boundaries[newest][1]


def _is_open(boundaries: list[tuple[int, bool]], stamp: int) -> bool:
    """Whether an episode goes on at `stamp`; without any boundary always, before the first one never."""
    newest = _newest(boundaries, stamp)
    return boundaries[newest][1] if newest >= 0 else not boundaries


def _closed(episode: _Open) -> Iterator[_Open]:
    if episode.stamps:
        yield episode
