"""Imports any rosbag2 recording: this suite's own, episode by episode, or a robot's, by the rules of `raw_bags`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from robofume_data.bag_reader import Bag
from robofume_data.episode import EpisodeData
from robofume_data.importing.bag_messages import DAMAGE, Recording
from robofume_data.importing.conventions import Conventions
from robofume_data.importing.raw_bags import Kinematics, RawBagConfig, RawBagReader
from robofume_data.importing.trajectory import Skipped, Trajectory
from robofume_data.topics import TOPICS


class BagImporter:
    """Reads one recording; an object that can be sent to another process."""

    def __init__(self, config: RawBagConfig, kinematics: Kinematics) -> None:
        self._raw = RawBagReader(config, kinematics)

    def __call__(self, path: Path, _conventions: Conventions) -> Iterator[EpisodeData | Trajectory | Skipped]:
        """Episodes or trajectories in order, then what could not be read."""
        recording = Recording(path)
        if TOPICS["step"] not in recording.topics.values():
            yield from self._raw(recording)
            return
        bag = _OwnBag(recording)
        try:
            yield from bag.episodes()
        except DAMAGE as error:  # a definition in it that was damaged gives messages without their fields
            yield Skipped(path.name, f"the rest of it cannot be read ({error})")
        yield from (Skipped(key, reason) for key, reason in bag.incomplete.items())
        if recording.damage:
            yield Skipped(path.name, recording.damage)


class _OwnBag(Bag):
    """A bag of this suite in whatever way rosbag2 stored it."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording.path)
        self._recording = recording

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[Any, Any]]:
        """Messages by the last part of their topic's name."""
        wanted = [topic for topic in self._recording.topics if topics is None or topic.rsplit("/", 1)[-1] in topics]
        for message in self._recording.messages(wanted):
            yield message, message.content
