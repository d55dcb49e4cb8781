"""Imports any rosbag2 recording: this suite's own, episode by episode, or a robot's, by the rules of `raw_bags`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from robofume_data.assembler import EpisodeAssembler
from robofume_data.bag_reader import Bag, decode
from robofume_data.episode import EpisodeData
from robofume_data.importing.bag_messages import DAMAGE, UNREADABLE, Recording, open_recording
from robofume_data.importing.conventions import Conventions
from robofume_data.importing.raw_bags import Kinematics, RawBagConfig, RawBagReader
from robofume_data.importing.trajectory import Skipped, Trajectory
from robofume_data.labels import labelled, labels_of
from robofume_data.mcap_records import McapFile
from robofume_data.topics import TOPICS, VIEWS


class BagImporter:
    """Reads one recording; an object that can be sent to another process."""

    def __init__(self, config: RawBagConfig, kinematics: Kinematics) -> None:
        self._raw = RawBagReader(config, kinematics)

    def __call__(self, path: Path, _conventions: Conventions) -> Iterator[EpisodeData | Trajectory | Skipped]:
        """Episodes or trajectories in order, then what could not be read."""
        recording = open_recording(path)
        if TOPICS["step"] not in recording.topics.values():
            yield from self._raw(recording)
            return
        bag, labels = _OwnBag(recording), labels_of(path)
        try:
            for episode in bag.episodes():
                yield labelled(episode, labels.get(episode.episode_id, {}))
        except DAMAGE as error:  # a definition in it that was damaged gives messages without their fields
            yield Skipped(path.name, f"the rest of it cannot be read ({error})")
        yield from (Skipped(key, reason) for key, reason in bag.incomplete.items())
        if bag.unreadable:
            yield Skipped(f"{bag.unreadable} {UNREADABLE.replace('_', ' ')}", "their bytes do not fit their type")
        if bag.damage:
            yield Skipped(path.name, bag.damage)


class _OwnBag(Bag):
    """A bag of this suite in whatever way rosbag2 stored it."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording.path)
        self._recording = recording
        self.unreadable = 0
        self.damage = ""

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[Any, Any]]:
        """Messages by the last part of their topic's name."""
        wanted = [topic for topic in self._recording.topics if topics is None or topic.rsplit("/", 1)[-1] in topics]
        for message in self._recording.messages(wanted):
            try:
                content = message.decode()
            except DAMAGE:
                self.unreadable += 1
                continue
            yield message, content
        self.damage = self.damage or self._recording.damage


def whole_bag(path: Path) -> tuple[int, int] | None:
    """Episodes and steps of a bag of this suite in which nothing is missing or damaged; None for any other, and for one
    about which a person has said something afterwards: that is not in the bag, and a copy would be without it.
    """
    file, labels = McapFile(path), labels_of(path)
    if path.suffix != ".mcap" or TOPICS["step"] not in (file.summary_topics() or {}).values():
        return None
    assembler, episodes, steps = EpisodeAssembler(pictures=False), 0, 0
    add: dict[str, tuple[Callable[..., None], bool, bool]] = {  # with the time of recording; may complete an episode
        TOPICS["step"]: (assembler.add_step, True, True),
        TOPICS["reward"]: (assembler.add_reward, False, False),
        TOPICS["label"]: (assembler.add_label, False, False),
        TOPICS["ground_truth"]: (assembler.add_ground_truth, True, False),
        TOPICS["episode"]: (assembler.add_end, True, True),
    }
    try:
        for raw in file:
            if raw.type_name not in add or raw.topic.rsplit("/", 1)[-1].startswith(VIEWS):
                continue
            take_in, timed, completes = add[raw.type_name]
            message = decode(raw)
            take_in(message, raw.log_time) if timed else take_in(message)
            if completes and message.episode_id in labels:
                return None
            if completes and assembler.is_whole(message.episode_id):
                episodes, steps = episodes + 1, steps + assembler.take(message.episode_id).length
    except DAMAGE:
        return None
    return (episodes, steps) if episodes and not file.truncated and not assembler.open_episodes else None
