"""Writes episodes to a bag without a ROS graph, as the recorder would: for tools, conversions and tests."""

from __future__ import annotations

import functools
import math
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Actor, RewardSource
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from robofume_data.bag_writer import BagWriter
from robofume_data.episode import EpisodeData
from robofume_data.mcap_writer import Part
from robofume_data.message_definitions import definition
from robofume_data.topics import TOPICS, view_topic

_WRITTEN = ("step", "reward", "episode", "ground_truth")
_CDR_HEAD = 4
"""Bytes before a message, to which nothing is aligned."""
_ENCODING = "rgb8"
_UINT32 = struct.Struct("<I")


@functools.cache
def _typestore() -> Typestore:
    typestore = get_typestore(Stores.EMPTY)
    for topic in _WRITTEN:
        typestore.register(get_types_from_msg(definition(TOPICS[topic]), TOPICS[topic]))
    return typestore


class EpisodeWriter:
    """Adds episodes to an open bag."""

    def __init__(self, writer: BagWriter, namespace: str = "") -> None:
        self._writer = writer
        self._prefix = f"/{namespace.strip('/')}/" if namespace.strip("/") else "/"
        self._typestore = _typestore()
        self._views: set[str] = set()
        for topic in _WRITTEN:
            writer.add_topic(self._prefix + topic, TOPICS[topic])

    def add(self, episode: EpisodeData, commit: bool = True) -> None:
        """Writes the steps, verdicts, ground truth and end of one episode.

        commit: put it on the disk at once; without it a kill may lose what was added since the last commit. The
        messages carry the wall time of `closed`, or of now where it is 0.
        """
        episode.validate()
        log_time = episode.closed or time.time_ns()
        for index in range(episode.length + 1):
            if episode.forward_success is not None and episode.backward_success is not None:
                self._write("ground_truth", self._ground_truth(episode, index), log_time)
            self._writer.write(self._prefix + "step", self._step(episode, index, episode.images), log_time)
            for camera, images in episode.further_images.items():
                self._writer.write(self._view_topic(camera), self._step(episode, index, images), log_time)
            if episode.sources[index] != RewardSource.NONE:
                self._write("reward", self._reward(episode, index), log_time)
        self.add_end(
            stamp=int(episode.stamps[-1]),
            log_time=log_time,
            episode_id=episode.episode_id,
            phase=int(episode.phase),
            direction=int(episode.direction),
            task=episode.task,
            instruction=episode.instruction,
            num_steps=episode.length,
            outcome=int(episode.outcome),
            success_index=int(episode.success_index),
            assisted_reset_before=bool(episode.assisted_reset_before),
        )
        if commit:
            self._writer.commit()

    def add_end(self, stamp: int = 0, log_time: int = 0, **fields: Any) -> None:
        """Writes how an episode ended, whose steps may be in the bag before. `fields`: those of the message Episode,
        but its `stamp` [ns]; `log_time`: wall time, 0: now.
        """
        message = self._make(TOPICS["episode"], stamp=self._time(stamp), **fields)
        self._write("episode", message, log_time or time.time_ns())

    def _write(self, topic: str, message: Any, log_time: int) -> None:
        data = self._typestore.serialize_cdr(message, TOPICS[topic])
        self._writer.write(self._prefix + topic, bytes(data), log_time)

    def _make(self, type_name: str, **fields: Any) -> Any:
        return self._typestore.types[type_name](**fields)

    def _time(self, nanoseconds: int) -> Any:
        seconds, rest = divmod(int(nanoseconds), 1_000_000_000)
        return self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=rest)

    def _view_topic(self, camera: str) -> str:
        """The topic of a further camera's views, which the bag has from its first episode with one."""
        topic = self._prefix + view_topic(camera)
        if topic not in self._views:
            self._writer.add_topic(topic, TOPICS["step"])
            self._views.add(topic)
        return topic

    def _step(self, episode: EpisodeData, index: int, images: NDArray[np.uint8]) -> tuple[Part, Part, Part]:
        """The bytes before the picture, the picture, and the bytes after it."""
        image = images[index]
        height, width = image.shape[:2]
        stamp = self._time(episode.stamps[index])
        last = index == episode.length
        pixels = np.ascontiguousarray(image).reshape(-1).data
        # What follows is aligned to eight bytes at most, so that a picture that is shorter by eights moves nothing.
        short = pixels[: len(pixels) % 8]
        message = self._make(
            TOPICS["step"],
            stamp=stamp,
            episode_id=episode.episode_id,
            index=index,
            phase=int(episode.phase),
            direction=int(episode.direction),
            instruction=episode.instruction,
            image=self._make(
                "sensor_msgs/msg/Image",
                header=self._make("std_msgs/msg/Header", stamp=stamp, frame_id=""),
                height=height,
                width=width,
                encoding=_ENCODING,
                is_bigendian=0,
                step=3 * width,
                data=np.frombuffer(short, np.uint8),
            ),
            proprioception=np.asarray(episode.proprioception[index], np.float32),
            action=np.zeros(0, np.float32) if last else np.asarray(episode.actions[index], np.float32),
            actor=int(Actor.NONE if last else episode.actors[index]),
            policy_version=int(episode.policy_versions[index]),
        )
        data = self._typestore.serialize_cdr(message, TOPICS["step"])
        begin = _CDR_HEAD + _length_of_step_until_pixels(episode.episode_id, episode.instruction)
        head = b"".join((data[: begin - _UINT32.size], _UINT32.pack(len(pixels))))
        return head, pixels, data[begin + len(short) :]

    def _reward(self, episode: EpisodeData, index: int) -> Any:
        return self._make(
            TOPICS["reward"],
            stamp=self._time(episode.stamps[index]),
            episode_id=episode.episode_id,
            index=index,
            probability=float(episode.probabilities[index]),
            verdict=int(episode.verdicts[index]),
            source=int(episode.sources[index]),
            score=math.nan,  # an EpisodeData keeps none
            model_version="",
            latency=0.0,
        )

    def _ground_truth(self, episode: EpisodeData, index: int) -> Any:
        assert episode.forward_success is not None
        assert episode.backward_success is not None
        return self._make(
            TOPICS["ground_truth"],
            stamp=self._time(episode.stamps[index]),
            task=episode.task,
            forward_success=bool(episode.forward_success[index]),
            backward_success=bool(episode.backward_success[index]),
            forward_score=float(episode.forward_success[index]),
            backward_score=float(episode.backward_success[index]),
            object_names=[],
            object_poses=[],
        )


def _length_of_step_until_pixels(episode_id: str, instruction: str) -> int:
    """Bytes of a Step in CDR before the first pixel."""
    text = 4 + 1  # length and terminator
    at = 8 + text + len(episode_id.encode())  # stamp
    at = _aligned(at) + 4 + 2  # index, phase, direction
    at = _aligned(at) + text + len(instruction.encode())
    at = _aligned(at) + 8 + text  # header without a frame
    at = _aligned(at) + 8 + text + len(_ENCODING) + 1  # height, width, encoding, byte order
    return _aligned(at) + 8  # bytes of a row, and of all


def _aligned(place: int) -> int:
    return place + -place % 4


def write_episodes(path: str | Path, episodes: Iterable[EpisodeData]) -> int:
    """Writes episodes to a new bag and returns how many.

    RobofumeError where the path exists or cannot be written.
    """
    count = 0
    with BagWriter(path) as writer:
        episode_writer = EpisodeWriter(writer)
        for episode in episodes:
            episode_writer.add(episode)
            count += 1
    return count
